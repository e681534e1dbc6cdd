/* Take profit and stop loss of a position: orders that wait for a price, and then close all that the position is. */
import Big from "../../vendor/big/big.mjs";
import { call } from "../api.js";
import { toast } from "./toasts.js";

/** The type of order that each of the two is. */
export const EXIT_TYPE = { profit: "take_profit", loss: "stop" };
const KINDS = { take_profit: "profit", stop: "loss", trailing_stop: "loss" };
const WAITING = new Set(["new", "untriggered"]);
const SETTLE_MS = 500; // orders and positions are told one after the other
const CLOSED_MS = 60_000;

const closes = (order) => order.close_position && order.type in KINDS && !order.triggered_at && WAITING.has(order.status);

/** The side of an order that closes a position. */
export const closingSide = ({ quantity }) => (String(quantity).startsWith("-") ? "buy" : "sell");

/** Whether an order is the take profit or stop loss of a position, and which. Null for others. */
export const exitKind = (order) => (closes(order) ? KINDS[order.type] : null);

export const exitWord = (kind) => (kind === "profit" ? gettext("Take profit") : gettext("Stop loss"));

export class Exits {
  /** @param orders function that gives the user's open orders */
  constructor({ positions, orders }) {
    Object.assign(this, { positions, orders, wanted: new Set(), told: new Set(), timer: null });
  }

  /** @returns {profit, loss}: the orders of each kind, the one that is reached first in front */
  of(position) {
    const found = { profit: [], loss: [] };
    if (!position) return found;
    const side = closingSide(position);
    for (const order of this.orders()) {
      const kind = exitKind(order);
      if (kind && order.symbol === position.symbol && order.side === side) found[kind].push(order);
    }
    const ascending = (a, b) => (a.stop_price === null ? 1 : b.stop_price === null ? -1 : new Big(a.stop_price).cmp(b.stop_price));
    const isShort = side === "buy";
    found.profit.sort((a, b) => (isShort ? ascending(b, a) : ascending(a, b)));
    found.loss.sort((a, b) => (isShort ? ascending(a, b) : ascending(b, a)));
    return found;
  }

  count(position) {
    const { profit, loss } = this.of(position);
    return profit.length + loss.length;
  }

  /** Whether an order that closes a position has none to close now: it would fire and do nothing. */
  isIdle(order) {
    if (exitKind(order) === null) return false;
    const position = this.positions.open(order.symbol);
    return position === null || closingSide(position) !== order.side;
  }

  /** Cancel what waits to close a position once that is closed; what is left of it keeps them. */
  async cancelWhenClosed(symbol) {
    this.wanted.add(symbol);
    const isClosed = await this.positions.closed(symbol, CLOSED_MS);
    const waiting = isClosed ? this.orders().filter((order) => order.symbol === symbol && exitKind(order) !== null) : [];
    try {
      await Promise.all(waiting.map((order) => cancelExit(order)));
      if (waiting.length) toast(interpolate(gettext("Take profit and stop loss of %s are cancelled."), [symbol]), "good");
    } finally {
      this.wanted.delete(symbol);
    }
  }

  /** Say once of each order that it has nothing to close any more: it stays, and would close the next position. */
  look() {
    this.timer ??= setTimeout(() => {
      this.timer = null;
      const idle = this.orders().filter((order) => this.isIdle(order) && !this.wanted.has(order.symbol));
      for (const symbol of new Set(idle.filter((order) => !this.told.has(order.id)).map((order) => order.symbol))) toast(idleWords(symbol));
      this.told = new Set(idle.map((order) => order.id));
    }, SETTLE_MS);
  }
}

const idleWords = (symbol) => interpolate(gettext("A take profit or stop loss of %s has no position to close any more. It waits on, and would close your next position of that side: cancel it under Open orders."), [symbol]);

/** Cancel one; one that has just ended needs no cancel. */
export async function cancelExit(order) {
  try {
    await call("DELETE", `/orders/${order.order_id}`);
  } catch (error) {
    if (error.code === undefined) throw error;
    if (error.data.error !== "ORDER_NOT_OPEN") toast(error.message, "bad");
  }
}
