"use strict";
// Without this file the page is complete; with it tables sort, lines hide and folds open together.
const all = (selector, place = document) => [...place.querySelectorAll(selector)];
const read = (row, column) => row.cells[column].textContent.trim();
for (const head of all("thead th")) {
  const body = head.closest("table").tBodies[0], written = [...body.rows], column = head.cellIndex;
  if (written.length < 2) continue;
  const button = document.createElement("button");
  button.append(...head.childNodes);
  head.append(button);
  const known = written.filter((row) => read(row, column) !== "–");
  const isNumeric = known.every((row) => !isNaN(parseFloat(read(row, column))));
  const compare = (a, b) => isNumeric ? parseFloat(a) - parseFloat(b) : a.localeCompare(b, "en", { numeric: true });
  button.addEventListener("click", () => {
    const was = head.getAttribute("aria-sort");
    all("th[aria-sort]", head.parentElement).forEach((each) => each.removeAttribute("aria-sort"));
    if (was === "descending") return body.append(...written);
    const sign = was ? -1 : 1;
    head.setAttribute("aria-sort", was ? "descending" : "ascending");
    const sorted = [...known].sort((a, b) => sign * compare(read(a, column), read(b, column)));
    // What has no value comes last either way.
    body.append(...sorted, ...written.filter((row) => !known.includes(row)));
  });
}
for (const button of all("button[data-series]")) {
  button.addEventListener("click", () => {
    const isShown = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", isShown);
    all("." + button.dataset.series, button.closest("figure")).forEach((each) => each.classList.toggle("off", !isShown));
  });
}
const unfold = document.getElementById("unfold"), folds = all("details");
const open = (isOpen) => folds.forEach((each) => { each.open = isOpen; });
unfold.addEventListener("click", () => open(!folds.every((each) => each.open)));
addEventListener("beforeprint", () => open(true));
const reveal = () => {
  const target = document.getElementById(location.hash.slice(1));
  for (let each = target; each; each = each.parentElement) if (each.localName === "details") each.open = true;
  target?.scrollIntoView();
};
addEventListener("hashchange", reveal);
all(".series").forEach((each) => { each.hidden = false; });
unfold.hidden = !folds.length;
reveal();
