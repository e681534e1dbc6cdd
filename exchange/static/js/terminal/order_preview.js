/* Asks the exchange what an order would cost, hold, reserve and risk: a moment after the last change, and again after a
   while as long as somebody looks. */
import Big from "../../vendor/big/big.mjs";
import { call } from "../api.js";
import { sizeText } from "./position_words.js";

const SETTLE_MS = 300;
const FRESH_MS = 3000;

export class OrderPreview {
  /** @param onAnswer called when the exchange has answered; `answer` then has what it said, or {refusal} */
  constructor(onAnswer) {
    Object.assign(this, { onAnswer, key: null, answer: null, askedAt: 0, timer: null });
  }

  /**
   * Say what is wanted now; called as often as something is painted.
   * @param request as POST /orders/preview takes it; null: nothing
   * @param context what else the answer depends on
   */
  want(request, ...context) {
    const key = request === null ? null : JSON.stringify([request, ...context]);
    if (key !== this.key) {
      this.key = key;
      this.answer = null;
      clearTimeout(this.timer);
      this.timer = key === null ? null : setTimeout(() => this.#ask(key, request), SETTLE_MS);
    } else if (key !== null && this.timer === null && Date.now() - this.askedAt > FRESH_MS) this.#ask(key, request);
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
}

/** What the book would leave unfilled of a market order, in words; empty when it would fill all, or nobody knows. */
export function thinText(answer, market) {
  const fillable = answer?.fillable_quantity;
  if (fillable === null || fillable === undefined) return "";
  const wanted = new Big(answer.reduce_quantity ?? 0).plus(answer.increase_quantity ?? 0);
  if (wanted.lte(fillable)) return "";
  return interpolate(gettext("The book of this moment would fill %s of it; the rest would be cancelled."), [sizeText(fillable, market)]);
}
