/* The Positions tab: positions in contracts with what may be done to each, and spot holdings beside them. */
import Big from "../../vendor/big/big.mjs";
import { grouped } from "../numbers.js";
import { setText } from "./frame.js";
import { Table } from "./table.js";

const NOTHING = "–";
const isContract = (row) => row.kind === "PERP";
const sign = (text) => (text === null || text === undefined ? 0 : new Big(text).cmp(0));
const tone = (text) => ({ 1: "up", "-1": "down" }[sign(text)] ?? "");
const signed = (text) => `${sign(text) > 0 ? "+" : ""}${grouped(text)}`;

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

/** @param chosen function that leaves of rows what the filter of the panel shows */
export function positionTable({ pane, markets, positions, actions, chosen }) {
  const number = { className: "number" };
  const market = (row) => markets.get(row.symbol);
  const price = (row, value) => (value === null || value === undefined ? NOTHING : grouped(market(row)?.price(value) ?? String(value)));
  const cents = (row, value) => (value === null || value === undefined ? null : new Big(value).round(Math.min(market(row).quoteDecimals, 2), 0).toFixed(2));
  const size = (row) => grouped(market(row).quantity(String(row.quantity).replace("-", "")));
  const result = (row, value) => (isContract(row) && value !== null ? signed(cents(row, value)) : NOTHING);
  const percent = (row) => (row.roe === null ? "" : ` (${signed(new Big(row.roe).times(100).round(2, 0).toFixed(2))}%)`);
  const columns = [
    { build: (row) => nameCell(row, actions) },
    { text: positionWord, className: (row) => (isContract(row) ? (row.isShort ? "down" : "up") : "") },
    { ...number, text: (row) => `${size(row)} ${market(row).base}` },
    { ...number, text: (row) => (isContract(row) ? price(row, row.entry_price) : price(row, row.avg_price)) },
    { ...number, text: (row) => price(row, row.mark_price) },
    { className: (row) => `number${isContract(row) ? " liquidation" : ""}`, text: (row) => price(row, row.liquidation_price) },
    { className: "number", build: (row) => marginCell(row, actions, (shown) => grouped(cents(shown, shown.margin))) },
    { className: (row) => `number result ${isContract(row) ? tone(row.unrealized_pnl) : ""}`, text: (row) => (isContract(row) ? `${result(row, row.unrealized_pnl)}${percent(row)}` : NOTHING) },
    { className: (row) => `number ${isContract(row) ? tone(row.realized_pnl) : ""}`, text: (row) => result(row, row.realized_pnl ?? null) },
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

function marginCell(first, actions, text) {
  const element = document.createElement("span");
  element.className = "position-margin";
  const figure = element.appendChild(document.createElement("span"));
  if (!isContract(first)) {
    figure.textContent = NOTHING;
    return { element, update: () => {} };
  }
  let shown = first;
  for (const [direction, words, name] of [["remove", "−", gettext("Take margin out of %s")], ["add", "+", gettext("Add margin to %s")]]) {
    const change = element.appendChild(button(words, "margin-button"));
    change.setAttribute("aria-label", interpolate(name, [first.symbol]));
    change.addEventListener("click", () => actions.margin(shown, direction));
  }
  const update = (row) => {
    shown = row;
    setText(figure, text(row));
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
    [pgettext("position", "Close"), gettext("Close the position in %s"), (row) => actions.close(row)],
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

/** What stands in the count of the tab: open positions, without what is merely held. */
export const openPositions = (rows) => rows.filter(isContract).length;
