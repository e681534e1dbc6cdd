/* What a trader may do to a position besides trading: close it, turn it round, change its margin or its leverage. */
import Big from "../../vendor/big/big.mjs";
import { call, read } from "../api.js";
import { grouped, trimmed } from "../numbers.js";
import { CloseAllDialog } from "./close_all_dialog.js";
import { CloseDialog } from "./close_dialog.js";
import { confirmed } from "./confirm.js";
import { liquidationPrice, spareMargin } from "./contract_math.js";
import { ExitsDialog } from "./exits_dialog.js";
import { newIntent } from "./intent.js";
import { askFigure } from "./position_dialog.js";
import { sizeText } from "./position_words.js";
import { amount } from "./ticket_rules.js";
import { toast } from "./toasts.js";

const path = (symbol, what) => `/positions/${encodeURIComponent(symbol)}/${what}`;

export class PositionActions {
  /**
   * @param exits what waits to close positions
   * @param orderForm the form of an order by the OpenAPI document
   * @param lastPrice function of a symbol: the last price where the page knows it, else null
   * @param take called with an order as the exchange then has it
   */
  constructor({ markets, positions, exits, orderForm, lastPrice, take }) {
    Object.assign(this, { markets, positions, exits });
    this.closing = new CloseDialog({ markets, positions, exits, orderForm });
    this.closingAll = new CloseAllDialog({ markets, positions, exits });
    this.exiting = new ExitsDialog({ markets, positions, exits, orderForm, lastPrice, take });
  }

  /** Close all at the market, with one question. */
  async close({ symbol, quantity }) {
    const words = gettext("Close your position of %s in %s at the best prices in the book.");
    if (!(await confirmed("close-position", gettext("Close the position?"), interpolate(words, [this.#size(symbol, quantity), symbol])))) return;
    await call("POST", path(symbol, "close"), { client_order_id: newIntent() });
    toast(interpolate(gettext("The order that closes %s is sent."), [symbol]), "good");
  }

  /** Turn round at the market: an order of twice the position. */
  async reverse(position) {
    const { symbol, quantity, isShort } = position;
    const words = isShort
      ? gettext("Buy twice your position of %s in %s at the best prices in the book: from short to long.")
      : gettext("Sell twice your position of %s in %s at the best prices in the book: from long to short.");
    const text = [interpolate(words, [this.#size(symbol, quantity), symbol]), await this.#costOfReversal(position)];
    if (this.exits.count(position)) text.push(gettext("Its take profit and stop loss are of the old side: they close nothing of the new position, and stay until you cancel them."));
    if (!(await confirmed("reverse-position", gettext("Reverse the position?"), text.filter(Boolean).join("\n")))) return;
    await call("POST", path(symbol, "reverse"), { client_order_id: newIntent() });
    toast(interpolate(gettext("The order that reverses %s is sent."), [symbol]), "good");
  }

  /** What the exchange says of the order that reverses, in words; empty when it cannot be asked. */
  async #costOfReversal({ symbol, quantity, isShort }) {
    const market = this.markets.get(symbol);
    const twice = new Big(quantity).abs().times(2).toFixed();
    const order = { symbol, side: isShort ? "buy" : "sell", type: "market", quantity: market.wireQuantity(twice) };
    try {
      const { data } = await call("POST", "/orders/preview", order);
      if (data.refusal) return data.refusal.message;
      const price = data.liquidation_price === null ? "–" : grouped(market.price(data.liquidation_price));
      const words = gettext("Fee about %s, held at most %s, liquidation price then about %s.");
      return interpolate(words, [amount(trimmed(data.taker_fee), market.quote), amount(trimmed(data.hold), market.quote), price]);
    } catch (error) {
      if (error.code === undefined) throw error;
      return "";
    }
  }

  /** @param direction "add" or "remove" */
  margin(position, direction) {
    const { symbol, margin } = position;
    const market = this.markets.get(symbol);
    const { quote } = market;
    const adding = direction === "add";
    let [id, asked] = [newIntent(), null];
    askFigure({
      title: adding ? interpolate(gettext("Add margin to %s"), [symbol]) : interpolate(gettext("Take margin out of %s"), [symbol]),
      text: adding
        ? gettext("It moves from available to the position, and its liquidation price moves away.")
        : gettext("It moves from the position to available, and its liquidation price comes nearer."),
      label: interpolate(gettext("Amount; the margin is %s now"), [amount(trimmed(margin), quote)]),
      unit: quote,
      value: "",
      note: (typed) => this.#afterMargin(this.positions.open(symbol) ?? position, typed, adding),
    }, async (typed) => {
      if (asked !== null && asked !== typed) id = newIntent();
      asked = typed;
      const { data } = await call("POST", path(symbol, "margin"), { amount: typed, direction, client_margin_id: id });
      this.#told(data, quote);
      this.positions.balancesChanged();
    });
  }

  /** What more or less margin would mean. */
  #afterMargin(position, typed, adding) {
    const market = this.markets.get(position.symbol);
    if (position.cost === undefined) return "";
    const spare = spareMargin(position, market.price(position.mark_price), market);
    const most = adding ? "" : interpolate(gettext("At most %s can be taken out now."), [amount(spare.toFixed(), market.quote)]);
    if (!/^\d+(\.\d+)?$/.test(typed) || (!adding && spare.lt(typed))) return most;
    const margin = adding ? new Big(position.margin).plus(typed) : new Big(position.margin).minus(typed);
    const price = liquidationPrice(position, margin, market);
    const then = price === null ? gettext("No price would liquidate it then.") : interpolate(gettext("Liquidation price then: about %s."), [amount(grouped(price), market.quote)]);
    return [most, then].filter(Boolean).join(" ");
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
    return sizeText(quantity, this.markets.get(symbol));
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
