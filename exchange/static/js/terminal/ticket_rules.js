/* The rules of an order before it is sent: the same ones the exchange applies, read from the market and the schema. */
import Big from "../../vendor/big/big.mjs";
import { decimalsOf, grouped } from "../numbers.js";
import { hasStop, isLimited, isWaiting, trails, triggerDirection } from "./order_words.js";
import { utcText } from "./ticket_terms.js";

const ICEBERG_PARTS_MAX = 1000; // these two are the exchange's, trading/services/terms.py
const CALLBACK_PERCENT = { step: "0.0001", most: "50" };
const UP = 3;
const DOWN = 0;

/** What the API says about the form of an order, from its OpenAPI document. */
export class OrderForm {
  constructor(schema) {
    this.schemas = schema.components.schemas;
    this.properties = this.schemas.OrderRequest.properties;
  }

  /** The text form of a field: {pattern, maxLength}, whichever way the document nests it. */
  text(field) {
    const property = this.#resolved(this.properties[field] ?? {});
    const forms = [property, ...(property.oneOf ?? []), ...(property.anyOf ?? []), ...(property.allOf ?? [])];
    return forms.map((form) => this.#resolved(form)).find((form) => form.pattern || form.maxLength) ?? {};
  }

  /** The words a field takes, or null when the document does not list them. */
  words(field) {
    const property = this.#resolved(this.properties[field] ?? {});
    const forms = [property, ...(property.oneOf ?? []), ...(property.allOf ?? [])].map((form) => this.#resolved(form));
    return forms.find((form) => form.enum)?.enum ?? null;
  }

  /** Whether a text has the form that the API takes. */
  fits(field, text) {
    const { pattern, maxLength } = this.text(field);
    if (maxLength && text.length > maxLength) return false;
    return new RegExp(pattern ?? "^[0-9]{1,20}(\\.[0-9]{1,18})?$").test(text);
  }

  #resolved(form) {
    return form.$ref ? this.schemas[form.$ref.split("/").at(-1)] : form;
  }
}

/**
 * The price that band, bound and value of an order refer to: where a waiting order wakes, at worst; else the last trade.
 * A trailing stop wakes at worst one callback behind where it begins, rounded away from the market.
 */
export function referenceOf(draft, lastPrice, instrument) {
  if (hasStop(draft.type)) return draft.stop_price;
  if (!trails(draft.type)) return lastPrice;
  const begins = draft.activation_price || lastPrice || instrument.referencePrice;
  const buying = draft.side === "buy";
  try {
    const way = new Big(begins).times(rateOf(draft.callback_rate)).times(buying ? 1 : -1);
    const ticks = new Big(begins).plus(way).div(instrument.tickSize).round(0, buying ? UP : DOWN);
    return (ticks.lt(1) ? new Big(1) : ticks).times(instrument.tickSize).toFixed(instrument.priceDecimals);
  } catch {
    return "";
  }
}

/** A percentage as it is typed, as the API's part of one. */
export const rateOf = (percent) => new Big(percent).div(100).toFixed();

/** Faults of a draft by field, in words; empty when it may be sent. */
export function faults(draft, instrument, form, lastPrice) {
  const found = {};
  const note = (field, fault) => {
    if (fault && !found[field]) found[field] = fault;
  };
  const limited = isLimited(draft.type);
  if (hasStop(draft.type)) note("stop_price", numberFault("stop_price", draft.stop_price, instrument.tickSize, form));
  if (trails(draft.type)) {
    note("callback_rate", numberFault("callback_rate", draft.callback_rate, CALLBACK_PERCENT.step, form));
    if (!found.callback_rate && new Big(draft.callback_rate).gt(CALLBACK_PERCENT.most)) {
      note("callback_rate", interpolate(gettext("This must be at most %s."), [CALLBACK_PERCENT.most]));
    }
    if (draft.activation_price) note("activation_price", numberFault("activation_price", draft.activation_price, instrument.tickSize, form));
  }
  const reference = Object.keys(found).length ? null : referenceOf(draft, lastPrice, instrument);
  if (limited) {
    note("price", numberFault("price", draft.price, instrument.tickSize, form));
    if (!found.price && !found.stop_price) note("price", bandFault(draft.price, instrument, reference));
  }
  if (draft.by_amount) note("quantity", numberFault("quote_quantity", draft.quote_quantity, smallest(instrument), form));
  else note("quantity", numberFault("quantity", draft.quantity, instrument.lotSize, form));
  if (!Object.keys(found).length) {
    const price = limited ? draft.price : (reference ?? instrument.referencePrice);
    const value = draft.by_amount ? new Big(draft.quote_quantity) : new Big(price).times(draft.quantity).times(instrument.contractSize);
    if (!draft.reduce_only && value.lt(instrument.minNotional)) {
      note("quantity", interpolate(gettext("The order must be worth at least %s."), [amount(instrument.minNotional, instrument.quote)]));
    }
  }
  if (draft.time_in_force === "gtd") note("expires_at", endFault(draft.expires_at));
  if (draft.display_quantity) {
    note("display_quantity", numberFault("display_quantity", draft.display_quantity, instrument.lotSize, form));
    if (!found.display_quantity && !found.quantity) note("display_quantity", partFault(draft));
  }
  return found;
}

/** The smallest part of the quote asset. */
const smallest = (instrument) => new Big(10).pow(-instrument.quoteDecimals).toFixed();

const MISSING = {
  price: () => gettext("Enter a price."),
  stop_price: () => gettext("Enter a stop price."),
  callback_rate: () => gettext("Enter a distance in percent."),
  quantity: () => gettext("Enter a quantity."),
  quote_quantity: () => gettext("Enter an amount."),
};

/** What is wrong with a number as it was typed, in words, or null. */
export function numberFault(field, text, step, form) {
  if (text === "") return MISSING[field]();
  if (!form.fits(field, text)) return gettext("Enter a plain number such as 12.5.");
  const value = new Big(text);
  if (value.lte(0)) return gettext("This must be above zero.");
  if (!value.mod(step).eq(0)) return interpolate(gettext("This must be a multiple of %s."), [step]);
  return null;
}

function endFault(text) {
  const end = utcText(text);
  if (end === null) return gettext("Enter a date and time.");
  return Date.parse(end) > Date.now() ? null : gettext("This must be in the future.");
}

/** The visible part of an iceberg: at most the whole, and not so small that it would come in too many parts. */
function partFault({ display_quantity: part, quantity }) {
  if (new Big(part).gt(quantity)) return gettext("This must not be more than the quantity.");
  const least = new Big(quantity).div(ICEBERG_PARTS_MAX);
  return new Big(part).lt(least) ? interpolate(gettext("This must be at least %s."), [least.toFixed()]) : null;
}

/** The farthest prices that the exchange takes: exactly the band's edge still passes. */
export function band(instrument, reference) {
  const middle = new Big(reference ?? instrument.referencePrice);
  return { low: middle.times(new Big(1).minus(instrument.bandRate)), high: middle.times(new Big(1).plus(instrument.bandRate)) };
}

function bandFault(price, instrument, reference) {
  const { low, high } = band(instrument, reference);
  const value = new Big(price);
  if (value.gte(low) && value.lte(high)) return null;
  return interpolate(gettext("The price must lie between %s and %s."), bandTexts(instrument, reference));
}

/** The lowest and the highest price as they may be typed. */
export function bandTexts(instrument, reference) {
  const { low, high } = band(instrument, reference);
  const [from, to] = [low.round(instrument.priceDecimals, UP), high.round(instrument.priceDecimals, DOWN)];
  return [grouped(from.toFixed()), grouped(to.toFixed())];
}

/** Cost and fee of a draft, rounded as the exchange does: fees up. Null while it cannot be told. */
export function preview(draft, instrument, ladder, lastPrice) {
  if (draft.by_amount) return spent(draft.quote_quantity, instrument, ladder);
  let notional;
  if (isLimited(draft.type)) notional = product(draft.price, draft.quantity);
  else if (isWaiting(draft.type)) notional = product(worstPrice(instrument, draft.side, referenceOf(draft, lastPrice, instrument)), draft.quantity);
  else notional = walked(draft.quantity, instrument, ladder);
  if (!notional) return null;
  notional = notional.times(instrument.contractSize);
  const rate = takerRate(instrument);
  const fee = notional.times(rate).round(instrument.quoteDecimals, UP);
  const total = draft.side === "buy" ? notional.plus(fee) : notional.minus(fee);
  return { notional: notional.toFixed(), fee: fee.toFixed(), total: total.toFixed(), rate };
}

const takerRate = (instrument) => {
  const [maker, taker] = [new Big(instrument.makerFeeRate), new Big(instrument.takerFeeRate)];
  return maker.gt(taker) ? maker : taker;
};

function product(price, quantity) {
  try {
    return new Big(price).times(quantity);
  } catch {
    return null;
  }
}

/** What a market order would cost at the levels that stand now; null when the book is too thin. */
function walked(quantity, instrument, ladder) {
  let left;
  try {
    left = new Big(quantity);
  } catch {
    return null;
  }
  let cost = new Big(0);
  for (const { ticks, units } of ladder) {
    const standing = new Big(instrument.unitsText(units));
    const taken = left.lt(standing) ? left : standing;
    cost = cost.plus(taken.times(instrument.ticksText(ticks)));
    left = left.minus(taken);
    if (left.eq(0)) return cost;
  }
  return null;
}

/** What an amount buys at the levels that stand now, whole lots, its fee inside. Null while it cannot be told. */
function spent(text, instrument, ladder) {
  const rate = takerRate(instrument);
  let total;
  try {
    total = new Big(text);
  } catch {
    return null;
  }
  let left = total.div(rate.plus(1)).round(instrument.quoteDecimals, DOWN);
  let [quantity, notional] = [new Big(0), new Big(0)];
  for (const { ticks, units } of ladder) {
    const price = new Big(instrument.ticksText(ticks));
    const payable = left.div(price).div(instrument.lotSize).round(0, DOWN).times(instrument.lotSize);
    const standing = new Big(instrument.unitsText(units));
    const taken = payable.lt(standing) ? payable : standing;
    quantity = quantity.plus(taken);
    notional = notional.plus(taken.times(price));
    left = left.minus(taken.times(price));
    if (taken.lt(standing)) break;
  }
  if (quantity.eq(0)) return null;
  const fee = notional.times(rate).round(instrument.quoteDecimals, UP);
  return { quantity: quantity.toFixed(), notional: notional.toFixed(), fee: fee.toFixed(), total: total.toFixed(), rate };
}

/**
 * The largest quantity that a share of what is available pays for, in whole lots.
 * @param price the limit, or for a market order the worst price it may get
 */
export function affordable({ side, available, percent, price, instrument }) {
  const part = new Big(available).times(percent).div(100);
  let quantity = part;
  if (side === "buy") {
    if (!price || new Big(price).lte(0)) return null;
    const dearest = new Big(price).times(new Big(1).plus(takerRate(instrument)));
    const quantum = new Big(10).pow(-instrument.quoteDecimals);
    quantity = part.minus(quantum).div(dearest);
  }
  if (quantity.lte(0)) return "0";
  const lots = quantity.div(instrument.lotSize).round(0, DOWN);
  return lots.times(instrument.lotSize).toFixed(decimalsOf(instrument.lotSize));
}

/**
 * The worst price that an order without a limit may get: slippage, inside the band, in whole ticks toward the market.
 * Null while the reference is no number.
 */
export function worstPrice(instrument, side, reference) {
  let middle;
  try {
    middle = new Big(reference ?? instrument.referencePrice);
  } catch {
    return null;
  }
  const { low, high } = band(instrument, middle);
  const slip = middle.times(instrument.slippageRate);
  const buying = side === "buy";
  const [slipped, edge] = buying ? [middle.plus(slip), high] : [middle.minus(slip), low];
  const bound = slipped.lt(edge) === buying ? slipped : edge;
  const ticks = bound.div(instrument.tickSize).round(0, buying ? DOWN : UP);
  return (ticks.lt(1) ? new Big(1) : ticks).times(instrument.tickSize).toFixed(instrument.priceDecimals);
}

/** Whether the last trade is past the stop price already, so that the order would wake on arrival. */
export function wakesAtOnce(draft, lastPrice) {
  if (!hasStop(draft.type) || lastPrice === null) return false;
  try {
    return new Big(lastPrice).minus(draft.stop_price).times(triggerDirection(draft)).gte(0);
  } catch {
    return false;
  }
}

/** A price moved by whole ticks, never below one tick; a price between ticks moves to the next one. */
export function stepped(price, steps, instrument, fallback) {
  const start = new Big(price || fallback || instrument.referencePrice);
  const ticks = start.div(instrument.tickSize).round(0, steps > 0 ? DOWN : UP).plus(steps);
  const moved = ticks.lt(1) ? new Big(1) : ticks;
  return moved.times(instrument.tickSize).toFixed(instrument.priceDecimals);
}

/** "1,234.5 USDT" */
export const amount = (text, asset) => `${grouped(text)} ${asset}`;
