/* The rules of an order before it is sent: the same ones the exchange applies, read from the market and the schema. */
import Big from "../../vendor/big/big.mjs";
import { decimalsOf, grouped } from "../numbers.js";

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

/** Faults of a draft by field, in words; empty when it may be sent. */
export function faults(draft, instrument, form, lastPrice) {
  const found = {};
  if (draft.type === "limit") {
    const fault = numberFault("price", draft.price, instrument.tickSize, form) ?? bandFault(draft.price, instrument, lastPrice);
    if (fault) found.price = fault;
  }
  const fault = numberFault("quantity", draft.quantity, instrument.lotSize, form);
  if (fault) found.quantity = fault;
  if (!found.price && !found.quantity && draft.type === "limit") {
    const notional = new Big(draft.price).times(draft.quantity);
    if (notional.lt(instrument.minNotional)) {
      found.quantity = interpolate(gettext("The order must be worth at least %s."), [amount(instrument.minNotional, instrument.quote)]);
    }
  }
  return found;
}

function numberFault(field, text, step, form) {
  if (text === "") return field === "price" ? gettext("Enter a price.") : gettext("Enter a quantity.");
  if (!form.fits(field, text)) return gettext("Enter a plain number such as 12.5.");
  const value = new Big(text);
  if (value.lte(0)) return gettext("This must be above zero.");
  if (!value.mod(step).eq(0)) return interpolate(gettext("This must be a multiple of %s."), [step]);
  return null;
}

/** The farthest prices that the exchange takes: exactly the band's edge still passes. */
export function band(instrument, lastPrice) {
  const middle = new Big(lastPrice ?? instrument.referencePrice);
  return { low: middle.times(new Big(1).minus(instrument.bandRate)), high: middle.times(new Big(1).plus(instrument.bandRate)) };
}

function bandFault(price, instrument, lastPrice) {
  const { low, high } = band(instrument, lastPrice);
  const value = new Big(price);
  if (value.gte(low) && value.lte(high)) return null;
  const [from, to] = [low.round(instrument.priceDecimals, UP), high.round(instrument.priceDecimals, DOWN)];
  return interpolate(gettext("The price must lie between %s and %s."), [grouped(from.toFixed()), grouped(to.toFixed())]);
}

/** Cost and fee of a draft, rounded as the exchange does: fees up. Null while it cannot be told. */
export function preview(draft, instrument, ladder) {
  let notional;
  if (draft.type === "limit") notional = product(draft.price, draft.quantity);
  else notional = walked(draft.quantity, instrument, ladder);
  if (!notional) return null;
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

/** The worst price that a market buy may get, which is what it must be able to pay: slippage, inside the band. */
export function dearestPrice(instrument, lastPrice) {
  const bound = new Big(lastPrice ?? instrument.referencePrice).times(new Big(1).plus(instrument.slippageRate));
  const { high } = band(instrument, lastPrice);
  return (bound.lt(high) ? bound : high).toFixed();
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
