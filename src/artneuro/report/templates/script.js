"use strict";
// Everything here is an addition: without it all rows and figures are there, unsorted.
(() => {
  const valueOf = (row, column) => {
    const cell = row.cells[column];
    const number = cell.dataset.value;
    return number === undefined ? cell.textContent.trim().toLowerCase() : number === "" ? NaN : Number(number);
  };

  // Cells without a number go last in either direction.
  const compare = (a, b, sign) => {
    if (typeof a === "string" || typeof b === "string") return sign * String(a).localeCompare(String(b));
    if (Number.isNaN(a) || Number.isNaN(b)) return Number.isNaN(a) - Number.isNaN(b);
    return sign * (a - b);
  };

  const makeSortable = (table) => {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.title = "Sort by this column";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const numeric = head.classList.contains("n");
        const now = head.getAttribute("aria-sort");
        const next = now === null ? (numeric ? "descending" : "ascending") : now === "ascending" ? "descending" : "ascending";
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", next);
        const sign = next === "ascending" ? 1 : -1;
        const body = table.tBodies[0];
        const rows = [...body.rows].map((row) => [valueOf(row, column), row]);
        rows.sort((a, b) => compare(a[0], b[0], sign));
        body.append(...rows.map((pair) => pair[1]));
      });
    });
  };

  const makeFilter = (section) => {
    const box = section.querySelector(".filter");
    const items = [...section.querySelectorAll("[data-feature]")];
    if (!box || items.length === 0) return;
    const input = box.querySelector("input");
    const shown = box.querySelector("output");
    const features = new Set(items.map((item) => item.dataset.feature).filter((name) => name));
    box.hidden = false;
    input.addEventListener("input", () => {
      const words = input.value.trim().toLowerCase();
      const fits = (name) => name.toLowerCase().includes(words);
      items.forEach((item) => { item.hidden = !fits(item.dataset.feature); });
      const count = [...features].filter(fits).length;
      shown.textContent = words ? `${count} of ${features.size} features` : "";
    });
  };

  document.querySelectorAll("table.sortable").forEach(makeSortable);
  document.querySelectorAll("section.results").forEach(makeFilter);
  document.documentElement.dataset.script = "ready";
})();
