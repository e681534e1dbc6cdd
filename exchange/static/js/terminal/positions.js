/* What a trader holds: positions in contracts, kept by the private channel and valued by the live mark; spot holdings. */
import Big from "../../vendor/big/big.mjs";
import { read } from "../api.js";
import { costOf, marginRatio, resultAt } from "./contract_math.js";

const GATHER_MS = 400;

export class Positions {
  /**
   * @param markets Map of symbol to Instrument
   * @param onChange called when something that is shown has changed
   */
  constructor({ markets, onChange }) {
    Object.assign(this, { markets, onChange, contracts: new Map(), holdings: [], marks: new Map(), waiting: new Set(), reading: null, followers: new Set() });
  }

  /**
   * Read everything anew. Positions that arrive meanwhile are applied after it: each is whole. Two readings may be on
   * their way at once, and the older answer come last: it takes nothing back that is known to be newer.
   */
  async load() {
    const late = [];
    this.waiting.add(late);
    try {
      const rows = await read("/positions");
      const open = rows.filter((row) => row.kind === "PERP");
      const isOpen = new Set(open.map((row) => row.symbol));
      for (const [symbol, row] of this.contracts) if (!isOpen.has(symbol)) this.contracts.set(symbol, { ...row, quantity: "0" });
      for (const position of [...open, ...late]) this.#take(position);
      this.holdings = rows.filter((row) => row.kind === "SPOT");
    } finally {
      this.waiting.delete(late);
    }
    this.#changed();
  }

  /** Take a position as the private channel, or the answer to a call, has it. */
  take(position) {
    for (const late of this.waiting) late.push(position);
    this.#take(position);
    this.#changed();
  }

  /** The mark price of a contract, as the wire has it. */
  mark(symbol, wire) {
    if (wire === null || wire === undefined || this.marks.get(symbol) === wire) return;
    this.marks.set(symbol, wire);
    if (this.contracts.has(symbol)) this.#changed();
  }

  /** Spot holdings have no channel of their own: they follow the balances. */
  balancesChanged() {
    this.reading ??= setTimeout(() => {
      this.reading = null;
      this.load().catch((error) => {
        if (error.code === undefined) throw error;
      });
    }, GATHER_MS);
  }

  of(symbol) {
    return this.contracts.get(symbol) ?? null;
  }

  /** A position that is open, valued at the latest mark; null when there is none. */
  open(symbol) {
    const position = this.of(symbol);
    return position && !new Big(position.quantity).eq(0) ? this.#valued(position) : null;
  }

  /** Call a function whenever something changes. @returns a function that ends it */
  follow(onChange) {
    this.followers.add(onChange);
    return () => this.followers.delete(onChange);
  }

  /** @returns a promise of whether a position is closed within a time */
  closed(symbol, milliseconds) {
    return new Promise((resolve) => {
      const end = (isClosed) => {
        clearTimeout(timer);
        unfollow();
        resolve(isClosed);
      };
      const look = () => this.open(symbol) === null && end(true);
      const timer = setTimeout(() => end(false), milliseconds);
      const unfollow = this.follow(look);
      look();
    });
  }

  #changed() {
    this.onChange();
    for (const follower of [...this.followers]) follower();
  }

  /** Positions in contracts first, each valued at the latest mark; then what is held of spot markets. */
  rows() {
    const open = [...this.contracts.values()].filter((row) => !new Big(row.quantity).eq(0));
    const contracts = open.sort((a, b) => (a.symbol < b.symbol ? -1 : 1)).map((row) => this.#valued(row));
    return [...contracts, ...[...this.holdings].sort((a, b) => (a.symbol < b.symbol ? -1 : 1)).map((row) => ({ ...row, id: row.symbol }))];
  }

  /** Numbers never go back: an answer may come later than the message that overtook it. */
  #take(position) {
    const known = this.contracts.get(position.symbol);
    if (!known || position.version >= known.version) this.contracts.set(position.symbol, position);
  }

  /** A result is linear in the mark: from the exchange's own at its mark, to the one at the mark of now, exactly. */
  #valued(row) {
    const market = this.markets.get(row.symbol);
    const mark = this.marks.get(row.symbol) ?? row.mark_price;
    const shown = { ...row, id: row.symbol, mark_price: mark, isShort: String(row.quantity).startsWith("-") };
    if (mark === null || row.mark_price === null || !market) return shown;
    const [at, margin] = [market.price(mark), new Big(row.margin)];
    const valued = { ...shown, cost: costOf(row, market).toFixed() };
    const result = resultAt(at, valued, market);
    const ratio = marginRatio(valued, at, market);
    return {
      ...valued,
      unrealized_pnl: result.toFixed(),
      roe: margin.gt(0) ? result.div(margin).toFixed() : null,
      margin_ratio: ratio?.toFixed() ?? null,
    };
  }
}
