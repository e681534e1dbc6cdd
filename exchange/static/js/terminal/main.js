/* Puts the terminal together: reads what is, follows what changes, and joins the panels. */
import { items, read, readDocument } from "../api.js";
import { Feed } from "../feed.js";
import { Instrument } from "../instrument.js";
import { grouped } from "../numbers.js";
import { stateWord } from "../states.js";
import { dayOf, paintDirection } from "../ticker.js";
import { Book, GAP } from "./book.js";
import { BookView } from "./book_view.js";
import { Chart } from "./chart.js";
import { keepFocusInDialogs } from "./dialogs.js";
import { Exits } from "./exits.js";
import { setText } from "./frame.js";
import { bindKeys } from "./keys.js";
import { MarketState } from "./market_state.js";
import { Notices } from "./notices.js";
import { OrderTables } from "./order_tables.js";
import { isWaiting } from "./order_words.js";
import { Own } from "./own.js";
import { bindPhone, showPanel } from "./phone.js";
import { PositionActions } from "./position_actions.js";
import { Positions } from "./positions.js";
import { remember } from "./preferences.js";
import { Status } from "./status.js";
import { SymbolSwitcher } from "./symbols.js";
import { Tape } from "./tape.js";
import { Ticket } from "./ticket.js";
import { OrderForm } from "./ticket_rules.js";
import { announce, toast } from "./toasts.js";

const { symbol, signed_in: signedIn } = JSON.parse(document.getElementById("page-data").textContent);
const path = encodeURIComponent(symbol);
const byId = (id) => document.getElementById(id);
const RETRY_MS = 3000;

const status = new Status();
const [rows, schema] = await insist(() => Promise.all([read("/instruments"), readDocument("/schema?format=json")]));
const instruments = items(rows).map((row) => new Instrument(row));
const markets = new Map(instruments.map((instrument) => [instrument.symbol, instrument]));
const instrument = markets.get(symbol);
for (const element of document.querySelectorAll("[data-unit]")) setText(element, instrument[element.dataset.unit]);
remember("symbol", symbol);

const book = new Book(instrument);
let ownIsRead;
const ownRead = new Promise((resolve) => {
  ownIsRead = resolve;
});
const market = {
  book,
  last: null,
  mark: null,
  sequence: null,
  lastPrice: () => market.last,
  markPrice: () => market.mark,
  /** The price that an order looks at: the one it waits for, else the last trade. */
  watchedPrice: (draft) => (isWaiting(draft.type) && draft.trigger_by === "mark" ? market.mark : market.last),
  state: () => marketState.state,
};
const notices = new Notices(markets);
const tape = new Tape(instrument);
const positions = new Positions({ markets, onChange: positionsChanged });
const exits = new Exits({ positions, orders: () => own.openOrders() });
const own = new Own(positions, ownChanged);
const bookView = new BookView({ book, instrument, onPick: pickLevel });
const chart = new Chart(instrument, (next, before) => {
  feed.unsubscribe([`kline.${symbol}.${before}`]);
  feed.subscribe([`kline.${symbol}.${next}`]);
});
const marketState = new MarketState({ instrument, onChange: stateChanged });
const orderForm = new OrderForm(schema);
const actions = new PositionActions({
  markets, positions, exits, orderForm,
  lastPrice: (name) => (name === symbol ? market.last : null),
  take: (order) => own.take(order),
});
const ticket = new Ticket({ instrument, market, balances: own.balances, orderForm, positions, actions });
const tables = new OrderTables({ own, markets, symbol, orderForm, actions, exits });
const switcher = new SymbolSwitcher(instruments);
const feed = new Feed({ onMessage: receive, onState: (state) => status.show(state), onOpen: opened });


/** What the terminal cannot do without is read until it succeeds; meanwhile the banner says so. */
async function insist(work) {
  for (;;) {
    try {
      const result = await work();
      status.recovered();
      return result;
    } catch (error) {
      if (error.code === undefined) throw error;
      status.failed();
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }
}

/** Fill the ticket from the book: its price, which the user may still change. */
function pickLevel(price) {
  ticket.setPrice(price);
  if (byId("main").dataset.shown === "book") showPanel("trade");
}

function stateChanged() {
  bookView.setAuction(marketState.auction);
  ticket.stateChanged();
}

function ownChanged(kind) {
  tables.paint();
  if (kind === "balances") ticket.refresh();
  if (kind !== "orders") return;
  exits.look();
  const here = own.openOrders().filter((order) => order.symbol === symbol);
  const marks = here.filter((order) => order.price !== null && order.status !== "untriggered");
  chart.lines.markOrders(here);
  bookView.markOwn(new Map(marks.map((order) => [`${order.side}:${instrument.ticks(order.price)}`, true])));
}

/** A contract that is held elsewhere is valued live here too: the day of its market tells its mark price. */
function positionsChanged() {
  tables.paint();
  exits.look();
  ticket.refresh();
  const held = positions.rows().filter(({ kind }) => kind === "PERP");
  chart.lines.markPosition(held.find((row) => row.symbol === symbol) ?? null);
  feed.subscribe(held.map((row) => `ticker.${row.symbol}`));
}

function opened({ again }) {
  if (signedIn && own.sequence !== null) feed.send({ action: "resume", sequence: own.sequence });
  if (!again) return;
  market.sequence = null;
  tape.clear();
  reload();
}

function receive(message) {
  switch (message.type) {
    case "snapshot":
      book.reset(message);
      bookView.paint();
      ticket.refresh();
      break;
    case "delta":
      if (book.apply(message) === GAP) feed.resubscribe(`delta.${symbol}`);
      bookView.paint();
      if (ticket.type === "market") ticket.refresh();
      break;
    case "trade":
      traded(message);
      break;
    case "ticker":
      positions.mark(message.symbol, message.mark_price);
      if (message.symbol === symbol) showDay(message);
      break;
    case "auction":
      marketState.receive(message);
      break;
    case "kline":
      chart.update(message);
      break;
    case "subscribed":
      if (message.channels.includes("orders")) loadOwn();
      break;
    case "error":
      refused(message);
      break;
    default:
      followOwn(message);
  }
}

function followOwn(message) {
  const before = own.orders.get(message.data?.order_id);
  if (!own.receive(message)) return;
  if (message.type === "fill") notices.fill(message.data);
  if (message.type === "order") notices.order(message.data, before);
}

/** The place in the private stream may be gone, or of another login: what is owned is read over REST anyway. */
function refused(message) {
  if (["RESUME_TOO_OLD", "RESUME_AHEAD"].includes(message.error)) own.sequence = null;
  else toast(message.message, "bad");
}

/** Trades are numbered without gaps for each market: a missing one is read again over REST. */
function traded(trade) {
  const missed = market.sequence !== null && trade.sequence > market.sequence + 1;
  if (market.sequence !== null && trade.sequence <= market.sequence) return;
  market.sequence = trade.sequence;
  if (missed) loadTape();
  else tape.add(trade);
  showLast(trade.price);
}

function showLast(wire) {
  const price = instrument.price(wire);
  const direction = market.last === null ? 0 : instrument.ticks(wire) - instrument.ticks(instrument.wirePrice(market.last));
  if (direction !== 0 || market.direction === undefined) market.direction = Math.sign(direction);
  market.last = price;
  const arrow = market.direction > 0 ? "↑" : market.direction < 0 ? "↓" : "";
  const text = `${grouped(price)}${arrow && ` ${arrow}`}`;
  setText(byId("last-price"), text);
  paintDirection(byId("last-price"), market.direction);
  bookView.setLast({ text, direction: market.direction });
  document.title = `${grouped(price)} · ${symbol}`;
  ticket.suggestPrice(price);
  ticket.refresh();
}

function showDay(ticker) {
  const day = dayOf(instrument, ticker);
  setText(byId("day-change"), day.change);
  paintDirection(byId("day-change"), day.direction);
  setText(byId("day-high"), day.high);
  setText(byId("day-low"), day.low);
  setText(byId("day-volume"), day.volume);
  setText(byId("mark-price"), day.mark);
  if (day.markWire !== null && day.markWire !== undefined) showMark(instrument.price(day.markWire));
  if (day.lastWire !== null && market.last === null) showLast(day.lastWire);
}

function showMark(price) {
  if (price === market.mark) return;
  market.mark = price;
  ticket.marked();
}

async function loadTape() {
  const trades = items(await read(`/trades/${path}?limit=50`));
  tape.reset(trades);
  const newest = trades[0]?.sequence;
  const before = trades.find((trade) => trade.price !== trades[0].price);
  if (market.direction === undefined && before) {
    market.direction = Math.sign(instrument.ticks(trades[0].price) - instrument.ticks(before.price));
    showLast(trades[0].price);
  }
  if (newest !== undefined) market.sequence = Math.max(market.sequence ?? 0, newest);
}

/** At the start and after a lost connection: what has no sequence to follow is read. */
function reload() {
  return insist(() => Promise.all([loadTape(), chart.load(), read(`/ticker/${path}`).then(showDay)]));
}

/** Read once the private channels are joined, so that nothing can fall between the two. */
function loadOwn() {
  const leverage = () => (instrument.isContract ? actions.readLeverage(symbol) : null);
  insist(() => own.load().then(leverage)).then(ownIsRead);
}

function readQuote() {
  const side = (name) => (book.best(name) === null ? "–" : instrument.ticksText(book.best(name)));
  const quote = interpolate(gettext("%s: bid %s, ask %s, last %s"), [symbol, side("buy"), side("sell"), market.last ?? "–"]);
  const { state, auction } = marketState;
  const indication = auction?.price ? interpolate(gettext("indicative price %s"), [auction.price]) : "";
  announce([quote, state === "continuous" ? "" : stateWord(state), indication].filter(Boolean).join(", "));
}

keepFocusInDialogs();
bindPhone(ticket);
bindKeys({
  chooseMarket: () => switcher.open(),
  side: (side) => ticket.choose("side", side),
  type: (type) => ticket.choose("type", type),
  postOnly: () => ticket.togglePostOnly(),
  reduceOnly: () => ticket.toggleReduceOnly(),
  closePosition: () => tables.closePosition(symbol),
  validity: () => ticket.nextValidity(),
  advanced: () => ticket.toggleAdvanced(),
  share: (percent) => ticket.share(percent),
  step: (ticks) => ticket.step(ticks),
  send: () => ticket.send(),
  clear: () => ticket.clear(),
  amendLast: () => tables.amendLast(),
  cancelLast: () => tables.cancelLast(),
  cancelAll: () => tables.cancelAll(),
  interval: (by) => chart.shift(by),
  grouping: () => bookView.nextGrouping(),
  readQuote,
});

feed.subscribe([`delta.${symbol}`, `trade.${symbol}`, `ticker.${symbol}`, `auction.${symbol}`, `kline.${symbol}.${chart.interval}`]);
if (signedIn) feed.subscribe(["orders", "fills", "balances", "positions"]);
feed.connect();
await Promise.all([reload(), signedIn ? ownRead : null]);
document.documentElement.dataset.ready = "yes";
