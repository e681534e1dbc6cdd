/* The day of a market as the exchange sends it, by REST and by the ticker channel, ready to show. */
import Big from "../vendor/big/big.mjs";
import { grouped, trimmed } from "./numbers.js";

/** @returns texts, and `direction`: 1 up, -1 down, 0 unchanged over 24 h */
export function dayOf(instrument, ticker) {
  const text = (value) => (value === null || value === undefined ? "–" : grouped(instrument.price(value)));
  const rate = new Big(ticker.change_rate_24h ?? 0);
  const traded = ticker.open_24h !== null && ticker.open_24h !== undefined;
  return {
    last: text(ticker.last_price),
    lastWire: ticker.last_price,
    mark: text(ticker.mark_price),
    markWire: ticker.mark_price,
    high: text(ticker.high_24h),
    low: text(ticker.low_24h),
    volume: grouped(trimmed(String(ticker.volume_24h ?? 0))),
    change: traded ? `${rate.gt(0) ? "+" : ""}${rate.times(100).toFixed(2)}%` : "–",
    direction: traded ? rate.cmp(0) : 0,
  };
}

/** Paint up or down into a cell, with the sign already in its text. */
export function paintDirection(element, direction) {
  element.classList.toggle("up", direction > 0);
  element.classList.toggle("down", direction < 0);
}
