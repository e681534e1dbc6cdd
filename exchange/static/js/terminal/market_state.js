/* What the market allows: the badge beside its name, in an auction what it would do now, and which orders that bars. */
import { grouped } from "../numbers.js";
import { gathers, refusesOrders, stateNote, stateWord } from "../states.js";
import { setText } from "./frame.js";
import { rests } from "./order_words.js";
import { toast } from "./toasts.js";

const byId = (id) => document.getElementById(id);

/** Faults of a draft, by field, that come from the state alone: the same rules as the engine's. */
export function stateFaults(draft, state) {
  if (refusesOrders(state)) return { ticket: stateNote(state) };
  if (!gathers(state)) return {};
  if (draft.type === "market") return { ticket: gettext("A market order cannot rest: until the market opens, limit orders and orders that wait for a price are taken.") };
  if (draft.type !== "limit") return {};
  if (!rests(draft)) return { time_in_force: gettext("Such an order cannot rest: until the market opens, choose GTC, GTD or Day.") };
  return draft.post_only ? { post_only: gettext("Post-only is not taken before the market opens.") } : {};
}

export class MarketState {
  /** @param onChange called when the state, or what the auction would do, has changed */
  constructor({ instrument, onChange }) {
    Object.assign(this, { instrument, onChange, state: instrument.state, auction: null });
    this.#paint();
  }

  /** Take a message of the auction channel. */
  receive({ state, price, quantity, imbalance }) {
    const isNew = state !== this.state;
    this.state = state;
    this.auction = state === "auction" ? this.#indication(price, quantity, imbalance) : null;
    this.#paint();
    if (isNew) toast(interpolate(gettext("%s is now in the state: %s."), [this.instrument.symbol, stateWord(state)]));
    this.onChange();
  }

  #indication(price, quantity, imbalance) {
    const text = String(imbalance);
    return {
      ticks: price === null ? null : this.instrument.ticks(price),
      price: price === null ? null : grouped(this.instrument.price(price)),
      quantity: grouped(this.instrument.quantity(quantity)),
      imbalance: grouped(this.instrument.quantity(text.replace("-", ""))),
      direction: Number(this.instrument.units(text) > 0n) - Number(this.instrument.units(text) < 0n),
    };
  }

  #paint() {
    byId("market-state").dataset.state = this.state;
    setText(byId("market-state"), stateWord(this.state));
    const { auction } = this;
    byId("auction").hidden = auction === null;
    if (auction === null) return;
    setText(byId("auction-price"), auction.price ?? gettext("nothing crosses"));
    setText(byId("auction-quantity"), auction.price === null ? "–" : `${auction.quantity} ${this.instrument.base}`);
    setText(byId("auction-imbalance"), auction.price === null ? "–" : this.#imbalanceText());
    byId("auction-imbalance").className = `number ${auction.price === null ? "" : ({ 1: "up", "-1": "down" }[auction.direction] ?? "")}`;
    byId("auction-legend").hidden = auction.price === null;
  }

  #imbalanceText() {
    const { direction, imbalance } = this.auction;
    if (direction === 0) return gettext("none");
    return interpolate(direction > 0 ? gettext("+%s to buy") : gettext("−%s to sell"), [imbalance]);
  }
}
