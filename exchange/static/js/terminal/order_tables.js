/* The lower panel: open orders with their cancel buttons, history, trades, balances, messages. */
import Big from "../../vendor/big/big.mjs";
import { call } from "../api.js";
import { grouped, trimmed } from "../numbers.js";
import { confirmed } from "./confirm.js";
import { isLimited, isWaiting, reasonWord, sideWord, statusWord, termsText, triggerText, typeWord } from "./order_words.js";
import { preference, remember } from "./preferences.js";
import { Table } from "./table.js";
import { toast } from "./toasts.js";

const byId = (id) => document.getElementById(id);
const moment = new Intl.DateTimeFormat(document.documentElement.lang, { month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const time = (text) => moment.format(new Date(text));

const roleWord = (role) => ({ maker: gettext("Maker"), taker: gettext("Taker") })[role] ?? role;

export class OrderTables {
  /** @param markets Map of symbol to Instrument */
  constructor({ own, markets, symbol }) {
    Object.assign(this, { own, markets, symbol });
    this.filter = byId("this-symbol");
    this.filter.checked = preference("this-symbol", false);
    this.filter.addEventListener("change", () => {
      remember("this-symbol", this.filter.checked);
      this.paint();
    });
    byId("cancel-all").addEventListener("click", () => this.cancelAll());
    this.#tabs();
    this.tables = this.#build();
    this.paint();
  }

  paint() {
    for (const table of Object.values(this.tables)) table.paint();
    const open = this.#chosen(this.own.openOrders());
    byId("open-count").textContent = String(open.length);
    byId("cancel-all").disabled = open.length === 0;
  }

  async cancel(orderId, button) {
    if (button) button.disabled = true;
    try {
      const { message } = await call("DELETE", `/orders/${orderId}`);
      toast(message, "good");
    } catch (error) {
      if (error.code === undefined) throw error;
      toast(error.message, "bad");
      if (button) button.disabled = false;
    }
  }

  cancelLast() {
    const [latest] = this.#chosen(this.own.openOrders());
    if (latest) this.cancel(latest.order_id);
  }

  async cancelAll() {
    const open = this.#chosen(this.own.openOrders());
    if (!open.length) return;
    const words = ngettext("Cancel %s open order?", "Cancel %s open orders?", open.length);
    if (!(await confirmed("cancel-all", gettext("Cancel all orders"), interpolate(words, [open.length])))) return;
    try {
      const { data } = await call("DELETE", this.filter.checked ? `/orders?symbol=${encodeURIComponent(this.symbol)}` : "/orders");
      const done = ngettext("Cancel of %s order sent.", "Cancel of %s orders sent.", data.count);
      toast(interpolate(done, [data.count]), "good");
    } catch (error) {
      if (error.code === undefined) throw error;
      toast(error.message, "bad");
    }
  }

  #chosen(rows) {
    return this.filter.checked ? rows.filter((row) => row.symbol === this.symbol) : rows;
  }

  #price(row, value) {
    if (value === null || value === undefined) return row.type && !isLimited(row.type) ? pgettext("order type", "Market") : "–";
    const market = this.markets.get(row.symbol);
    return grouped(market ? market.price(value) : String(value));
  }

  /** How the figures of an order's market are written. */
  #figures(row) {
    const market = this.markets.get(row.symbol);
    return { price: (value) => market?.price(value ?? 0) ?? String(value), quantity: (value) => this.#quantity(row, value) };
  }

  #quantity(row, value) {
    const market = this.markets.get(row.symbol);
    return grouped(market ? market.quantity(value) : String(value));
  }

  #build() {
    const tone = (row) => (row.side === "buy" ? "up" : "down");
    const number = { className: "number" };
    const when = { text: (row) => time(row.created_at) };
    const market = { text: (row) => row.symbol };
    const side = { text: (row) => sideWord(row.side), className: tone };
    const type = { text: (row) => typeWord(row.type), className: "type" };
    const price = { ...number, text: (row) => this.#price(row, row.price) };
    const filled = { ...number, text: (row) => `${this.#quantity(row, row.filled_quantity)} / ${this.#quantity(row, row.quantity)}` };
    const trigger = { ...number, text: (row) => (isWaiting(row.type) ? triggerText(row, this.#figures(row).price(row.stop_price)) : "–") };
    const terms = { text: (row) => termsText(row, this.#figures(row)), className: "terms" };
    const status = { text: (row) => [statusWord(row.status), reasonWord(row)].filter(Boolean).join(": "), className: "status" };
    const average = { ...number, text: (row) => (row.avg_price ? this.#price(row, row.avg_price) : "–") };
    const balance = (of) => ({ ...number, text: (row) => grouped(trimmed(of(row))) });
    const table = (name, columns, rows) => new Table({ pane: byId(`pane-${name}`), columns, rows });
    return {
      open: table("open", [when, market, side, type, price, filled, trigger, terms, status, { make: (row) => this.#cancelButton(row) }],
        () => this.#chosen(this.own.openOrders())),
      history: table("history", [when, market, side, type, price, average, filled, trigger, terms, status],
        () => this.#chosen(this.own.pastOrders())),
      fills: table("fills", [
        { text: (row) => time(row.executed_at) }, market, side, price,
        { ...number, text: (row) => this.#quantity(row, row.quantity) },
        { ...number, text: (row) => `${grouped(trimmed(row.fee))} ${row.fee_asset}` },
        { text: (row) => roleWord(row.role) },
      ], () => this.#chosen(this.own.latestFills())),
      balances: table("balances", [
        { text: (row) => row.asset }, balance((row) => row.available), balance((row) => row.frozen),
        balance((row) => new Big(row.available).plus(row.frozen).toFixed()),
      ], () => this.own.allBalances()),
    };
  }

  #cancelButton(row) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "cancel";
    button.textContent = gettext("Cancel");
    const words = row.side === "buy" ? gettext("Cancel the buy order of %s %s at %s") : gettext("Cancel the sell order of %s %s at %s");
    button.setAttribute("aria-label", interpolate(words, [this.#quantity(row, row.quantity), row.symbol, this.#price(row, row.price)]));
    button.addEventListener("click", () => this.cancel(row.order_id, button));
    return button;
  }

  #tabs() {
    const list = document.querySelector(".tabs");
    const tabs = [...list.querySelectorAll("[role=tab]")];
    const choose = (tab) => {
      for (const one of tabs) {
        one.setAttribute("aria-selected", String(one === tab));
        one.tabIndex = one === tab ? 0 : -1;
        byId(one.getAttribute("aria-controls")).hidden = one !== tab;
      }
      remember("tab", tab.dataset.tab);
    };
    list.addEventListener("click", ({ target }) => {
      const tab = target.closest("[role=tab]");
      if (tab) choose(tab);
    });
    list.addEventListener("keydown", (event) => {
      const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!by) return;
      const next = tabs[(tabs.indexOf(document.activeElement) + by + tabs.length) % tabs.length];
      choose(next);
      next.focus();
      event.preventDefault();
      event.stopPropagation();
    });
    choose(tabs.find((tab) => tab.dataset.tab === preference("tab", "open")) ?? tabs[0]);
  }
}
