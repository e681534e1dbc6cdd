/* What belongs to the signed-in user: orders, fills, balances, positions; read over REST, kept by the private channels. */
import { items, read } from "../api.js";

const OPEN = new Set(["new", "partial_filled", "pending_review", "untriggered"]);
const HISTORY = 100;
const OPEN_MAX = 200;
const ORDERS_MAX = 1000;
const FILLS_MAX = 200;

export class Own {
  /**
   * @param positions what the user holds, kept apart
   * @param onChange called with the kind of what changed: "orders", "fills" or "balances"
   */
  constructor(positions, onChange) {
    Object.assign(this, { positions, onChange, orders: new Map(), fills: new Map(), balances: new Map(), sequence: null });
    this.waiting = null;
  }

  /** Read everything anew. Messages that arrive meanwhile are applied after it: each carries a whole state. */
  async load() {
    this.waiting = [];
    try {
      const [open, orders, fills, account] = await Promise.all([
        read(`/orders?status=open&limit=${OPEN_MAX}`), read(`/orders?limit=${HISTORY}`), read(`/fills?limit=${HISTORY}`),
        read("/account"), this.positions.load(),
      ]);
      for (const order of [...items(open), ...items(orders)]) this.#order(order);
      for (const fill of items(fills)) this.#fill(fill);
      for (const balance of account.balances) this.#balance(balance);
    } finally {
      const late = this.waiting;
      this.waiting = null;
      for (const message of late) this.#apply(message);
    }
    ["orders", "fills", "balances"].forEach(this.onChange);
  }

  /** Take a private message. @returns false when it is none */
  receive(message) {
    if (!["order", "fill", "balance", "position"].includes(message.type)) return false;
    this.sequence = Math.max(this.sequence ?? 0, message.sequence);
    if (message.type === "position") this.positions.take(message.data);
    else if (this.waiting) this.waiting.push(message);
    else this.#apply(message);
    return true;
  }

  /** Take an order as the answer to a call has it: what the channel told of the same moment is further on. */
  take(order) {
    const known = this.orders.get(order.order_id);
    if (!known || order.updated_at > known.updated_at) this.#order(order);
    this.onChange("orders");
  }

  #apply({ type, data }) {
    if (type === "order") this.#order(data);
    else if (type === "fill") this.#fill(data);
    else {
      this.#balance(data);
      this.positions.balancesChanged();
    }
    this.onChange({ order: "orders", fill: "fills", balance: "balances" }[type]);
  }

  /** Times are fixed-width text in UTC, so their order is the order of the text. */
  #order(order) {
    const known = this.orders.get(order.order_id);
    if (!known || order.updated_at >= known.updated_at) this.orders.set(order.order_id, { ...order, id: order.order_id });
    this.#forgetOld();
  }

  #fill(fill) {
    const id = `${fill.trade_id}:${fill.order_id}`;
    this.fills.set(id, { ...fill, id });
    if (this.fills.size > FILLS_MAX) this.fills.delete(this.fills.keys().next().value);
  }

  #balance({ asset, balance, frozen_balance: frozen }) {
    this.balances.set(asset, { id: asset, asset, available: balance, frozen });
  }

  openOrders() {
    return this.#newest([...this.orders.values()].filter((order) => OPEN.has(order.status)));
  }

  pastOrders() {
    return this.#newest([...this.orders.values()].filter((order) => !OPEN.has(order.status))).slice(0, HISTORY);
  }

  /** A busy page must not grow for ever: what no table shows any more is forgotten. */
  #forgetOld() {
    if (this.orders.size <= ORDERS_MAX) return;
    const shown = new Set([...this.openOrders(), ...this.pastOrders()].map((order) => order.id));
    for (const id of this.orders.keys()) if (!shown.has(id)) this.orders.delete(id);
  }

  latestFills() {
    return [...this.fills.values()].sort((a, b) => (a.executed_at < b.executed_at ? 1 : -1));
  }

  /** In the order of their names; what is all zero and never used is left out. */
  allBalances() {
    return [...this.balances.values()].sort((a, b) => (a.asset < b.asset ? -1 : 1));
  }

  #newest(orders) {
    return orders.sort((a, b) => b.order_id - a.order_id);
  }
}
