/* What a trader may do to a position besides trading: close it, turn it round, change its margin or its leverage. */
import Big from "../../vendor/big/big.mjs";
import { call, read } from "../api.js";
import { trimmed } from "../numbers.js";
import { confirmed } from "./confirm.js";
import { askFigure } from "./position_dialog.js";
import { amount } from "./ticket_rules.js";
import { toast } from "./toasts.js";

/** Made once for each thing asked for, so that a repeat cannot do it twice. */
function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return `web-${Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

const path = (symbol, what) => `/positions/${encodeURIComponent(symbol)}/${what}`;

export class PositionActions {
  constructor({ markets, positions }) {
    Object.assign(this, { markets, positions });
  }

  /** Close at the market. @returns a promise of whether it was asked for */
  async close({ symbol, quantity }) {
    const words = gettext("Close your position of %s in %s at the best prices in the book.");
    if (!(await confirmed("close-position", gettext("Close the position?"), interpolate(words, [this.#size(symbol, quantity), symbol])))) return;
    await call("POST", path(symbol, "close"), { client_order_id: newId() });
    toast(interpolate(gettext("The order that closes %s is sent."), [symbol]), "good");
  }

  /** Turn round at the market: an order of twice the position. */
  async reverse({ symbol, quantity, isShort }) {
    const words = isShort
      ? gettext("Buy twice your position of %s in %s at the best prices in the book: from short to long.")
      : gettext("Sell twice your position of %s in %s at the best prices in the book: from long to short.");
    if (!(await confirmed("reverse-position", gettext("Reverse the position?"), interpolate(words, [this.#size(symbol, quantity), symbol])))) return;
    await call("POST", path(symbol, "reverse"), { client_order_id: newId() });
    toast(interpolate(gettext("The order that reverses %s is sent."), [symbol]), "good");
  }

  /** @param direction "add" or "remove" */
  margin({ symbol, margin }, direction) {
    const { quote } = this.markets.get(symbol);
    const adding = direction === "add";
    let [id, asked] = [newId(), null];
    askFigure({
      title: adding ? interpolate(gettext("Add margin to %s"), [symbol]) : interpolate(gettext("Take margin out of %s"), [symbol]),
      text: adding
        ? gettext("It moves from available to the position, and its liquidation price moves away.")
        : gettext("It moves from the position to available, and its liquidation price comes nearer."),
      label: interpolate(gettext("Amount; the margin is %s now"), [amount(trimmed(margin), quote)]),
      unit: quote,
      value: "",
    }, async (typed) => {
      if (asked !== null && asked !== typed) id = newId();
      asked = typed;
      const { data } = await call("POST", path(symbol, "margin"), { amount: typed, direction, client_margin_id: id });
      this.#told(data, quote);
      this.positions.balancesChanged();
    });
  }

  /** A change that waited for the books may be refused when they have caught up. */
  #told({ state, symbol, direction, amount: moved }, quote) {
    const texts = [amount(trimmed(moved), quote), symbol];
    if (state === "refused") toast(interpolate(gettext("Taking %s out of the margin of %s was refused: the position needs it now."), texts), "bad");
    else if (state === "waiting") toast(interpolate(gettext("Taking %s out of the margin of %s waits for the books to catch up."), texts));
    else toast(interpolate(direction === "add" ? gettext("%s added to the margin of %s.") : gettext("%s taken out of the margin of %s."), texts), "good");
  }

  /** @param leverage the present one */
  leverage(symbol, leverage) {
    const market = this.markets.get(symbol);
    askFigure({
      title: interpolate(gettext("Leverage of %s"), [symbol]),
      text: gettext("Isolated margin. Lower leverage draws what the position lacks of its initial margin from available; higher leverage releases nothing by itself."),
      label: interpolate(gettext("Leverage, 1 to %s"), [market.leverageMax ?? 1]),
      unit: "×",
      value: String(leverage ?? 1),
      note: (typed) => largest(market, typed),
    }, async (typed) => {
      const wanted = /^[0-9]{1,4}$/.test(typed) ? Number(typed) : typed;
      const { data } = await call("PUT", path(symbol, "leverage"), { leverage: wanted });
      this.positions.take(data);
      toast(interpolate(gettext("The leverage of %s is %s× now."), [symbol, data.leverage]), "good");
    });
  }

  /** A contract has a leverage also before there is a position. */
  async readLeverage(symbol) {
    this.positions.take(await read(`/positions/${encodeURIComponent(symbol)}`));
  }

  #size(symbol, quantity) {
    const market = this.markets.get(symbol);
    return amount(trimmed(market.quantity(String(quantity).replace("-", ""))), market.base);
  }
}

/** How much a position may be worth with a leverage: up to where the next bracket that allows less begins. */
function largest(market, typed) {
  if (!/^[0-9]{1,4}$/.test(typed)) return "";
  const next = market.brackets.find((bracket) => bracket.leverage_max < Number(typed));
  if (!next) return gettext("A position may have any size with it.");
  if (new Big(next.notional_floor).eq(0)) return "";
  return interpolate(gettext("A position may be worth up to %s with it."), [amount(trimmed(next.notional_floor), market.quote)]);
}
