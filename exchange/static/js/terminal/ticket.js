/* The order ticket: what is typed, what it would cost, and sending it exactly once. */
import { call } from "../api.js";
import { grouped, trimmed } from "../numbers.js";
import { confirmed } from "./confirm.js";
import { framed, setText } from "./frame.js";
import { affordable, amount, dearestPrice, faults, preview, stepped } from "./ticket_rules.js";
import { toast } from "./toasts.js";

const FIELDS = ["price", "quantity"];
const byId = (id) => document.getElementById(id);

export class Ticket {
  /**
   * @param market {book, lastPrice()} as the page knows it now
   * @param balances the user's balances by asset, kept up to date elsewhere
   * @param orderForm the form of an order by the OpenAPI document
   */
  constructor({ instrument, market, balances, orderForm }) {
    Object.assign(this, { instrument, market, balances, orderForm, sending: false, isOnItsWay: false, intent: null, touched: false });
    this.form = byId("ticket");
    this.refresh = framed(() => this.#show());
    this.#offerWords();
    this.form.addEventListener("input", (event) => this.#edited(event.target));
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.send();
    });
    this.form.addEventListener("keydown", (event) => this.#key(event));
    for (const button of this.form.querySelectorAll("[data-step]")) {
      button.addEventListener("click", (event) => this.step(Number(button.dataset.step) * (event.shiftKey ? 10 : 1)));
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
    this.form.elements[name].value = value;
    this.#edited(this.form.elements[name]);
  }

  setPrice(price) {
    if (this.type === "market") this.choose("type", "limit");
    this.form.elements.price.value = price;
    this.#edited(this.form.elements.price);
  }

  /** A starting price, once, when nothing has been typed yet. */
  suggestPrice(price) {
    if (this.touched || this.form.elements.price.value) return;
    this.form.elements.price.value = price;
    this.refresh();
  }

  step(ticks) {
    if (this.type === "market") return;
    const field = this.form.elements.price;
    try {
      this.setPrice(stepped(field.value.trim(), ticks, this.instrument, this.market.lastPrice()));
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

  clear() {
    this.form.elements.quantity.value = "";
    byId("share").value = "0";
    this.#edited(this.form.elements.quantity);
    this.#showFaults({});
  }

  #offerWords() {
    for (const field of ["side", "type", "time_in_force"]) {
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
    else if (field.name === "price" || field.name === "quantity") this.#showFaults({});
    if (field.name === "side" || field.name === "type") this.#showFaults({});
    this.refresh();
  }

  #key(event) {
    if (event.key === "Escape") this.clear();
    else if (event.target.id === "price" && (event.key === "ArrowUp" || event.key === "ArrowDown")) {
      this.step((event.key === "ArrowUp" ? 1 : -1) * (event.shiftKey ? 10 : 1));
    } else return;
    event.preventDefault();
  }

  #draft() {
    const { price, quantity, time_in_force: validity } = this.form.elements;
    return { side: this.side, type: this.type, price: price.value.trim(), quantity: quantity.value.trim(), validity: validity.value };
  }

  #affordable(percent) {
    const asset = this.side === "buy" ? this.instrument.quote : this.instrument.base;
    const available = this.balances.get(asset)?.available;
    if (!available) return null;
    try {
      return affordable({ side: this.side, available, percent, price: this.#dearest(), instrument: this.instrument });
    } catch {
      return null;
    }
  }

  #dearest() {
    if (this.type === "limit") return this.form.elements.price.value.trim();
    return dearestPrice(this.instrument, this.market.lastPrice());
  }

  #show() {
    const draft = this.#draft();
    const { base, quote } = this.instrument;
    const buying = draft.side === "buy";
    const asset = buying ? quote : base;
    const available = this.balances.get(asset)?.available;
    setText(byId("available"), available ? amount(trimmed(available), asset) : `– ${asset}`);
    this.#showAssets();
    byId("price-field").hidden = byId("validity-field").hidden = draft.type === "market";
    byId("market-note").hidden = draft.type !== "market";
    const ladder = draft.type === "market" ? this.market.book.ladder(buying ? "sell" : "buy") : [];
    const cost = preview(draft, this.instrument, ladder);
    setText(byId("preview-notional-label"), draft.type === "market" ? gettext("Order value, estimated") : gettext("Order value"));
    setText(byId("preview-notional"), cost ? amount(trimmed(cost.notional), quote) : "–");
    setText(byId("preview-rate"), cost ? `(${cost.rate.times(100).toFixed()}%)` : "");
    setText(byId("preview-fee"), cost ? amount(trimmed(cost.fee), quote) : "–");
    setText(byId("preview-total-label"), this.#totalLabel(draft));
    setText(byId("preview-total"), cost ? amount(trimmed(cost.total), quote) : "–");
    const button = byId("send");
    if (!button) return;
    const words = buying ? gettext("Buy %s") : gettext("Sell %s");
    setText(button, this.isOnItsWay ? gettext("Sending…") : interpolate(words, [base]));
    button.classList.toggle("side-buy", buying);
    button.classList.toggle("side-sell", !buying);
    button.disabled = this.isOnItsWay;
  }

  /** What the user has of the two assets of this market. */
  #showAssets() {
    const body = byId("assets");
    if (!body) return;
    [this.instrument.base, this.instrument.quote].forEach((asset, index) => {
      const row = body.rows[index] ?? body.insertRow();
      const { available = "0", frozen = "0" } = this.balances.get(asset) ?? {};
      [asset, grouped(trimmed(available)), grouped(trimmed(frozen))].forEach((text, position) => {
        const cell = row.cells[position] ?? row.insertCell();
        if (position) cell.className = "number";
        setText(cell, text);
      });
    });
  }

  #totalLabel({ side, type }) {
    if (type === "market") return side === "buy" ? gettext("You pay, about") : gettext("You receive, about");
    return side === "buy" ? gettext("You pay, at most") : gettext("You receive, at least");
  }

  /** Send what stands in the ticket. The id belongs to the intent, so that a repeat cannot place a second order. */
  async send() {
    if (this.sending || !byId("send")) return;
    const draft = this.#draft();
    const found = faults(draft, this.instrument, this.orderForm, this.market.lastPrice());
    this.#showFaults(found);
    if (Object.keys(found).length) {
      this.form.elements[Object.keys(found)[0]].focus();
      return;
    }
    this.sending = true;
    try {
      if (draft.type === "market" && !(await this.#agreed(draft))) return;
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
    const title = gettext("Send a market order?");
    const words = draft.side === "buy" ? gettext("Buy %s at the best prices in the book.") : gettext("Sell %s at the best prices in the book.");
    return confirmed("market", title, interpolate(words, [amount(draft.quantity, this.instrument.base)]));
  }

  #request(draft) {
    const request = {
      symbol: this.instrument.symbol,
      side: draft.side,
      type: draft.type,
      quantity: this.instrument.wireQuantity(draft.quantity),
      client_order_id: this.intent,
    };
    if (draft.type === "limit") {
      request.price = this.instrument.wirePrice(draft.price);
      request.time_in_force = draft.validity;
    }
    return request;
  }

  #accepted(order) {
    const words = order.side === "buy" ? gettext("Buy order of %s accepted.") : gettext("Sell order of %s accepted.");
    toast(interpolate(words, [amount(this.instrument.quantity(order.quantity), this.instrument.base)]), "good");
    this.intent = null;
    this.clear();
  }

  #refused(error) {
    if (error.status !== 0 && error.status < 500 && error.status !== 429) this.intent = null;
    const found = {};
    for (const field of FIELDS) {
      const inner = error.fields[field];
      if (inner) found[field] = [inner].flat().join(" ");
    }
    if (!Object.keys(found).length) found[this.#fieldOf(error)] = error.message;
    this.#showFaults(found);
    toast(Object.values(found).join(" "), "bad");
  }

  /** Beside which field a refusal belongs. */
  #fieldOf(error) {
    const named = error.data.field;
    if (FIELDS.includes(named)) return named;
    const name = error.data.error ?? "";
    if (/PRICE|BAND/.test(name)) return this.type === "limit" ? "price" : "ticket";
    return /FUNDS|NOTIONAL|QUANTITY/.test(name) ? "quantity" : "ticket";
  }

  #showFaults(found) {
    for (const field of FIELDS) {
      setText(byId(`${field}-error`), found[field] ?? "");
      this.form.elements[field].setAttribute("aria-invalid", String(Boolean(found[field])));
    }
    setText(byId("ticket-error"), found.ticket ?? "");
  }
}

function newIntent() {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return `web-${Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}
