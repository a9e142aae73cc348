"use strict";
// The values beside the pointer; without this script the page shows all the same.
const frame = {left: {{ frame.left }}, right: {{ frame.right }}, top: {{ frame.top }}, bottom: {{ frame.bottom }}, width: {{ frame.width }}, height: {{ frame.height }}};
const box = document.getElementById("pointer");
const most = 8;
const straighten = (value, scale) =>
  scale.kind === "log" ? Math.log10(value)
  : scale.kind === "symlog" ? Math.sign(value) * Math.log10(1 + Math.abs(value) / scale.threshold)
  : value;
const place = (value, scale) => {
  const [lower, upper] = [straighten(scale.lower, scale), straighten(scale.upper, scale)];
  return (straighten(value, scale) - lower) / (upper - lower);
};
const nearest = (steps, wanted) => {
  let best = 0;
  steps.forEach((step, index) => { if (Math.abs(step - wanted) < Math.abs(steps[best] - wanted)) best = index; });
  return best;
};
document.querySelectorAll("figure.chart").forEach(figure => {
  const svg = figure.querySelector("svg");
  const mark = svg.querySelector(".mark");
  const {steps, lines, scales: [across, up]} = JSON.parse(figure.querySelector("script").textContent);
  const hide = () => { box.hidden = true; mark.style.display = "none"; };
  svg.addEventListener("pointerleave", hide);
  svg.addEventListener("pointermove", event => {
    const area = svg.getBoundingClientRect();
    const x = (event.clientX - area.left) / area.width * frame.width;
    const y = (event.clientY - area.top) / area.height * frame.height;
    const share = (x - frame.left) / (frame.width - frame.left - frame.right);
    const wanted = across.lower + share * (across.upper - across.lower);
    const found = lines.map(line => {
      const index = nearest(steps[line.steps], wanted);
      const [step, value] = [steps[line.steps][index], line.values[index]];
      const down = value === null ? Infinity : frame.height - frame.bottom - place(value, up) * (frame.height - frame.top - frame.bottom);
      return {name: line.name, step, value, down, far: Math.abs(down - y)};
    }).sort((a, b) => a.far - b.far);
    if (!found.length) return;
    const [first] = found;
    box.textContent = "step " + first.step.toLocaleString("en") + "\n" + found.slice(0, most).map(({name, value}) =>
      name + "  " + (value === null ? "no value" : Number(value.toPrecision(4)))).join("\n")
      + (found.length > most ? "\n… the nearest " + most + " of " + found.length : "");
    box.hidden = false;
    const left = event.clientX + 16 + box.offsetWidth > window.innerWidth ? event.clientX - 16 - box.offsetWidth : event.clientX + 16;
    box.style.left = Math.max(0, left) + "px";
    box.style.top = Math.max(0, Math.min(event.clientY + 12, window.innerHeight - box.offsetHeight - 4)) + "px";
    if (Number.isFinite(first.down)) {
      mark.setAttribute("cx", frame.left + place(first.step, across) * (frame.width - frame.left - frame.right));
      mark.setAttribute("cy", first.down);
      mark.style.display = "";
    } else mark.style.display = "none";
  });
});
