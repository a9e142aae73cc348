// A link to what is folded opens it; a button opens all, and so does printing.
const open = element => {
  if (!element) return;
  for (let each = element; each; each = each.parentElement) if (each.tagName === "DETAILS") each.open = true;
  const own = element.querySelector(":scope > details");
  if (own) own.open = true;
  element.scrollIntoView();
};
const follow = () => open(document.getElementById(decodeURIComponent(location.hash.slice(1))));
window.addEventListener("hashchange", follow);
document.querySelectorAll("a[href^='#']").forEach(link =>
  link.addEventListener("click", () => { if (location.hash === link.getAttribute("href")) follow(); }));
const folds = Array.from(document.querySelectorAll("details.fold"));
const all = document.createElement("button");
all.type = "button";
all.textContent = "open all";
all.addEventListener("click", () => {
  const opened = all.textContent === "open all";
  folds.forEach(each => { each.open = opened; });
  all.textContent = opened ? "fold all" : "open all";
});
document.querySelector(".all").append(all);
window.addEventListener("beforeprint", () => folds.forEach(each => { each.open = true; }));
follow();
