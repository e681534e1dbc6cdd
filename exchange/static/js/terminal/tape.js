/* The latest trades, newest first, in a fixed pool of rows. */
import { grouped } from "../numbers.js";
import { framed, setText } from "./frame.js";

const ROWS = 50;

export class Tape {
  constructor(instrument) {
    this.instrument = instrument;
    this.trades = [];
    this.paint = framed(() => this.#paint());
    const body = document.querySelector("#tape tbody");
    this.rows = Array.from({ length: ROWS }, () => {
      const element = document.createElement("tr");
      element.hidden = true;
      const cells = [0, 1, 2].map(() => element.appendChild(document.createElement("td")));
      body.append(element);
      return { element, cells };
    });
    this.clock = new Intl.DateTimeFormat(document.documentElement.lang, { timeStyle: "medium", hourCycle: "h23" });
  }

  /** @param trades newest first, as the REST list has them; what arrived while it was read stays above it */
  reset(trades) {
    const newest = trades[0]?.sequence ?? 0;
    const later = this.trades.filter((trade) => trade.sequence > newest);
    this.trades = [...later, ...trades.map((trade) => this.#entry(trade))].slice(0, ROWS);
    this.paint();
  }

  clear() {
    this.trades = [];
  }

  add(trade) {
    this.trades.unshift(this.#entry(trade));
    this.trades.length = Math.min(this.trades.length, ROWS);
    this.paint();
  }

  #entry(trade) {
    const bought = trade.side === "buy";
    return {
      price: `${bought ? "▲" : "▼"} ${grouped(this.instrument.price(trade.price))}`,
      quantity: grouped(this.instrument.quantity(trade.quantity)),
      time: this.clock.format(new Date(trade.timestamp ?? trade.executed_at)),
      sequence: trade.sequence,
      tone: bought ? "up" : "down",
    };
  }

  #paint() {
    this.rows.forEach(({ element, cells }, index) => {
      const trade = this.trades[index];
      if (element.hidden === Boolean(trade)) element.hidden = !trade;
      if (!trade) return;
      setText(cells[0], trade.price);
      setText(cells[1], trade.quantity);
      setText(cells[2], trade.time);
      if (cells[0].className !== trade.tone) cells[0].className = trade.tone;
    });
  }
}
