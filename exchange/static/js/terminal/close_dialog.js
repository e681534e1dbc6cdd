/* Closing a position, or part of it: at the market now, or at a price of one's own. */
import Big from "../../vendor/big/big.mjs";
import { call } from "../api.js";
import { decimalsOf, grouped, trimmed } from "../numbers.js";
import { setText } from "./frame.js";
import { newIntent } from "./intent.js";
import { OrderPreview, thinText } from "./order_preview.js";
import { factsText, resultText, sizeText, tone } from "./position_words.js";
import { amount, numberFault, stepped } from "./ticket_rules.js";
import { toast } from "./toasts.js";

const DOWN = 0;
const NOTHING = "–";
const byId = (id) => document.getElementById(id);

export class CloseDialog {
  /**
   * @param exits what waits to close positions, kept apart
   * @param orderForm the form of an order by the OpenAPI document
   */
  constructor({ markets, positions, exits, orderForm }) {
    Object.assign(this, { markets, positions, exits, orderForm, symbol: null, intent: null, isSending: false });
    this.dialog = byId("close-dialog");
    this.form = byId("close-form");
    this.asked = new OrderPreview(() => this.#paint());
    this.form.addEventListener("input", ({ target }) => this.#edited(target));
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
    for (const button of this.form.querySelectorAll("[data-part]")) {
      button.addEventListener("click", () => this.#part(Number(button.dataset.part)));
    }
    for (const button of this.form.querySelectorAll("[data-ticks]")) {
      button.addEventListener("click", (event) => this.#step(Number(button.dataset.ticks) * (event.shiftKey ? 10 : 1)));
    }
    byId("close-price").addEventListener("keydown", (event) => {
      const ticks = { ArrowUp: 1, ArrowDown: -1 }[event.key];
      if (!ticks) return;
      this.#step(ticks * (event.shiftKey ? 10 : 1));
      event.preventDefault();
    });
    byId("close-back").addEventListener("click", () => this.dialog.close());
    this.dialog.addEventListener("close", () => {
      this.unfollow?.();
      this.asked.want(null);
    });
  }

  /** Ask how a position is to be closed. */
  open({ symbol }) {
    this.symbol = symbol;
    const { market, position } = this;
    if (!position) return;
    this.form.reset();
    this.intent = null;
    setText(byId("close-title"), interpolate(gettext("Close %s"), [symbol]));
    for (const [id, unit] of [["close-price-unit", market.quote], ["close-quantity-unit", market.base]]) setText(byId(id), unit);
    byId("close-price").value = position.mark_price === null ? "" : market.price(position.mark_price);
    this.#tell({});
    this.#part(100);
    this.unfollow = this.positions.follow(() => this.#paint());
    this.dialog.showModal();
    byId("close-quantity").focus();
  }

  get market() {
    return this.markets.get(this.symbol);
  }

  get position() {
    return this.positions.open(this.symbol);
  }

  get isLimit() {
    return this.form.elements.close_type.value === "limit";
  }

  get size() {
    return new Big(this.position?.quantity ?? 0).abs();
  }

  #edited(field) {
    this.intent = null;
    if (field.name) this.#tell({});
    this.#paint();
  }

  /** A share of the position in whole lots, at least one. */
  #part(percent) {
    const { lotSize } = this.market;
    const lots = this.size.times(percent).div(100).div(lotSize).round(0, DOWN);
    byId("close-quantity").value = trimmed((lots.lt(1) ? new Big(1) : lots).times(lotSize).toFixed(decimalsOf(lotSize)));
    this.#edited(byId("close-quantity"));
  }

  #step(ticks) {
    const field = byId("close-price");
    try {
      field.value = stepped(field.value.trim(), ticks, this.market, this.market.price(this.position.mark_price));
    } catch {
      field.focus();
      return;
    }
    this.#edited(field);
  }

  #draft() {
    return { quantity: byId("close-quantity").value.trim(), price: this.isLimit ? byId("close-price").value.trim() : null };
  }

  /** What is wrong with what was typed, by field. */
  #faults({ quantity, price }) {
    const found = {};
    const note = (field, fault) => fault && Object.assign(found, { [field]: fault });
    if (price !== null) note("price", numberFault("price", price, this.market.tickSize, this.orderForm));
    note("quantity", numberFault("quantity", quantity, this.market.lotSize, this.orderForm));
    if (!found.quantity && new Big(quantity).gt(this.size)) {
      note("quantity", interpolate(gettext("The position is %s."), [sizeText(this.size.toFixed(), this.market)]));
    }
    return found;
  }

  /** All of it at the market is whatever the position is when the order arrives; the rest only ever reduces it. */
  #isWhole({ quantity, price }) {
    return price === null && new Big(quantity).eq(this.size);
  }

  #request(draft) {
    const side = this.position.isShort ? "buy" : "sell";
    if (this.#isWhole(draft)) return { symbol: this.symbol, side, type: "market", close_position: true };
    const order = { symbol: this.symbol, side, type: this.isLimit ? "limit" : "market", reduce_only: true };
    order.quantity = this.market.wireQuantity(draft.quantity);
    if (this.isLimit) order.price = this.market.wirePrice(draft.price);
    return order;
  }

  #paint() {
    const { market, position } = this;
    if (!position) {
      if (!this.isSending) this.dialog.close();
      return;
    }
    const draft = this.#draft();
    const isComplete = Object.keys(this.#faults(draft)).length === 0;
    setText(byId("close-facts"), factsText(position, market));
    byId("close-price-field").hidden = !this.isLimit;
    setText(byId("close-note"), this.isLimit
      ? gettext("A reduce-only limit order: it stands in the book until it fills or you cancel it, and never opens a position.")
      : gettext("At the best prices in the book, now; what cannot fill stays open."));
    const whole = isComplete && this.#isWhole(draft);
    const waiting = this.exits.count(position);
    byId("close-exits-field").hidden = !whole || waiting === 0;
    this.asked.want(isComplete ? this.#request(draft) : null, position.version);
    this.#showAnswer(this.asked.answer, position, market);
  }

  /** What the exchange says that closing would bring. */
  #showAnswer(answer, position, market) {
    const known = (value) => value !== null && value !== undefined;
    const after = answer?.position;
    const result = known(after) ? new Big(after.realized_pnl).minus(position.realized_pnl).toFixed() : null;
    const margin = known(after) ? new Big(position.margin).minus(after.margin).toFixed() : "0";
    setText(byId("close-value"), known(answer?.cost) ? `${amount(trimmed(answer.cost), market.quote)}` : NOTHING);
    setText(byId("close-at"), known(answer?.price) ? `(${grouped(market.price(answer.price))})` : "");
    setText(byId("close-fee"), known(answer?.taker_fee) ? amount(trimmed(answer.taker_fee), market.quote) : NOTHING);
    setText(byId("close-result"), result === null ? NOTHING : resultText(result, margin, market.quote));
    byId("close-result").className = `number ${tone(result)}`;
    setText(byId("close-left"), known(after) ? sizeText(after.quantity, market) : NOTHING);
    setText(byId("close-refusal"), answer?.refusal?.message ?? thinText(answer, market));
  }

  async #send() {
    const draft = this.#draft();
    const found = this.#faults(draft);
    this.#tell(found);
    if (Object.keys(found).length) {
      byId(found.price ? "close-price" : "close-quantity").focus();
      return;
    }
    if (this.isSending) return;
    const { symbol } = this;
    const alsoExits = !byId("close-exits-field").hidden && byId("close-exits").checked;
    this.#sends(true);
    this.intent ??= newIntent();
    try {
      await this.#place(draft, this.intent);
      this.dialog.close();
      toast(interpolate(this.isLimit ? gettext("The limit order that closes %s stands.") : gettext("The order that closes %s is sent."), [symbol]), "good");
      if (alsoExits) this.exits.cancelWhenClosed(symbol);
    } catch (error) {
      if (error.code === undefined) throw error;
      this.#refused(error);
    } finally {
      this.#sends(false);
    }
  }

  #place(draft, id) {
    if (this.#isWhole(draft)) return call("POST", `/positions/${encodeURIComponent(this.symbol)}/close`, { client_order_id: id });
    return call("POST", "/orders", { ...this.#request(draft), client_order_id: id });
  }

  #sends(isSending) {
    this.isSending = isSending;
    byId("close-yes").disabled = isSending;
  }

  #refused(error) {
    if (error.status !== 0 && error.status < 500 && error.status !== 429) this.intent = null;
    const of = (field) => [error.fields[field] ?? (error.data.field === field ? error.message : [])].flat().join(" ");
    const name = error.data.error ?? "";
    const found = { price: of("price") || (/PRICE|BAND/.test(name) && this.isLimit ? error.message : ""), quantity: of("quantity") };
    if (!found.price && !found.quantity) found.all = error.message;
    this.#tell(found);
  }

  #tell(found) {
    for (const field of ["price", "quantity"]) {
      setText(byId(`close-${field}-error`), found[field] ?? "");
      byId(`close-${field}`).setAttribute("aria-invalid", String(Boolean(found[field])));
    }
    setText(byId("close-error"), found.all ?? "");
  }
}
