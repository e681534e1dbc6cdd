/* The order book as the exchange has it: a snapshot, then deltas whose sequence must follow without a gap. */
export const IN_STEP = "in step";
export const OLD = "old";
export const GAP = "gap";
export const BROKEN = "broken";

export class Book {
  /** @param instrument its ticks are the keys, its last quantity decimal the unit of the values */
  constructor(instrument) {
    this.instrument = instrument;
    this.sides = { buy: new Map(), sell: new Map() };
    this.sequence = null;
    this.isBroken = false;
  }

  reset(snapshot) {
    for (const [side, levels] of [["buy", snapshot.bids], ["sell", snapshot.asks]]) {
      this.sides[side].clear();
      for (const [price, quantity] of levels) this.#set(side, price, quantity);
    }
    this.sequence = snapshot.sequence;
    this.isBroken = false;
  }

  /**
   * @returns IN_STEP when applied, OLD when known already, GAP when something is missing before it; told once, since
   *   deltas that were on their way come after it: until the next snapshot they are BROKEN
   */
  apply(delta) {
    if (this.isBroken) return BROKEN;
    if (this.sequence !== null && delta.sequence <= this.sequence) return OLD;
    if (delta.previous_sequence !== this.sequence) {
      this.isBroken = true;
      return GAP;
    }
    for (const change of delta.changes) this.#set(change.side, change.price, change.total);
    this.sequence = delta.sequence;
    return IN_STEP;
  }

  #set(side, price, quantity) {
    const ticks = this.instrument.ticks(price);
    const units = this.instrument.units(quantity);
    if (units === 0n) this.sides[side].delete(ticks);
    else this.sides[side].set(ticks, units);
  }

  /** Best bid or ask in ticks, or null. */
  best(side) {
    const ticks = [...this.sides[side].keys()];
    if (!ticks.length) return null;
    return side === "buy" ? Math.max(...ticks) : Math.min(...ticks);
  }

  /**
   * Levels of one side, best first, with the cumulative quantity.
   * @param step grouping in ticks: bids are gathered downward, asks upward, so none looks better than it is
   */
  levels(side, step, count) {
    const groups = new Map();
    for (const [ticks, units] of this.sides[side]) {
      const group = (side === "buy" ? Math.floor(ticks / step) : Math.ceil(ticks / step)) * step;
      groups.set(group, (groups.get(group) ?? 0n) + units);
    }
    const sorted = [...groups.keys()].sort((a, b) => (side === "buy" ? b - a : a - b)).slice(0, count);
    let total = 0n;
    return sorted.map((ticks) => {
      total += groups.get(ticks);
      return { ticks, units: groups.get(ticks), total };
    });
  }

  /** The single price levels of one side, best first: what a market order would meet. */
  ladder(side) {
    return this.levels(side, 1, Infinity);
  }
}
