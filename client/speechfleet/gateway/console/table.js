// Tables whose rows are updated in place; on a narrow screen each row becomes a block.

import { el, reconcile, write } from "./dom.js";

/**
 * Make a table. `columns`: names, of which the first names the row; those of numbers begin with
 * "#". `update(row, item)` fills a row; `row.cells` are its cells.
 */
export function makeTable(name, columns, { empty = "Nothing here.", update, keyOf }) {
  const body = el("tbody");
  const nothing = el("p", { class: "empty", hidden: true }, empty);
  const told = columns.map((column) => [column.replace("#", ""), column.startsWith("#") ? "number" : null]);
  const head = el("tr", {}, ...told.map(([column, kind]) => el("th", { scope: "col", class: kind }, column)));
  const element = el(
    "div", { class: "scroll" },
    el("table", {}, el("caption", { class: "hidden" }, name), el("thead", {}, head), body),
    nothing,
  );
  const make = () =>
    el(
      "tr", {},
      ...told.map(([column, kind], at) =>
        at === 0 ? el("th", { scope: "row" }) : el("td", { "data-label": column, class: kind }),
      ),
    );
  const show = (items) => {
    reconcile(body, items, keyOf, make, update);
    nothing.hidden = items.length > 0;
    element.firstElementChild.hidden = items.length === 0;
  };
  return { element, show };
}

/** Write texts into the cells of a row from `first` on; an empty one is shown as a dash. */
export function fill(row, texts, first = 1) {
  texts.forEach((text, at) => {
    const cell = row.cells[first + at];
    write(cell, text || "–");
    cell.classList.toggle("none", !text);
  });
}

/** Give a cell a link, once; later calls change where it leads. */
export function linkIn(cell, href, text) {
  let link = cell.querySelector("a");
  if (!link) cell.prepend((link = el("a")));
  if (link.getAttribute("href") !== href) link.setAttribute("href", href);
  write(link, text);
}
