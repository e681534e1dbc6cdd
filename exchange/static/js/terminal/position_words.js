/* How a position is said in a line: its side and size, its prices, its results. */
import Big from "../../vendor/big/big.mjs";
import { grouped, trimmed } from "../numbers.js";
import { amount } from "./ticket_rules.js";

const CENTS = 2;
const DOWN = 0;

const sign = (text) => new Big(text).cmp(0);

/** "+12.50": a result, cut toward zero. */
export function signed(text, decimals = CENTS) {
  return `${sign(text) > 0 ? "+" : ""}${grouped(new Big(text).round(decimals, DOWN).toFixed(decimals))}`;
}

export const tone = (text) => ({ 1: "up", "-1": "down" }[text === null || text === undefined ? 0 : sign(text)] ?? "");

/** "+12.50 USDT (+3.10%)": a result, and what part of the margin it is. */
export function resultText(result, margin, quote) {
  const text = `${signed(result)} ${quote}`;
  return new Big(margin).gt(0) ? `${text} (${signed(new Big(result).div(margin).times(100))}%)` : text;
}

export const sizeText = (quantity, market) => amount(trimmed(market.quantity(String(quantity).replace("-", ""))), market.base);

/** "Long 0.05 BTC". */
export function positionText(position, market) {
  const words = position.isShort ? gettext("Short %s") : gettext("Long %s");
  return interpolate(words, [sizeText(position.quantity, market)]);
}

/** What a trader looks at before doing something to a position. */
export function factsText(position, market) {
  const price = (value) => (value === null || value === undefined ? "–" : grouped(market.price(value)));
  const parts = [
    positionText(position, market),
    interpolate(gettext("entry %s"), [price(position.entry_price)]),
    interpolate(gettext("mark %s"), [price(position.mark_price)]),
    interpolate(gettext("liquidation %s"), [price(position.liquidation_price)]),
  ];
  return parts.map((part) => part.replaceAll(" ", "\u00a0")).join(" · "); // a line breaks between two of them only
}
