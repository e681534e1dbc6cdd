/* The figures of an open order that its owner may change in place: how they are read, typed, checked and sent. */
import Big from "../../vendor/big/big.mjs";
import { grouped, trimmed } from "../numbers.js";
import { hasStop, isLimited, isWaiting, triggerDirection } from "./order_words.js";
import { numberFault, stepped } from "./ticket_rules.js";

const waits = (order) => isWaiting(order.type) && !order.triggered_at;
const isKnown = (order) => order.quantity !== null && order.status !== "pending_review";

/**
 * @param markets Map of symbol to Instrument
 * @param orderForm the form of an order by the OpenAPI document
 */
export function orderFigures(markets, orderForm) {
  const market = (order) => markets.get(order.symbol);
  const price = (field, name, may) => ({
    field,
    name,
    may: (order) => isKnown(order) && may(order),
    before: () => "",
    text: (order) => grouped(market(order).price(order[field])),
    typed: (order) => market(order).price(order[field]),
    read: (order, typed) => grouped(typed),
    wire: (order, typed) => market(order).wirePrice(typed),
    fault: (order, typed) => numberFault(field, typed, market(order).tickSize, orderForm),
    stepped: (order, typed, steps) => attempt(() => stepped(typed, steps, market(order), market(order).price(order[field]))),
  });
  const quantity = {
    field: "quantity",
    name: gettext("Quantity"),
    may: (order) => isKnown(order) && (isLimited(order.type) || waits(order)),
    before: (order) => `${grouped(market(order).quantity(order.filled_quantity))} / `,
    text: (order) => grouped(market(order).quantity(order.quantity)),
    typed: (order) => market(order).quantity(order.quantity),
    read: (order, typed) => grouped(typed),
    wire: (order, typed) => market(order).wireQuantity(typed),
    fault: (order, typed) => numberFault("quantity", typed, market(order).lotSize, orderForm) ?? filledFault(order, typed, market(order)),
    stepped: (order, typed, steps) => attempt(() => moved(typed, steps, market(order))),
  };
  return {
    price: price("price", gettext("Price"), (order) => isLimited(order.type)),
    stop: { ...price("stop_price", gettext("Stop price"), (order) => hasStop(order.type) && waits(order)), before: (order) => `${triggerDirection(order) > 0 ? "≥" : "≤"} ` },
    quantity,
  };
}

/** What has filled counts against the quantity. */
function filledFault(order, typed, market) {
  if (new Big(typed).gt(market.quantity(order.filled_quantity))) return null;
  return interpolate(gettext("This must be more than what has filled, %s."), [trimmed(market.quantity(order.filled_quantity))]);
}

function moved(typed, steps, market) {
  const quantity = new Big(typed).plus(new Big(market.lotSize).times(steps));
  return quantity.gt(0) ? quantity.toFixed(market.qtyDecimals) : null;
}

/** Null where what was typed is no number. */
function attempt(work) {
  try {
    return work();
  } catch {
    return null;
  }
}
