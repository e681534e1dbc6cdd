/* What the ticket says more on a contract: the leverage, what an order may cost of it, and the exchange's own preview. */
import Big from "../../vendor/big/big.mjs";
import { call } from "../api.js";
import { decimalsOf, grouped, trimmed } from "../numbers.js";
import { setText } from "./frame.js";
import { intentWord } from "./order_words.js";
import { amount, preview } from "./ticket_rules.js";

const SETTLE_MS = 300;
const FRESH_MS = 3000;
const ROUNDINGS = 3; // margin, fee and open loss are each rounded up
const NOTHING = "–";
const byId = (id) => document.getElementById(id);

export class TicketContract {
  /**
   * @param market {book, lastPrice(), markPrice(), watchedPrice(draft)} as the page knows it now
   * @param onAnswer called when the exchange has answered
   */
  constructor({ instrument, market, positions, actions, onAnswer }) {
    Object.assign(this, { instrument, market, positions, onAnswer, key: null, answer: null, askedAt: 0, timer: null });
    this.button = byId("leverage-button");
    this.button?.addEventListener("click", () => actions.leverage(instrument.symbol, this.leverage));
  }

  get position() {
    return this.positions.of(this.instrument.symbol);
  }

  get leverage() {
    return this.position?.leverage ?? 1;
  }

  /**
   * Show what an order would cost, margin, hold and risk; ask the exchange when that may have changed.
   * @param request what would be sent; null while the ticket is not complete
   */
  show(draft, request, available) {
    if (this.button) setText(this.button, this.position ? `${this.leverage}×` : NOTHING);
    const key = request && this.button ? JSON.stringify([request, this.position?.version, available]) : null;
    if (key !== this.key) {
      this.key = key;
      this.answer = null;
      clearTimeout(this.timer);
      this.timer = key === null ? null : setTimeout(() => this.#ask(key, request), SETTLE_MS);
    } else if (key !== null && this.timer === null && Date.now() - this.askedAt > FRESH_MS) this.#ask(key, request);
    this.#paint(draft);
  }

  async #ask(key, request) {
    this.askedAt = Date.now();
    this.timer = 0;
    let found = null;
    try {
      found = (await call("POST", "/orders/preview", request)).data;
    } catch (error) {
      if (error.code === undefined) throw error;
      found = { refusal: { message: error.message } };
    }
    if (key !== this.key) return; // something else is asked by now
    this.timer = null;
    this.answer = found;
    this.onAnswer();
  }

  #paint(draft) {
    const { instrument, market, answer } = this;
    const { quote } = instrument;
    const ladder = draft.type === "market" ? market.book.ladder(draft.side === "buy" ? "sell" : "buy") : [];
    const own = preview(draft, instrument, ladder, market.watchedPrice(draft));
    const money = (value) => (value === null || value === undefined ? NOTHING : amount(trimmed(value), quote));
    const fees = [answer?.maker_fee, answer?.taker_fee].filter((fee) => fee !== null && fee !== undefined);
    const fee = fees.length ? fees.reduce((most, one) => (new Big(one).gt(most) ? one : most)) : own?.fee;
    setText(byId("preview-notional"), money(answer?.cost ?? own?.notional));
    setText(byId("preview-rate"), own ? `(${own.rate.times(100).toFixed()}%)` : "");
    setText(byId("preview-fee"), money(fee));
    setText(byId("preview-margin"), money(answer?.margin));
    setText(byId("preview-total"), money(answer?.hold));
    const liquidation = answer?.liquidation_price;
    setText(byId("preview-liquidation"), liquidation === null || liquidation === undefined ? NOTHING : amount(grouped(instrument.price(liquidation)), quote));
    setText(byId("preview-effect"), answer?.intent ? intentWord(answer.intent) : NOTHING);
    setText(byId("preview-refusal"), answer?.refusal?.message ?? "");
  }

  /** The largest quantity of whole lots that a share of what is available opens, or that a share of a position closes. */
  affordable({ draft, available, percent, price }) {
    if (draft.reduce_only) return this.#closable(draft.side, percent);
    if (!available || !price || new Big(price).lte(0)) return null;
    const { instrument } = this;
    const rate = [instrument.makerFeeRate, instrument.takerFeeRate].map((text) => new Big(text)).reduce((most, one) => (one.gt(most) ? one : most));
    const mark = this.market.markPrice() ?? price;
    const behind = draft.side === "buy" ? new Big(price).minus(mark) : new Big(mark).minus(price);
    const unit = new Big(price).times(rate).plus(new Big(price).div(this.leverage)).plus(behind.gt(0) ? behind : 0);
    const each = unit.times(instrument.contractSize);
    const quanta = new Big(10).pow(-instrument.quoteDecimals).times(ROUNDINGS);
    return this.#lots(new Big(available).times(percent).div(100).minus(quanta).div(each));
  }

  #closable(side, percent) {
    const held = new Big(this.position?.quantity ?? 0);
    if (held.eq(0) || held.gt(0) === (side === "buy")) return "0";
    return this.#lots(held.abs().times(percent).div(100));
  }

  #lots(quantity) {
    const { lotSize } = this.instrument;
    if (quantity.lte(0)) return "0";
    return quantity.div(lotSize).round(0, 0).times(lotSize).toFixed(decimalsOf(lotSize));
  }
}
