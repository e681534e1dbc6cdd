/* Draws the book into a fixed pool of rows: only texts and one bar width change, once per frame. */
import { grouped } from "../numbers.js";
import { framed, setText } from "./frame.js";
import { preference, remember } from "./preferences.js";

const STEPS = [1, 10, 100, 1000, 10000];
const ROWS_MIN = 6;
const ROWS_MAX = 40;
const HEAD_PX = 98; // the panel's head, the columns' names, the spread
const auctionPx = () => document.getElementById("auction").offsetHeight;

export class BookView {
  /** @param onPick called with the price text of a level that was clicked */
  constructor({ book, instrument, onPick }) {
    Object.assign(this, { book, instrument, onPick, own: new Map(), last: null, auction: null });
    this.bodies = { sell: document.getElementById("asks"), buy: document.getElementById("bids") };
    this.pools = { sell: [], buy: [] };
    this.paint = framed(() => this.#paint());
    this.#grouping();
    const table = document.getElementById("book");
    table.addEventListener("click", (event) => this.#pick(event.target.closest("tr[data-price]")));
    table.addEventListener("keydown", (event) => this.#key(event));
    new ResizeObserver(() => this.#fit()).observe(document.getElementById("panel-book"));
    this.#fit();
  }

  /** @param own Map of "side:ticks" to true: the levels on which the user has orders */
  markOwn(own) {
    this.own = own;
    this.paint();
  }

  /** @param last {text, direction} of the latest trade */
  setLast(last) {
    this.last = last;
    this.paint();
  }

  /** @param auction what an auction would do now, {ticks}; null outside of one */
  setAuction(auction) {
    this.auction = auction;
    this.#fit();
    this.paint();
  }

  nextGrouping() {
    const index = STEPS.indexOf(this.step);
    this.select.value = String(STEPS[(index + 1) % STEPS.length]);
    this.select.dispatchEvent(new Event("change"));
  }

  #grouping() {
    this.select = document.getElementById("grouping");
    const kept = preference(`grouping.${this.instrument.symbol}`, 1);
    for (const step of STEPS) {
      this.select.add(new Option(this.instrument.ticksText(step), String(step), false, step === kept));
    }
    this.step = Number(this.select.value);
    this.select.addEventListener("change", () => {
      this.step = Number(this.select.value);
      remember(`grouping.${this.instrument.symbol}`, this.step);
      this.paint();
    });
  }

  #fit() {
    const panel = document.getElementById("panel-book");
    const rowHeight = parseFloat(getComputedStyle(panel).getPropertyValue("--row"));
    const rows = Math.floor((panel.clientHeight - HEAD_PX - auctionPx()) / rowHeight / 2);
    const count = Math.max(ROWS_MIN, Math.min(ROWS_MAX, rows));
    if (panel.clientHeight === 0 || this.pools.buy.length === count) return;
    for (const side of ["sell", "buy"]) {
      this.pools[side] = Array.from({ length: count }, () => makeRow());
      const nodes = this.pools[side].map((row) => row.element);
      this.bodies[side].replaceChildren(...(side === "sell" ? nodes.reverse() : nodes));
    }
    this.paint();
  }

  #paint() {
    const count = this.pools.buy.length;
    const sides = { sell: this.book.levels("sell", this.step, count), buy: this.book.levels("buy", this.step, count) };
    const largest = [...sides.sell, ...sides.buy].reduce((most, level) => (level.total > most ? level.total : most), 1n);
    for (const side of ["sell", "buy"]) {
      this.pools[side].forEach((row, index) => this.#paintRow(row, side, sides[side][index], largest));
    }
    this.#focusable();
    this.#paintSpread(this.book.best("sell"), this.book.best("buy"));
  }

  #paintRow(row, side, level, largest) {
    const { element, cells } = row;
    if (!level) {
      if (row.ticks === null) return;
      row.ticks = null;
      cells.forEach((cell) => setText(cell, ""));
      element.removeAttribute("data-price");
      element.removeAttribute("data-own");
      element.removeAttribute("data-trades");
      element.tabIndex = -1;
      return;
    }
    if (row.ticks !== level.ticks) {
      row.ticks = level.ticks;
      element.dataset.price = this.instrument.ticksText(level.ticks);
      setText(cells[0], grouped(element.dataset.price));
    }
    element.toggleAttribute("data-own", this.#isOwn(side, level.ticks));
    element.toggleAttribute("data-trades", this.#wouldTrade(side, level.ticks));
    setText(cells[1], grouped(this.instrument.unitsText(level.units)));
    setText(cells[2], grouped(this.instrument.unitsText(level.total)));
    const depth = `${Number((level.total * 1000n) / largest) / 10}%`;
    if (row.depth !== depth) element.style.setProperty("--depth", (row.depth = depth));
  }

  /** Whether a level would trade in the auction at its price of now; in part, perhaps, where it is the last that does. */
  #wouldTrade(side, ticks) {
    const price = this.auction?.ticks ?? null;
    return price !== null && (side === "buy" ? ticks >= price : ticks <= price);
  }

  #isOwn(side, ticks) {
    if (this.step === 1) return this.own.has(`${side}:${ticks}`);
    const round = side === "buy" ? Math.floor : Math.ceil;
    return [...this.own.keys()].some((key) => {
      const [ownSide, ownTicks] = key.split(":");
      return ownSide === side && round(Number(ownTicks) / this.step) * this.step === ticks;
    });
  }

  /** One row can be reached by Tab: where the focus is, else the best ask. */
  #focusable() {
    const rows = [...this.pools.sell, ...this.pools.buy].filter((row) => row.ticks !== null);
    const current = rows.find((row) => row.element === document.activeElement) ?? rows[0];
    for (const row of rows) {
      const index = row === current ? 0 : -1;
      if (row.element.tabIndex !== index) row.element.tabIndex = index;
    }
  }

  #paintSpread(ask, bid) {
    const spread = document.getElementById("spread");
    if (ask === null || bid === null) setText(spread, "–");
    else {
      const apart = Math.abs(ask - bid);
      const share = (apart / ((ask + bid) / 2)) * 100;
      setText(document.getElementById("spread-label"), ask > bid ? gettext("Spread") : gettext("Crossed by"));
      setText(spread, `${grouped(this.instrument.ticksText(apart))} (${share.toFixed(2)}%)`);
    }
    const last = document.getElementById("book-last");
    if (!this.last) return;
    setText(last, this.last.text);
    last.classList.toggle("up", this.last.direction > 0);
    last.classList.toggle("down", this.last.direction < 0);
  }

  #pick(row) {
    if (row) this.onPick(row.dataset.price);
  }

  #key(event) {
    const row = event.target.closest("tr[data-price]");
    if (!row) return;
    if (event.key === "Enter") this.#pick(row);
    else if (event.key === "ArrowUp" || event.key === "ArrowDown") {
      const rows = [...event.currentTarget.querySelectorAll("tr[data-price]")];
      rows[rows.indexOf(row) + (event.key === "ArrowUp" ? -1 : 1)]?.focus();
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }
}

function makeRow() {
  const element = document.createElement("tr");
  const cells = [0, 1, 2].map(() => element.appendChild(document.createElement("td")));
  element.tabIndex = -1;
  return { element, cells, ticks: null, depth: "" };
}
