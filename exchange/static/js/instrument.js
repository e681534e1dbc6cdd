/* One market's rules, and the only place that knows minor units: inside the page prices are major-unit text. */
import { decimalsOf, fromScaled, padded, toScaled } from "./numbers.js";

export class Instrument {
  /** @param row one item of GET /api/v1/instruments */
  constructor(row) {
    this.symbol = row.symbol;
    this.name = row.name || row.symbol;
    this.isContract = row.kind === "PERP";
    this.contractSize = String(row.contract_size ?? "1");
    this.leverageMax = row.leverage_max ?? null;
    this.brackets = row.brackets ?? [];
    this.base = row.base;
    this.quote = row.quote;
    this.state = row.state;
    this.isDemo = Boolean(row.is_demo);
    this.minorDecimals = row.minor_unit_decimals ?? null;
    this.tickSize = this.#major(row.tick_size);
    this.lotSize = String(row.lot_size);
    this.minNotional = this.#major(row.min_notional);
    this.referencePrice = this.#major(row.reference_price);
    this.bandRate = String(row.band_rate);
    this.slippageRate = String(row.market_slippage_rate ?? "0");
    this.takerFeeRate = String(row.taker_fee_rate);
    this.makerFeeRate = String(row.maker_fee_rate);
    this.priceDecimals = decimalsOf(this.tickSize);
    this.qtyDecimals = decimalsOf(this.lotSize);
    this.quoteDecimals = row.quote_decimals ?? this.priceDecimals + this.qtyDecimals;
    this.tickUnits = toScaled(this.tickSize, this.priceDecimals);
  }

  /** A JSON integer of an instrument in minor units means minor units; text is major units. */
  #major(value) {
    if (value === null || value === undefined) return "0";
    if (this.minorDecimals === null || typeof value !== "number") return String(value);
    return fromScaled(BigInt(value), this.minorDecimals);
  }

  /** A price from the wire as text of major units with the market's decimals. */
  price(wire) {
    return padded(this.#major(wire), this.priceDecimals);
  }

  /** An amount of the quote asset from the wire as text of major units. */
  amount(wire) {
    return this.#major(wire);
  }

  /** A quantity from the wire as text with the market's decimals. */
  quantity(wire) {
    return padded(String(wire), this.qtyDecimals);
  }

  /** A price from the wire in whole ticks; below 2^53, so a plain number is exact. */
  ticks(wire) {
    return Number(toScaled(this.#major(wire), this.priceDecimals) / this.tickUnits);
  }

  /** Text of a price given in ticks. */
  ticksText(ticks) {
    return fromScaled(BigInt(ticks) * this.tickUnits, this.priceDecimals);
  }

  /** A quantity from the wire in units of its last decimal. */
  units(wire) {
    return toScaled(String(wire), this.qtyDecimals);
  }

  /** Text of a quantity in units of its last decimal. */
  unitsText(units) {
    return fromScaled(units, this.qtyDecimals);
  }

  /** A price typed in major units, as the API takes it. */
  wirePrice(text) {
    return this.minorDecimals === null ? text : Number(toScaled(text, this.minorDecimals));
  }

  /** A quantity as the API takes it: an integer where the market quotes in minor units. */
  wireQuantity(text) {
    return this.minorDecimals === null ? text : Number(toScaled(text, 0));
  }

  /** For drawing only. */
  drawn(wire) {
    return Number(this.#major(wire));
  }
}
