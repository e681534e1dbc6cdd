/* The Positions tab: positions in contracts with what may be done to each, and spot holdings beside them. */
import Big from "../../vendor/big/big.mjs";
import { grouped } from "../numbers.js";
import { setText } from "./frame.js";
import { trails, triggerText } from "./order_words.js";
import { signed, tone } from "./position_words.js";
import { Table } from "./table.js";

const NOTHING = "–";
const RATIO_WARNS = "0.5";
const RATIO_BAD = "0.8";
const [DOWN, UP] = [0, 3];
const isContract = (row) => row.kind === "PERP";

function positionWord(row) {
  if (!isContract(row)) return gettext("Spot");
  const word = row.isShort ? gettext("Short") : gettext("Long");
  return row.is_locked ? interpolate(gettext("%s, being liquidated"), [word]) : word;
}

function button(words, className) {
  const element = document.createElement("button");
  Object.assign(element, { type: "button", className, textContent: words });
  return element;
}

/**
 * @param exits what waits to close positions
 * @param chosen function that leaves of rows what the filter of the panel shows
 */
export function positionTable({ pane, markets, positions, actions, exits, chosen }) {
  const number = { className: "number" };
  const market = (row) => markets.get(row.symbol);
  const price = (row, value) => (value === null || value === undefined ? NOTHING : grouped(market(row)?.price(value) ?? String(value)));
  const cents = (row, value) => new Big(value).round(Math.min(market(row).quoteDecimals, 2), DOWN).toFixed(2);
  const size = (row) => grouped(market(row).quantity(String(row.quantity).replace("-", "")));
  const result = (row, value) => (isContract(row) && value !== null && value !== undefined ? signed(value) : NOTHING);
  const percent = (row) => (row.roe === null ? "" : ` (${signed(new Big(row.roe).times(100))}%)`);
  const columns = [
    { build: (row) => nameCell(row, actions) },
    { text: positionWord, className: (row) => (isContract(row) ? (row.isShort ? "down" : "up") : "") },
    { ...number, text: (row) => `${size(row)} ${market(row).base}` },
    { ...number, text: (row) => (isContract(row) ? price(row, row.entry_price) : price(row, row.avg_price)) },
    { ...number, text: (row) => price(row, row.mark_price) },
    { className: (row) => `number${isContract(row) ? " liquidation" : ""}`, text: (row) => price(row, row.liquidation_price) },
    { className: "number", build: (row) => marginCell(row, actions, (shown) => grouped(cents(shown, shown.margin))) },
    { className: (row) => `number result ${isContract(row) ? tone(row.unrealized_pnl) : ""}`, text: (row) => (isContract(row) ? `${result(row, row.unrealized_pnl)}${percent(row)}` : NOTHING) },
    { className: (row) => `number ${isContract(row) ? tone(row.realized_pnl) : ""}`, text: (row) => result(row, row.realized_pnl) },
    { className: "number", build: (row) => exitsCell(row, actions, exits, (order) => (trails(order.type) ? triggerText(order) : price(row, order.stop_price))) },
    { className: "cell-wide", build: (row) => actionCell(row, actions) },
  ];
  return new Table({ pane, columns, rows: () => chosen(positions.rows()).filter((row) => markets.has(row.symbol)) });
}

/** The market, a link to it, and the leverage as a button of its own. */
function nameCell(first, actions) {
  const element = document.createElement("span");
  element.className = "position-name";
  const link = element.appendChild(document.createElement("a"));
  link.href = `/trade/${encodeURIComponent(first.symbol)}`;
  link.textContent = first.symbol;
  if (!isContract(first)) return { element, update: () => {} };
  let shown = first;
  const badge = element.appendChild(button("", "leverage-badge number"));
  badge.addEventListener("click", () => actions.leverage(shown.symbol, shown.leverage));
  const update = (row) => {
    shown = row;
    setText(badge, `${row.leverage}×`);
    badge.setAttribute("aria-label", interpolate(gettext("Leverage of %s: %s×. Change it."), [row.symbol, row.leverage]));
  };
  return { element, update };
}

/** The margin, how much of it the position needs to live, and the buttons for more and for less. */
function marginCell(first, actions, text) {
  const element = document.createElement("span");
  element.className = "position-margin";
  const figures = element.appendChild(document.createElement("span"));
  if (!isContract(first)) {
    figures.textContent = NOTHING;
    return { element, update: () => {} };
  }
  const figure = figures.appendChild(document.createElement("span"));
  const ratio = figures.appendChild(document.createElement("span"));
  ratio.title = gettext("Maintenance margin by margin and unrealised result: at 100% the position is liquidated.");
  let shown = first;
  const buttons = element.appendChild(document.createElement("span"));
  for (const [direction, words, name] of [["add", "+", gettext("Add margin to %s")], ["remove", "−", gettext("Take margin out of %s")]]) {
    const change = buttons.appendChild(button(words, "margin-button"));
    change.setAttribute("aria-label", interpolate(name, [first.symbol]));
    change.addEventListener("click", () => actions.margin(shown, direction));
  }
  const update = (row) => {
    shown = row;
    setText(figure, text(row));
    setText(ratio, ratioText(row.margin_ratio));
    ratio.className = `margin-ratio ${ratioLook(row.margin_ratio)}`;
  };
  return { element, update };
}

const ratioText = (ratio) => (ratio === null ? `(${NOTHING})` : `(${new Big(ratio).times(100).round(1, UP).toFixed(1)}%)`);
const ratioLook = (ratio) => (ratio === null || new Big(ratio).gte(RATIO_BAD) ? "bad" : new Big(ratio).gte(RATIO_WARNS) ? "warns" : "muted");

/** Take profit and stop loss, one below the other, as a button to change them. */
function exitsCell(first, actions, exits, text) {
  const element = document.createElement("span");
  if (!isContract(first)) {
    element.textContent = NOTHING;
    return { element, update: () => {} };
  }
  const open = element.appendChild(button("", "exits-button"));
  const lines = { profit: document.createElement("span"), loss: document.createElement("span") };
  open.append(lines.profit, lines.loss);
  open.addEventListener("click", () => actions.exiting.open(first));
  const said = (orders) => (orders.length ? `${text(orders[0])}${orders.length > 1 ? ` +${orders.length - 1}` : ""}` : NOTHING);
  const update = (row) => {
    const found = exits.of(row);
    const [profit, loss] = [said(found.profit), said(found.loss)];
    setText(lines.profit, interpolate(gettext("TP %s"), [profit]));
    setText(lines.loss, interpolate(gettext("SL %s"), [loss]));
    open.setAttribute("aria-label", interpolate(gettext("Take profit %s and stop loss %s of %s. Change them."), [profit, loss, row.symbol]));
  };
  return { element, update };
}

function actionCell(first, actions) {
  const element = document.createElement("span");
  if (!isContract(first)) return { element, update: () => {} };
  element.className = "position-actions";
  const buttons = [];
  const error = document.createElement("p");
  error.className = "field-error";
  error.setAttribute("role", "alert");
  let shown = first;
  const act = async (work) => {
    setText(error, "");
    for (const one of buttons) one.disabled = true;
    try {
      await work(shown);
    } catch (refusal) {
      if (refusal.code === undefined) throw refusal;
      setText(error, refusal.message);
    } finally {
      for (const one of buttons) one.disabled = false;
    }
  };
  for (const [words, name, work] of [
    [pgettext("position", "Close"), gettext("Close the position in %s"), (row) => actions.closing.open(row)],
    [gettext("Reverse"), gettext("Reverse the position in %s"), (row) => actions.reverse(row)],
  ]) {
    const one = element.appendChild(button(words, "cancel"));
    one.setAttribute("aria-label", interpolate(name, [first.symbol]));
    one.addEventListener("click", () => act(work));
    buttons.push(one);
  }
  element.append(error);
  return { element, update: (row) => { shown = row; } };
}

/** Open positions, without what is merely held. */
export const openPositions = (rows) => rows.filter(isContract);
