/* The market switcher: a searchable list in a dialog. */
import { read } from "../api.js";
import { dayOf, paintDirection } from "../ticker.js";

export class SymbolSwitcher {
  constructor(instruments) {
    this.instruments = instruments;
    this.dialog = document.getElementById("symbol-dialog");
    this.search = document.getElementById("symbol-search");
    this.list = document.getElementById("symbol-list");
    this.links = instruments.map((instrument) => this.#link(instrument));
    document.getElementById("symbol-button").addEventListener("click", () => this.open());
    this.search.addEventListener("input", () => this.#filter());
    this.dialog.addEventListener("keydown", (event) => this.#key(event));
    this.dialog.addEventListener("click", (event) => event.target === this.dialog && this.dialog.close());
  }

  open() {
    this.search.value = "";
    this.#filter();
    this.dialog.showModal();
    this.search.focus();
    this.#prices();
  }

  #link(instrument) {
    const item = document.createElement("li");
    const link = item.appendChild(document.createElement("a"));
    link.href = `/trade/${encodeURIComponent(instrument.symbol)}`;
    const name = link.appendChild(document.createElement("span"));
    name.appendChild(document.createElement("strong")).textContent = instrument.symbol;
    const detail = name.appendChild(document.createElement("span"));
    detail.className = "muted";
    detail.textContent = instrument.name;
    const last = link.appendChild(document.createElement("span"));
    const change = link.appendChild(document.createElement("span"));
    last.className = change.className = "number";
    this.list.append(item);
    return { instrument, item, link, last, change };
  }

  async #prices() {
    await Promise.all(this.links.map(async ({ instrument, last, change }) => {
      const day = dayOf(instrument, await read(`/ticker/${encodeURIComponent(instrument.symbol)}`));
      last.textContent = day.last;
      change.textContent = day.change;
      paintDirection(change, day.direction);
    }));
  }

  #filter() {
    const wanted = this.search.value.trim().toLowerCase();
    let shown = 0;
    for (const { instrument, item } of this.links) {
      const text = `${instrument.symbol} ${instrument.name} ${instrument.base} ${instrument.quote}`.toLowerCase();
      item.hidden = !text.includes(wanted);
      shown += item.hidden ? 0 : 1;
    }
    document.getElementById("symbol-none").hidden = shown > 0;
  }

  #key(event) {
    const links = this.links.filter(({ item }) => !item.hidden).map(({ link }) => link);
    const index = links.indexOf(document.activeElement);
    if (event.key === "ArrowDown") links[Math.min(index + 1, links.length - 1)]?.focus();
    else if (event.key === "ArrowUp") (links[index - 1] ?? this.search).focus();
    else if (event.key === "Enter" && document.activeElement === this.search) links[0]?.click();
    else return;
    event.preventDefault();
  }
}
