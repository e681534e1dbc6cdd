/* A table whose rows are kept by key: only what changed is touched, so focus and selection stay. */
import { framed, setText } from "./frame.js";

export class Table {
  /**
   * @param columns {text(row), className?}; or {build(row) -> {element, update(row)}, className?} for a cell that
   *   paints itself
   * @param rows function that gives the rows in the order to show, each with an `id`
   */
  constructor({ pane, columns, rows }) {
    Object.assign(this, { columns, rows });
    this.body = pane.querySelector("tbody");
    this.empty = pane.querySelector(".pane-empty");
    this.names = [...pane.querySelectorAll("thead th")].map((cell) => cell.textContent.trim());
    this.elements = new Map();
    this.parts = new Map();
    this.paint = framed(() => this.#paint());
  }

  #paint() {
    const rows = this.rows();
    this.empty.hidden = rows.length > 0;
    const shown = new Set(rows.map((row) => row.id));
    for (const [id, element] of this.elements) {
      if (shown.has(id)) continue;
      const hadFocus = element.contains(document.activeElement);
      element.remove();
      this.elements.delete(id);
      this.parts.delete(id);
      if (hadFocus) this.body.closest("section").focus({ preventScroll: true });
    }
    rows.forEach((row, index) => {
      const element = this.elements.get(row.id) ?? this.#make(row);
      this.columns.forEach((column, position) => column.text && this.#fill(element.cells[position], column, row));
      for (const part of this.parts.get(row.id)) part.update(row);
      if (this.body.rows[index] !== element) this.body.insertBefore(element, this.body.rows[index] ?? null);
    });
  }

  #make(row) {
    const element = document.createElement("tr");
    element.dataset.id = row.id;
    const parts = [];
    this.columns.forEach((column, position) => {
      const cell = element.insertCell();
      if (this.names[position] && column.className !== "cell-wide") cell.dataset.label = this.names[position];
      if (column.build) {
        const built = column.build(row);
        cell.className = column.className ?? "";
        cell.append(built.element);
        parts.push(built);
      }
    });
    this.parts.set(row.id, parts);
    this.elements.set(row.id, element);
    return element;
  }

  #fill(cell, column, row) {
    setText(cell, column.text(row));
    const name = typeof column.className === "function" ? column.className(row) : (column.className ?? "");
    if (cell.className !== name) cell.className = name;
  }
}
