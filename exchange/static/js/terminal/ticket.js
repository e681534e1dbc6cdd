/* The order ticket: what is typed, what it would cost, and sending it exactly once. */
import Big from "../../vendor/big/big.mjs";
import { call } from "../api.js";
import { grouped, trimmed } from "../numbers.js";
import { confirmed } from "./confirm.js";
import { framed, setText } from "./frame.js";
import { newIntent } from "./intent.js";
import { stateFaults } from "./market_state.js";
import { hasStop, isLimited, isWaiting, timesAllowed, trails, typeWord } from "./order_words.js";
import { showPreview } from "./ticket_preview.js";
import { affordable, amount, faults, rateOf, referenceOf, stepped, wakesAtOnce, worstPrice } from "./ticket_rules.js";
import { TicketContract } from "./ticket_contract.js";
import { TicketTerms, utcText } from "./ticket_terms.js";
import { announce, toast } from "./toasts.js";

const FIELDS = [
  "stop_price", "trigger_by", "callback_rate", "activation_price", "price", "quantity", "time_in_force", "expires_at", "reduce_only", "post_only", "display_quantity", "self_trade_prevention",
];
const STEPPED = ["stop_price", "activation_price", "price"];
const TYPED = ["price", "stop_price", "callback_rate", "activation_price"];
const idOf = (field) => field.replaceAll("_", "-");
const byId = (id) => document.getElementById(id);

export class Ticket {
  /**
   * @param market {book, lastPrice(), markPrice(), watchedPrice(draft), state()} as the page knows it now
   * @param balances the user's balances by asset, kept up to date elsewhere
   * @param orderForm the form of an order by the OpenAPI document
   * @param positions the user's positions; `actions` is what may be done to them
   */
  constructor({ instrument, market, balances, orderForm, positions, actions }) {
    Object.assign(this, { instrument, market, balances, orderForm, sending: false, isOnItsWay: false, intent: null, touched: false });
    this.form = byId("ticket");
    this.terms = new TicketTerms(this.form, orderForm);
    this.refresh = framed(() => this.#show());
    this.contract = instrument.isContract ? new TicketContract({ instrument, market, positions, actions, onAnswer: () => this.refresh() }) : null;
    this.#offerWords();
    this.#offer();
    this.form.addEventListener("input", (event) => this.#edited(event.target));
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.send();
    });
    this.form.addEventListener("keydown", (event) => this.#key(event));
    for (const button of this.form.querySelectorAll("[data-step]")) {
      const { step, field } = button.dataset;
      button.addEventListener("click", (event) => this.step(Number(step) * (event.shiftKey ? 10 : 1), field));
    }
    for (const button of this.form.querySelectorAll("[data-share]")) {
      button.addEventListener("click", () => this.share(Number(button.dataset.share)));
    }
    this.refresh();
  }

  get side() {
    return this.form.elements.side.value;
  }

  get type() {
    return this.form.elements.type.value;
  }

  choose(name, value) {
    if (this.form.querySelector(`[name="${name}"][value="${value}"]`)?.disabled) return;
    this.form.elements[name].value = value;
    this.#edited(this.form.elements[name]);
  }

  /** A price from the book: the limit, or for an order that waits for the market's price, when it wakes. */
  setPrice(price) {
    if (this.type === "market") this.choose("type", "limit");
    this.#put(this.#mainPrice(), price);
  }

  #mainPrice() {
    if (trails(this.type)) return "activation_price";
    return isLimited(this.type) ? "price" : "stop_price";
  }

  #put(name, value) {
    this.form.elements[name].value = value;
    this.#edited(this.form.elements[name]);
  }

  /** A starting price, once, when nothing has been typed yet. */
  suggestPrice(price) {
    if (this.touched || this.form.elements.price.value) return;
    this.form.elements.price.value = price;
    this.refresh();
  }

  step(ticks, name = this.#mainPrice()) {
    if (this.type === "market") return;
    const field = this.form.elements[name];
    try {
      this.#put(name, stepped(field.value.trim(), ticks, this.instrument, this.market.lastPrice()));
    } catch {
      field.focus();
    }
  }

  share(percent) {
    byId("share").value = String(percent);
    const quantity = this.#affordable(percent);
    if (quantity === null) return;
    this.form.elements.quantity.value = trimmed(quantity);
    this.#edited(this.form.elements.quantity);
  }

  togglePostOnly() {
    const field = this.form.elements.post_only;
    if (field.disabled) {
      toast(gettext("Post-only goes with limit orders that stay in the book."));
      return;
    }
    field.checked = !field.checked;
    this.#edited(field);
    announce(field.checked ? gettext("Post-only is on.") : gettext("Post-only is off."));
  }

  toggleReduceOnly() {
    const field = this.form.elements.reduce_only;
    if (!this.contract) return;
    field.checked = !field.checked;
    this.#edited(field);
    announce(field.checked ? gettext("Reduce-only is on.") : gettext("Reduce-only is off."));
  }

  nextValidity() {
    const field = this.terms.nextTime();
    this.#edited(field);
    announce(field.selectedOptions[0].textContent);
  }

  toggleAdvanced() {
    this.terms.advanced.open = !this.terms.advanced.open;
  }

  clear() {
    this.form.elements.quantity.value = this.form.elements.display_quantity.value = "";
    byId("share").value = "0";
    this.#edited(this.form.elements.quantity);
    this.#showFaults({});
  }

  #offerWords() {
    for (const field of ["side", "type", "trigger_by", "self_trade_prevention"]) {
      const words = this.orderForm.words(field);
      if (!words) continue;
      const offers = this.form.querySelectorAll(`[name="${field}"][value], [name="${field}"] option`);
      for (const offer of offers) offer.disabled = !words.includes(offer.value);
    }
  }

  #edited(field) {
    if (field.name) this.intent = null;
    if (field === this.form.elements.price) this.touched = true;
    if (field.id === "share") this.share(Number(field.value));
    else if (field.name) this.#showFaults({});
    this.#offer();
    this.refresh();
  }

  #key(event) {
    if (event.key === "Escape") this.clear();
    else if (STEPPED.includes(event.target.name) && (event.key === "ArrowUp" || event.key === "ArrowDown")) {
      this.step((event.key === "ArrowUp" ? 1 : -1) * (event.shiftKey ? 10 : 1), event.target.name);
    } else return;
    event.preventDefault();
  }

  #draft() {
    const draft = { side: this.side, type: this.type, reduce_only: this.contract !== null && this.form.elements.reduce_only.checked, ...this.terms.read(this.type) };
    for (const name of TYPED) draft[name] = this.form.elements[name].value.trim();
    const size = this.form.elements.quantity.value.trim();
    const byAmount = this.sizedBy === "quote";
    return { ...draft, by_amount: byAmount, quantity: byAmount ? "" : size, quote_quantity: byAmount ? size : "" };
  }

  /** Offer what goes with what is chosen. A size is never taken over from one unit to the other. */
  #offer() {
    this.terms.offer(this.type);
    const mayByAmount = !this.contract && this.type === "market" && this.side === "buy" && this.form.elements.time_in_force.value === "ioc";
    const sizedBy = mayByAmount ? this.form.elements.size_unit.value : "base";
    if (sizedBy !== this.sizedBy) this.form.elements.quantity.value = "";
    this.sizedBy = sizedBy;
    byId("size-unit").hidden = !mayByAmount;
    setText(byId("quantity-label"), sizedBy === "quote" ? gettext("Amount to spend, fee included") : gettext("Quantity"));
    setText(byId("quantity-unit"), this.instrument[sizedBy]);
    byId("trigger-by-field").hidden = !isWaiting(this.type);
    byId("trigger-by-mark").disabled = this.market.markPrice() === null && this.form.elements.trigger_by.value !== "mark";
  }

  #affordable(percent) {
    const available = this.balances.get(this.#pays(this.side))?.available;
    if (this.contract) return this.#opened(available, percent);
    if (!available) return null;
    if (this.sizedBy === "quote") return new Big(available).times(percent).div(100).round(this.instrument.quoteDecimals, 0).toFixed();
    try {
      return affordable({ side: this.side, available, percent, price: this.#dearest(), instrument: this.instrument });
    } catch {
      return null;
    }
  }

  /** The asset that an order takes: a contract is paid in its quote asset, whichever its side. */
  #pays(side) {
    return side === "buy" || this.contract ? this.instrument.quote : this.instrument.base;
  }

  #opened(available, percent) {
    const draft = this.#draft();
    const reference = () => worstPrice(this.instrument, draft.side, referenceOf(draft, this.market.watchedPrice(draft), this.instrument));
    try {
      return this.contract.affordable({ draft, available, percent, price: isLimited(draft.type) ? draft.price : reference() });
    } catch {
      return null;
    }
  }

  #dearest() {
    const draft = this.#draft();
    if (isLimited(draft.type)) return draft.price;
    return worstPrice(this.instrument, "buy", referenceOf(draft, this.market.watchedPrice(draft), this.instrument));
  }

  #show() {
    const draft = this.#draft();
    const { base } = this.instrument;
    const buying = draft.side === "buy";
    const asset = this.#pays(draft.side);
    const available = this.balances.get(asset)?.available;
    setText(byId("available"), available ? amount(trimmed(available), asset) : `– ${asset}`);
    this.#showAssets();
    byId("price-field").hidden = !isLimited(draft.type);
    byId("stop-price-field").hidden = !hasStop(draft.type);
    byId("callback-rate-field").hidden = byId("activation-price-field").hidden = !trails(draft.type);
    showPreview(draft, this.instrument, this.market);
    this.contract?.show(draft, this.#isComplete(draft) ? this.#request(draft) : null, available);
    const button = byId("send");
    if (!button) return;
    const words = this.contract
      ? (buying ? gettext("Buy / Long %s") : gettext("Sell / Short %s"))
      : (buying ? gettext("Buy %s") : gettext("Sell %s"));
    setText(button, this.isOnItsWay ? gettext("Sending…") : interpolate(words, [base]));
    button.classList.toggle("side-buy", buying);
    button.classList.toggle("side-sell", !buying);
    button.disabled = this.isOnItsWay;
  }

  #isComplete(draft) {
    return Object.keys(faults(draft, this.instrument, this.orderForm, this.market.watchedPrice(draft))).length === 0;
  }

  /** There is a mark price, or a new one: orders may wait for it. */
  marked() {
    this.#offer();
    this.refresh();
  }

  /** The market allows something else now: what was told of an order before may no longer be so. */
  stateChanged() {
    this.#showFaults({});
    this.refresh();
  }

  /** What the user has of the two assets of this market. */
  #showAssets() {
    const body = byId("assets");
    if (!body) return;
    const shown = this.contract ? [this.instrument.quote] : [this.instrument.base, this.instrument.quote];
    shown.forEach((asset, index) => {
      const row = body.rows[index] ?? body.insertRow();
      const { available = "0", frozen = "0" } = this.balances.get(asset) ?? {};
      [asset, grouped(trimmed(available)), grouped(trimmed(frozen))].forEach((text, position) => {
        const cell = row.cells[position] ?? row.insertCell();
        if (position) cell.className = "number";
        setText(cell, text);
      });
    });
  }

  /** Send what stands in the ticket. The id belongs to the intent, so that a repeat cannot place a second order. */
  async send() {
    if (this.sending || !byId("send")) return;
    const draft = this.#draft();
    const found = { ...faults(draft, this.instrument, this.orderForm, this.market.watchedPrice(draft)), ...stateFaults(draft, this.market.state()) };
    this.#showFaults(found);
    if (Object.keys(found).length) {
      FIELDS.map((field) => found[field] && this.form.elements[field]).find(Boolean)?.focus();
      return;
    }
    this.sending = true;
    try {
      if (!(await this.#agreed(draft))) return;
      this.isOnItsWay = true;
      this.refresh();
      this.intent ??= newIntent();
      const { data } = await call("POST", "/orders", this.#request(draft));
      this.#accepted(data);
    } catch (error) {
      if (error.code === undefined) throw error;
      this.#refused(error);
    } finally {
      this.sending = this.isOnItsWay = false;
      this.refresh();
    }
  }

  #agreed(draft) {
    if (wakesAtOnce(draft, this.market.watchedPrice(draft))) {
      const past = draft.trigger_by === "mark"
        ? gettext("%s: the mark price is past the stop price already, so the order will not wait.")
        : gettext("%s: the last price is past the stop price already, so the order will not wait.");
      return confirmed("wakes-at-once", gettext("Send an order that wakes at once?"), interpolate(past, [typeWord(draft.type)]));
    }
    if (draft.type !== "market") return true;
    const title = gettext("Send a market order?");
    if (draft.by_amount) {
      const spend = gettext("Buy for %s at the best prices in the book.");
      return confirmed("market", title, interpolate(spend, [amount(draft.quote_quantity, this.instrument.quote)]));
    }
    const words = draft.side === "buy" ? gettext("Buy %s at the best prices in the book.") : gettext("Sell %s at the best prices in the book.");
    return confirmed("market", title, interpolate(words, [amount(draft.quantity, this.instrument.base)]));
  }

  #request(draft) {
    const request = {
      symbol: this.instrument.symbol,
      side: draft.side,
      type: draft.type,
    };
    if (this.intent) request.client_order_id = this.intent;
    if (draft.reduce_only) request.reduce_only = true;
    if (draft.by_amount) request.quote_quantity = this.instrument.wirePrice(draft.quote_quantity);
    else request.quantity = this.instrument.wireQuantity(draft.quantity);
    if (isLimited(draft.type)) request.price = this.instrument.wirePrice(draft.price);
    if (trails(draft.type)) request.callback_rate = rateOf(draft.callback_rate);
    if (trails(draft.type) && draft.activation_price) request.activation_price = this.instrument.wirePrice(draft.activation_price);
    if (hasStop(draft.type)) request.stop_price = this.instrument.wirePrice(draft.stop_price);
    if (isWaiting(draft.type) && draft.trigger_by === "mark") request.trigger_by = "mark";
    if (timesAllowed(draft.type).length > 1) request.time_in_force = draft.time_in_force;
    if (draft.expires_at) request.expires_at = utcText(draft.expires_at);
    if (draft.post_only) request.post_only = true;
    if (draft.display_quantity) request.display_quantity = this.instrument.wireQuantity(draft.display_quantity);
    if (draft.self_trade_prevention !== "none") request.self_trade_prevention = draft.self_trade_prevention;
    return request;
  }

  #accepted(order) {
    const words = order.side === "buy" ? gettext("Buy order of %s accepted.") : gettext("Sell order of %s accepted.");
    const { base, quote } = this.instrument;
    const byAmount = order.quantity === null;
    const size = byAmount ? amount(trimmed(this.instrument.amount(order.quote_quantity)), quote) : amount(this.instrument.quantity(order.quantity), base);
    toast(interpolate(byAmount ? gettext("Buy order for %s accepted.") : words, [size]), "good");
    const isAsSent = this.intent !== null;
    this.intent = null;
    if (isAsSent) this.clear(); // what was typed while the order was on its way is the next one
  }

  #refused(error) {
    if (error.status !== 0 && error.status < 500 && error.status !== 429) this.intent = null;
    const found = {};
    for (const field of FIELDS) {
      const inner = error.fields[field];
      if (inner) found[field] = [inner].flat().join(" ");
    }
    if (error.fields.quote_quantity) found.quantity = [error.fields.quote_quantity].flat().join(" ");
    if (!Object.keys(found).length) found[this.#fieldOf(error)] = error.message;
    this.#showFaults(found);
    toast(Object.values(found).join(" "), "bad");
  }

  /** Beside which field a refusal belongs. */
  #fieldOf(error) {
    const named = error.data.field;
    if (FIELDS.includes(named)) return named;
    const name = error.data.error ?? "";
    if (/PRICE|BAND/.test(name)) return isLimited(this.type) ? "price" : hasStop(this.type) ? "stop_price" : "ticket";
    return named === "quote_quantity" || /FUNDS|NOTIONAL|QUANTITY/.test(name) ? "quantity" : "ticket";
  }

  #showFaults(found) {
    this.terms.reveal(FIELDS.filter((field) => found[field]));
    for (const field of FIELDS) {
      setText(byId(`${idOf(field)}-error`), found[field] ?? "");
      this.form.elements[field].setAttribute("aria-invalid", String(Boolean(found[field])));
    }
    setText(byId("ticket-error"), found.ticket ?? "");
  }
}
