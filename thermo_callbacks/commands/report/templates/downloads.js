// Each figure as SVG, each table as CSV: made here when asked for, so the page holds nothing twice.
const named = text => (text.trim().toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "") || "thermo").slice(0, 80);
const save = (name, address) => {
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
};
const saveText = (name, type, text) => {
  const address = URL.createObjectURL(new Blob([text], {type}));
  save(name, address);
  setTimeout(() => URL.revokeObjectURL(address), 10000);
};
const button = (label, title, action) => {
  const made = document.createElement("button");
  made.type = "button";
  made.className = "download";
  made.textContent = label;
  made.title = title;
  made.addEventListener("click", action);
  return made;
};
const drawn = "http://www.w3.org/2000/svg";
const looks = ["fill", "stroke", "stroke-width", "stroke-dasharray", "stroke-linecap", "stroke-linejoin", "opacity",
  "font-family", "font-size", "font-weight", "display"];
const part = (name, attributes, text = "") => {
  const made = document.createElementNS(drawn, name);
  Object.entries(attributes).forEach(([key, value]) => made.setAttribute(key, value));
  made.textContent = text;
  return made;
};
// A chart with the looks that the page gives it, its title, and the key of its lines.
const chartAsText = figure => {
  const svg = figure.querySelector("svg");
  const copy = svg.cloneNode(true);
  const [originals, copies] = [svg, copy].map(each => [each, ...each.querySelectorAll("*")]);
  originals.forEach((each, index) => {
    const style = getComputedStyle(each);
    copies[index].setAttribute("style", looks.map(name => name + ":" + style.getPropertyValue(name)).join(";"));
  });
  const page = getComputedStyle(figure);
  const font = "font:600 14px " + page.fontFamily.replace(/"/g, "'") + ";fill:" + page.color;
  const faint = font.replace("600 14px", "12.5px");
  const keys = Array.from(figure.querySelectorAll(".key > span"));
  const height = frame.height + 30 + 18 * keys.length;
  copy.setAttribute("viewBox", [0, -26, frame.width, height].join(" "));
  copy.setAttribute("width", frame.width);
  copy.setAttribute("height", height);
  copy.setAttribute("style", "");
  copy.prepend(part("rect", {y: -26, width: frame.width, height, fill: page.backgroundColor}),
    part("text", {x: 8, y: -9, style: font}, figure.querySelector(".caption").textContent));
  keys.forEach((key, index) => {
    const y = frame.height + 12 + 18 * index;
    const line = key.querySelector(".sample path");
    if (line) copy.append(part("path", {d: "M10," + (y - 4) + "h22", "stroke-width": 2.5, fill: "none",
      stroke: getComputedStyle(line).stroke, "stroke-dasharray": line.getAttribute("stroke-dasharray") || "none"}));
    copy.append(part("text", {x: 40, y, style: faint}, line ? key.textContent.trim()
      : key.textContent.trim().split(/\s+/).join(" (dark) to ") + " (bright)"));
  });
  return new XMLSerializer().serializeToString(copy);
};
document.querySelectorAll("figure").forEach(figure => {
  const caption = figure.querySelector("figcaption");
  const image = figure.querySelector("img");
  const kind = image && !image.src.startsWith("data:image/svg") ? "PNG" : "SVG";
  caption.append(button(kind, "save this figure", () => image
    ? save(named(image.alt) + "." + kind.toLowerCase(), image.src)
    : saveText(named(figure.querySelector(".caption").textContent) + ".svg", "image/svg+xml", chartAsText(figure))));
});
// Cells hold numbers with all their digits beside the words.
const cells = cell => "value" in cell.dataset
  ? ["value", "error", "lower", "upper", "step", "difference", "differenceError"].map(key => cell.dataset[key] ?? "")
  : cell.closest(".numbers") && cell.tagName === "TD" ? Array(7).fill("") : [cell.textContent.trim().replace(/\s+/g, " ")];
const heads = (cell, index) => cell.closest(".numbers") && index > 0
  ? ["", " standard error", " lower", " upper", " step", " difference", " error of the difference"].map(end => cell.textContent.trim() + end)
  : cells(cell);
const quoted = text => /[",\n]/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text;
const tableAsText = table => Array.from(table.rows).map(row => Array.from(row.cells).flatMap((cell, index) =>
  row.parentElement.tagName === "THEAD" ? heads(cell, index)
  : row.dataset.tag && index === 0 ? [row.dataset.tag] : cells(cell)).map(quoted).join(",")).join("\r\n") + "\r\n";
document.querySelectorAll("main table").forEach(table => {
  const room = table.closest(".scroll") ?? table;
  const title = table.closest("section").querySelector("h2").textContent;
  room.before(button("CSV", "save this table", () => saveText(named(title) + ".csv", "text/csv", tableAsText(table))));
});
