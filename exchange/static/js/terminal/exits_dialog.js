/* Sets, changes and removes the take profit and the stop loss of a position. */
import Big from "../../vendor/big/big.mjs";
import { call } from "../api.js";
import { grouped } from "../numbers.js";
import { resultAt } from "./contract_math.js";
import { cancelExit, closingSide, EXIT_TYPE, exitWord } from "./exits.js";
import { setText } from "./frame.js";
import { newIntent } from "./intent.js";
import { trails } from "./order_words.js";
import { factsText, resultText, tone } from "./position_words.js";
import { numberFault, stepped } from "./ticket_rules.js";
import { toast } from "./toasts.js";

const KINDS = ["profit", "loss"];
const byId = (id) => document.getElementById(id);
const field = (kind, name = "") => byId(`exit-${kind}${name && `-${name}`}`);

export class ExitsDialog {
  /**
   * @param lastPrice function of a symbol: the last price where the page knows it, else null
   * @param take called with an order as the exchange then has it
   */
  constructor({ markets, positions, exits, orderForm, lastPrice, take }) {
    Object.assign(this, { markets, positions, exits, orderForm, lastPrice, take, symbol: null, orders: {}, intents: {}, isSending: false });
    this.dialog = byId("exits-dialog");
    byId("exits-form").addEventListener("input", () => this.#edited());
    byId("exits-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
    byId("exits-back").addEventListener("click", () => this.dialog.close());
    this.dialog.addEventListener("close", () => this.unfollow?.());
    for (const kind of KINDS) {
      field(kind).addEventListener("keydown", (event) => this.#key(event, kind));
      field(kind, "remove").addEventListener("click", () => {
        field(kind).value = "";
        this.#edited();
        field(kind).focus();
      });
    }
  }

  open({ symbol }) {
    const position = this.positions.open(symbol);
    if (!position) return;
    this.symbol = symbol;
    const found = this.exits.of(position);
    setText(byId("exits-title"), interpolate(gettext("Take profit and stop loss of %s"), [symbol]));
    for (const kind of KINDS) {
      const order = found[kind].find((one) => !trails(one.type)) ?? null;
      this.orders[kind] = order;
      field(kind).value = order ? this.market.price(order.stop_price) : "";
      field(kind, "by").value = order?.trigger_by ?? "mark";
      field(kind, "remove").hidden = order === null;
      setText(field(kind, "unit"), this.market.quote);
    }
    byId("exits-more").hidden = KINDS.every((kind) => found[kind].length - (this.orders[kind] ? 1 : 0) === 0);
    this.#edited();
    this.unfollow = this.positions.follow(() => this.#paint());
    this.dialog.showModal();
    field("profit").focus();
  }

  get market() {
    return this.markets.get(this.symbol);
  }

  get position() {
    return this.positions.open(this.symbol);
  }

  #key(event, kind) {
    const ticks = { ArrowUp: 1, ArrowDown: -1 }[event.key];
    if (!ticks) return;
    event.preventDefault();
    try {
      field(kind).value = stepped(field(kind).value.trim(), ticks * (event.shiftKey ? 10 : 1), this.market, this.market.price(this.position.mark_price));
    } catch {
      return; // what stands there is no number yet
    }
    this.#edited();
  }

  #edited() {
    this.intents = {};
    for (const kind of KINDS) this.#tell(kind, "");
    this.#paint();
  }

  #draft(kind) {
    return { price: field(kind).value.trim(), by: field(kind, "by").value };
  }

  /** Whether what stands in the dialog is something else than the order that waits. */
  #isChanged(kind) {
    const { price, by } = this.#draft(kind);
    const order = this.orders[kind];
    if (!order) return price !== "";
    return price !== this.market.price(order.stop_price) || by !== order.trigger_by;
  }

  /** The price that an order watches, and on which side of it each of the two lies. */
  #watched(by) {
    const mark = this.position.mark_price === null ? null : this.market.price(this.position.mark_price);
    return by === "last" ? this.lastPrice(this.symbol) ?? mark : mark;
  }

  #fault(kind) {
    const { price, by } = this.#draft(kind);
    if (price === "" || !this.#isChanged(kind)) return null;
    const fault = numberFault("stop_price", price, this.market.tickSize, this.orderForm);
    const watched = this.#watched(by);
    if (fault || watched === null) return fault;
    const isAbove = (kind === "profit") !== this.position.isShort;
    if (isAbove ? new Big(price).gt(watched) : new Big(price).lt(watched)) return null;
    const words = isAbove
      ? gettext("This must be above %s, where the price is: else it would close the position at once.")
      : gettext("This must be below %s, where the price is: else it would close the position at once.");
    return interpolate(words, [grouped(watched)]);
  }

  #paint() {
    const { position } = this;
    if (!position) {
      if (!this.isSending) this.dialog.close();
      return;
    }
    setText(byId("exits-facts"), factsText(position, this.market));
    for (const kind of KINDS) this.#note(kind, position);
  }

  /** What a price would bring; and of a stop whether it comes too late. */
  #note(kind, position) {
    const note = field(kind, "note");
    let [words, look] = ["", ""];
    try {
      const price = new Big(this.#draft(kind).price);
      const result = resultAt(price, position, this.market);
      words = interpolate(gettext("At that price about %s, before fees."), [resultText(result.toFixed(), position.margin, this.market.quote)]);
      look = tone(result.toFixed());
      const liquidation = position.liquidation_price;
      if (kind === "loss" && liquidation !== null && (position.isShort ? price.gte(this.market.price(liquidation)) : price.lte(this.market.price(liquidation)))) {
        words = interpolate(gettext("This is beyond the liquidation price of %s: it would come too late."), [grouped(this.market.price(liquidation))]);
        look = "warns";
      }
    } catch {
      // nothing is typed, or no number yet: there is nothing to say
    }
    setText(note, words);
    note.className = `help ${look}`;
  }

  async #send() {
    if (this.isSending || !this.position) return;
    const side = closingSide(this.position);
    const faults = KINDS.filter((kind) => {
      const fault = this.#fault(kind);
      this.#tell(kind, fault ?? "");
      return fault !== null;
    });
    if (faults.length) {
      field(faults[0]).focus();
      return;
    }
    this.#sends(true);
    try {
      const done = [];
      for (const kind of KINDS.filter((one) => this.#isChanged(one))) done.push(await this.#change(kind, side));
      if (done.every(Boolean)) this.dialog.close();
    } finally {
      this.#sends(false);
      this.#paint();
    }
  }

  /** A new order stands before the old one goes, so that the position is never without. @returns whether it was done */
  async #change(kind, side) {
    const { price, by } = this.#draft(kind);
    const [before, { symbol, market }] = [this.orders[kind], this];
    try {
      let order = null;
      if (price !== "") {
        this.intents[kind] ??= newIntent();
        order = (await call("POST", "/orders", {
          symbol, side, type: EXIT_TYPE[kind], close_position: true,
          stop_price: market.wirePrice(price), trigger_by: by, client_order_id: this.intents[kind],
        })).data;
        this.take(order);
      }
      this.orders[kind] = order ? { ...order, id: order.order_id } : null;
      if (before) await cancelExit(before);
      const words = order ? gettext("%s of %s is set at %s.") : gettext("%s of %s is removed.");
      toast(interpolate(words, [exitWord(kind), symbol, grouped(price)].slice(0, order ? 3 : 2)), "good");
      return true;
    } catch (error) {
      if (error.code === undefined) throw error;
      if (error.status !== 0 && error.status < 500 && error.status !== 429) delete this.intents[kind];
      this.#tell(kind, [Object.values(error.fields)[0] ?? error.message].flat().join(" "));
      field(kind).focus();
      return false;
    }
  }

  #sends(isSending) {
    this.isSending = isSending;
    byId("exits-yes").disabled = isSending;
  }

  #tell(kind, words) {
    setText(field(kind, "error"), words);
    field(kind).setAttribute("aria-invalid", String(words !== ""));
  }
}
