/* Tells the user what became of their orders: fills gathered per order, ends that they did not ask for. */
import Big from "../../vendor/big/big.mjs";
import { amount } from "./ticket_rules.js";
import { toast } from "./toasts.js";

const GATHER_MS = 250;

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

  order(order) {
    const isToldByTheTicket = order.reason === "INSUFFICIENT_FUNDS";
    if (order.status === "rejected" && !isToldByTheTicket) toast(gettext("An order was rejected."), "bad");
    const unfilled = order.status === "cancelled" && order.reason !== "USER";
    if (unfilled) toast(gettext("What could not fill at once was cancelled."));
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
