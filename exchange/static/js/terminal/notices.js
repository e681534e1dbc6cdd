/* Tells the user what became of their orders: fills gathered per order, ends that they did not ask for. */
import Big from "../../vendor/big/big.mjs";
import { typeWord } from "./order_words.js";
import { amount } from "./ticket_rules.js";
import { toast } from "./toasts.js";

const GATHER_MS = 250;

const REJECTED = {
  POST_ONLY_WOULD_TAKE: () => gettext("A post-only order was rejected: it would have traded at once."),
  NOT_TRADING: () => gettext("An order was rejected: the market took no orders any more."),
  NOT_IN_AUCTION: () => gettext("An order was rejected: it cannot rest, as orders do in an auction."),
  TOO_MANY_OPEN_ORDERS: () => gettext("An order was rejected: too many orders are open."),
};
const CANCELLED = {
  FOK_UNFILLED: () => gettext("A fill-or-kill order was cancelled: it could not fill whole."),
  SELF_TRADE: () => gettext("An order was cancelled: it met another order of yours."),
  OPERATOR: () => gettext("An order was cancelled by the exchange."),
  BUDGET_SPENT: () => gettext("A buy by amount was cancelled: the amount buys not one lot."),
  REDUCE_ONLY: () => gettext("An order was cancelled: there was no position left to close."),
  RESERVATION_STOLEN: () => gettext("An order was cancelled: another fill closed what it was to close, and available does not cover opening."),
  WORST_PRICE: () => gettext("The rest of an order was cancelled: the price went too far."),
};

export class Notices {
  constructor(markets) {
    this.markets = markets;
    this.gathered = new Map();
  }

  fill(fill) {
    const known = this.gathered.get(fill.order_id);
    if (known) known.push(fill);
    else {
      this.gathered.set(fill.order_id, [fill]);
      setTimeout(() => this.#tell(fill.order_id), GATHER_MS);
    }
  }

  /** @param before the order as it was known until now; undefined when it is new here */
  order(order, before) {
    const isToldByTheTicket = order.reason === "INSUFFICIENT_FUNDS";
    if (before?.status === "untriggered" && order.triggered_at) toast(interpolate(gettext("%s order woke: its stop price was reached."), [typeWord(order.type)]), "good");
    if (before && before.status === order.status) return;
    if (order.status === "rejected" && !isToldByTheTicket) toast(REJECTED[order.reason]?.() ?? gettext("An order was rejected."), "bad");
    if (order.status === "cancelled" && order.reason !== "USER") toast(CANCELLED[order.reason]?.() ?? gettext("What could not fill at once was cancelled."));
    if (order.status === "expired") toast(gettext("An order expired: its time was over."));
  }

  #tell(orderId) {
    const fills = this.gathered.get(orderId);
    this.gathered.delete(orderId);
    const [{ symbol, side }] = fills;
    const market = this.markets.get(symbol);
    let [quantity, cost] = [new Big(0), new Big(0)];
    for (const fill of fills) {
      quantity = quantity.plus(market.quantity(fill.quantity));
      cost = cost.plus(new Big(market.price(fill.price)).times(market.quantity(fill.quantity)));
    }
    const words = side === "buy" ? gettext("Bought %s at %s.") : gettext("Sold %s at %s.");
    const average = cost.div(quantity).round(market.priceDecimals).toFixed(market.priceDecimals);
    toast(interpolate(words, [amount(quantity.toFixed(), market.base), amount(average, market.quote)]), "good");
  }
}
