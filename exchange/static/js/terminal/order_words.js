/* What the words of an order mean: which types wait, which have a price, what goes with what, and how to say it. */
import Big from "../../vendor/big/big.mjs";
import { grouped, trimmed } from "../numbers.js";

const LIMITED = new Set(["limit", "stop_limit", "take_profit_limit"]);
const STOPPED = new Set(["stop", "stop_limit", "take_profit", "take_profit_limit"]);
const RESTING = new Set(["gtc", "gtd", "day"]);
const moment = new Intl.DateTimeFormat(document.documentElement.lang, { month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });

/** Whether a type has a price of its own; the others take the market's. */
export const isLimited = (type) => LIMITED.has(type);

/** Whether a type wakes at a stop price of its own. */
export const hasStop = (type) => STOPPED.has(type);

/** Whether a type's stop follows the market at a distance. */
export const trails = (type) => type === "trailing_stop";

/** Whether a type waits before it does anything. */
export const isWaiting = (type) => hasStop(type) || trails(type);

/** Whether an order would stay in the book. */
export const rests = ({ type, time_in_force: time }) => isLimited(type) && RESTING.has(time);

/** Only a plain limit order that stays in the book can be post-only. */
export const mayPostOnly = (order) => order.type === "limit" && rests(order);

/** The times in force that go with a type; the first is the usual one. The same list as the exchange's. */
export function timesAllowed(type) {
  if (isLimited(type)) return ["gtc", "ioc", "fok", "gtd", "day"];
  return type === "market" ? ["ioc", "fok"] : ["ioc"];
}

/** Whether a waiting order wakes at or above its stop price (1), or at or below it (-1). */
export const triggerDirection = ({ side, type }) => (type.startsWith("stop") === (side === "buy") ? 1 : -1);

export const sideWord = (side) => (side === "buy" ? gettext("Buy") : gettext("Sell"));

export const typeWord = (type) => ({
  limit: gettext("Limit"),
  market: pgettext("order type", "Market"),
  stop: pgettext("order type", "Stop"),
  stop_limit: gettext("Stop limit"),
  take_profit: gettext("Take profit"),
  take_profit_limit: gettext("Take profit limit"),
  trailing_stop: gettext("Trailing stop"),
})[type] ?? type;

export const statusWord = (status) => ({
  new: gettext("Open"),
  partial_filled: gettext("Partly filled"),
  filled: gettext("Filled"),
  cancelled: gettext("Cancelled"),
  rejected: gettext("Rejected"),
  expired: gettext("Expired"),
  pending_review: gettext("In review"),
  untriggered: gettext("Untriggered"),
})[status] ?? status;

/** What a contract order was meant to do to the position. */
export const intentWord = (intent) => ({ increase: gettext("Opens"), reduce: gettext("Reduces"), reverse: gettext("Reverses") })[intent] ?? intent;

/** Why an order ended without its owner asking for it, in a few words; empty when there is nothing to add. */
export const reasonWord = ({ status, reason }) => (["cancelled", "rejected"].includes(status) ? {
  POST_ONLY_WOULD_TAKE: gettext("would have traded at once"),
  FOK_UNFILLED: gettext("could not fill whole"),
  IOC_REMAINDER: gettext("the rest could not fill"),
  SELF_TRADE: gettext("met your own order"),
  INSUFFICIENT_FUNDS: gettext("not enough funds"),
  NOT_TRADING: gettext("the market took no orders"),
  NOT_IN_AUCTION: gettext("cannot rest in an auction"),
  BUDGET_SPENT: gettext("the amount buys not one lot"),
  WORST_PRICE: gettext("the price went too far"),
  BAD_EXPIRY: gettext("its time was over"),
  TOO_MANY_OPEN_ORDERS: gettext("too many orders are open"),
  TOO_MANY_TRAILING_STOPS: gettext("too many trailing stops are open"),
  REFUSED_IN_REVIEW: gettext("refused in review"),
  NEVER_LOGGED: gettext("never reached the engine"),
  OPERATOR: gettext("cancelled by the exchange"),
  REDUCE_ONLY: gettext("there was no position left to close"),
  RESERVATION_STOLEN: gettext("another fill closed what it was to close"),
}[reason] : "") ?? "";

/** Why the engine did not take a change of an order, as a sentence. */
export const amendRefusal = (reason) => ({
  ORDER_CHANGED: gettext("The order stays as it was: a fill or another change came first."),
  UNKNOWN_ORDER: gettext("The order ended before the change."),
  BAD_TRIGGER: gettext("The order stays as it was: it was triggered first."),
  POST_ONLY_WOULD_TAKE: gettext("The order stays as it was: it is post-only and would have traded at once."),
  NOT_TRADING: gettext("The order stays as it was: the market took no changes any more."),
})[reason] ?? gettext("The exchange did not take this change; the order stays as it was.");

/** "≥ 61,000.00": the price at which a waiting order wakes, and from which side; or how far its stop keeps behind. */
export function triggerText(order, price) {
  if (trails(order.type)) return interpolate(gettext("%s behind"), [`${trimmed(new Big(order.callback_rate).times(100).toFixed())}%`]);
  return `${triggerDirection(order) > 0 ? "≥" : "≤"} ${grouped(price)}`;
}

/** How long an order stands and what else was asked for: "GTC · Post-only". */
export function termsText(order, { quantity, price }) {
  const parts = [order.time_in_force === "day" ? pgettext("time in force", "Day") : order.time_in_force.toUpperCase()];
  if (order.expires_at) parts.push(interpolate(gettext("until %s"), [moment.format(new Date(order.expires_at))]));
  if (order.activation_price) parts.push(interpolate(gettext("from %s"), [grouped(price(order.activation_price))]));
  if (order.trigger_by === "mark") parts.push(gettext("by mark price"));
  if (order.intent && !order.close_position) parts.push(intentWord(order.intent));
  if (order.reduce_only) parts.push(gettext("Reduce-only"));
  if (order.close_position) parts.push(gettext("Closes the position"));
  if (order.post_only) parts.push(gettext("Post-only"));
  if (order.display_quantity !== null) parts.push(interpolate(gettext("Iceberg %s"), [quantity(order.display_quantity)]));
  return parts.join(" · ");
}
