/* The lower panel: positions, open orders with their cancel buttons, history, trades, balances, messages. */
import Big from "../../vendor/big/big.mjs";
import { call } from "../api.js";
import { grouped, trimmed } from "../numbers.js";
import { AmendCell } from "./amend.js";
import { confirmed } from "./confirm.js";
import { setText } from "./frame.js";
import { orderFigures } from "./order_figures.js";
import { isLimited, isWaiting, reasonWord, sideWord, statusWord, termsText, triggerText, typeWord } from "./order_words.js";
import { openPositions, positionTable } from "./position_table.js";
import { preference, remember } from "./preferences.js";
import { Table } from "./table.js";
import { amount } from "./ticket_rules.js";
import { toast } from "./toasts.js";

const byId = (id) => document.getElementById(id);
const moment = new Intl.DateTimeFormat(document.documentElement.lang, { month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const time = (text) => moment.format(new Date(text));

const roleWord = (role) => ({ maker: gettext("Maker"), taker: gettext("Taker") })[role] ?? role;

export class OrderTables {
  /**
   * @param markets Map of symbol to Instrument
   * @param orderForm the form of an order by the OpenAPI document
   * @param actions what may be done to a position
   * @param exits what waits to close positions
   */
  constructor({ own, markets, symbol, orderForm, actions, exits }) {
    Object.assign(this, { own, markets, symbol, actions, exits, figures: orderFigures(markets, orderForm), isCancelling: false });
    this.filter = byId("this-symbol");
    this.filter.checked = preference("this-symbol", false);
    this.filter.addEventListener("change", () => {
      remember("this-symbol", this.filter.checked);
      this.paint();
    });
    byId("cancel-all").addEventListener("click", () => this.cancelAll());
    byId("close-all").addEventListener("click", () => this.actions.closingAll.open(this.#openContracts().map((row) => row.symbol)));
    this.#tabs();
    this.tables = this.#build();
    this.paint();
  }

  paint() {
    for (const table of Object.values(this.tables)) table.paint();
    const open = this.#chosen(this.own.openOrders());
    byId("open-count").textContent = String(open.length);
    const positions = this.#openContracts();
    setText(byId("positions-count"), String(positions.length));
    byId("close-all").disabled = positions.length === 0;
    setText(byId("close-all"), this.filter.checked ? interpolate(gettext("Close all %s"), [this.symbol]) : gettext("Close all"));
    byId("cancel-all").disabled = open.length === 0 || this.isCancelling;
    setText(byId("cancel-all"), this.filter.checked ? interpolate(gettext("Cancel all %s"), [this.symbol]) : gettext("Cancel all"));
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

  /** Close the position in a contract; does nothing where there is none. */
  async closePosition(symbol) {
    const row = this.own.positions.rows().find((position) => position.symbol === symbol && position.kind === "PERP");
    if (!row) return;
    try {
      await this.actions.close(row);
    } catch (error) {
      if (error.code === undefined) throw error;
      toast(error.message, "bad");
    }
  }

  cancelLast() {
    const [latest] = this.#chosen(this.own.openOrders());
    if (latest) this.cancel(latest.order_id);
  }

  /** Change the latest order: its price, else what it has instead. */
  amendLast() {
    const parts = this.#chosen(this.own.openOrders()).flatMap((row) => this.tables.open.parts.get(row.id) ?? []);
    const cell = parts.find((part) => part.mayOpen);
    if (!cell) return;
    this.chooseTab("open");
    cell.open();
  }

  async cancelAll() {
    const open = this.#chosen(this.own.openOrders());
    if (!open.length || this.isCancelling) return;
    if (!(await this.#agreed(open.length))) return;
    this.isCancelling = true;
    this.paint();
    try {
      const { data } = await call("DELETE", this.filter.checked ? `/orders?symbol=${encodeURIComponent(this.symbol)}` : "/orders");
      const done = ngettext("Cancel of %s order sent.", "Cancel of %s orders sent.", data.count);
      toast(interpolate(done, [data.count]), "good");
    } catch (error) {
      if (error.code === undefined) throw error;
      toast(error.message, "bad");
    } finally {
      this.isCancelling = false;
      this.paint();
    }
  }

  /** Ask first, and say of which markets: what is shown is what is cancelled. */
  #agreed(many) {
    if (this.filter.checked) {
      const words = ngettext("Cancel %s open order of %s?", "Cancel %s open orders of %s?", many);
      return confirmed("cancel-all", gettext("Cancel all orders of this market"), interpolate(words, [many, this.symbol]));
    }
    const words = ngettext("Cancel %s open order, in all markets?", "Cancel %s open orders, in all markets?", many);
    return confirmed("cancel-all", gettext("Cancel all orders"), interpolate(words, [many]));
  }

  #chosen(rows) {
    return this.filter.checked ? rows.filter((row) => row.symbol === this.symbol) : rows;
  }

  #openContracts() {
    return openPositions(this.#chosen(this.own.positions.rows()));
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
    const filled = { ...number, text: (row) => this.#filled(row) };
    const trigger = { ...number, text: (row) => this.#trigger(row) };
    const idle = (row) => (this.exits.isIdle(row) ? ` · ${gettext("nothing to close now")}` : "");
    const terms = { text: (row) => `${termsText(row, this.#figures(row))}${idle(row)}`, className: "terms" };
    const status = { text: (row) => [statusWord(row.status), reasonWord(row)].filter(Boolean).join(": "), className: "status" };
    const average = { ...number, text: (row) => (row.avg_price ? this.#price(row, row.avg_price) : "–") };
    const balance = (of) => ({ ...number, text: (row) => grouped(trimmed(of(row))) });
    const table = (name, columns, rows) => new Table({ pane: byId(`pane-${name}`), columns, rows });
    return {
      positions: positionTable({ pane: byId("pane-positions"), markets: this.markets, positions: this.own.positions, actions: this.actions, exits: this.exits, chosen: (rows) => this.#chosen(rows) }),
      open: table("open", [when, market, side, type, this.#amendable("price"), this.#amendable("quantity"), this.#amendable("stop"), terms, status, { className: "cell-wide", build: (row) => this.#cancelButton(row) }],
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

  /** A figure that may be changed where it stands, for orders that have it; else what the history shows there. */
  #amendable(name) {
    const figure = this.figures[name];
    const plain = { price: (row) => this.#price(row, row.price), quantity: (row) => this.#filled(row), stop: (row) => this.#trigger(row) }[name];
    const has = (row) => this.markets.has(row.symbol) && row[figure.field] !== null;
    const shown = {
      ...figure,
      may: (row) => has(row) && figure.may(row),
      before: (row) => (has(row) ? figure.before(row) : ""),
      text: (row) => (has(row) ? figure.text(row) : plain(row)),
    };
    return { className: name === "quantity" ? "number sized" : "number", build: (row) => new AmendCell(row, shown, (order) => this.own.take(order)) };
  }

  #filled(row) {
    return `${this.#quantity(row, row.filled_quantity)} / ${this.#size(row)}`;
  }

  /** A buy by amount has no quantity: it is as large as what it may cost; what closes a position, as large as that is then. */
  #size(row) {
    if (row.quantity === null && row.close_position) return gettext("all");
    if (row.quantity !== null) return this.#quantity(row, row.quantity);
    const market = this.markets.get(row.symbol);
    return market ? amount(trimmed(market.amount(row.quote_quantity)), market.quote) : String(row.quote_quantity);
  }

  #trigger(row) {
    return isWaiting(row.type) ? triggerText(row, this.#figures(row).price(row.stop_price)) : "–";
  }

  #cancelButton({ order_id: orderId }) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "cancel";
    button.textContent = gettext("Cancel");
    button.addEventListener("click", () => this.cancel(orderId, button));
    const update = (row) => {
      const words = row.side === "buy" ? gettext("Cancel the buy order of %s %s at %s") : gettext("Cancel the sell order of %s %s at %s");
      button.setAttribute("aria-label", interpolate(words, [this.#size(row), row.symbol, this.#price(row, row.price)]));
    };
    return { element: button, update };
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
      byId("close-all").hidden = tab.dataset.tab !== "positions";
      byId("cancel-all").hidden = tab.dataset.tab === "positions";
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
    this.chooseTab = (name) => choose(tabs.find((tab) => tab.dataset.tab === name));
    choose(tabs.find((tab) => tab.dataset.tab === preference("tab", "open")) ?? tabs[0]);
  }
}
