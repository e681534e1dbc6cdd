/* What the ticket says of an order before it is sent: what its type does, what the market allows, what it would cost. */
import { trimmed } from "../numbers.js";
import { gathers, refusesOrders, stateNote } from "../states.js";
import { setText } from "./frame.js";
import { stateFaults } from "./market_state.js";
import { isLimited, isWaiting, trails } from "./order_words.js";
import { amount, bandTexts, preview, referenceOf, wakesAtOnce, worstPrice } from "./ticket_rules.js";

const byId = (id) => document.getElementById(id);

/** @param market {book, lastPrice(), watchedPrice(draft), state()} as the page knows it now */
export function showPreview(draft, instrument, market) {
  const { base, quote } = instrument;
  const watched = market.watchedPrice(draft);
  const ladder = draft.type === "market" ? market.book.ladder(draft.side === "buy" ? "sell" : "buy") : [];
  const cost = instrument.isContract ? null : preview(draft, instrument, ladder, watched);
  showState(market.state());
  showNote(draft, market.state(), wakesAtOnce(draft, watched));
  showBounds(draft, instrument, watched);
  if (instrument.isContract) {
    setText(byId("preview-notional-label"), valueLabel(draft));
    return; // the exchange says what a contract order costs: ticket_contract.js
  }
  const quoted = (name) => (cost ? amount(trimmed(cost[name]), quote) : "–");
  setText(byId("preview-notional-label"), draft.by_amount ? gettext("You buy, about") : valueLabel(draft));
  setText(byId("preview-notional"), draft.by_amount ? (cost ? amount(trimmed(cost.quantity), base) : "–") : quoted("notional"));
  setText(byId("preview-rate"), cost ? `(${cost.rate.times(100).toFixed()}%)` : "");
  setText(byId("preview-fee"), quoted("fee"));
  setText(byId("preview-total-label"), totalLabel(draft));
  setText(byId("preview-total"), quoted("total"));
}

/** What the market's state means for an order. */
function showState(state) {
  const words = stateNote(state);
  setText(byId("state-note"), words);
  byId("state-note").hidden = words === "";
  byId("state-note").classList.toggle("warns", refusesOrders(state));
}

/** What a type does, in a sentence, where its name does not say it. */
function showNote(draft, state, isThrough) {
  const barred = gathers(state) ? stateFaults(draft, state).ticket : undefined;
  const words = barred ?? (isThrough ? wakesNote(draft) : typeNote(draft));
  setText(byId("type-note"), words);
  byId("type-note").hidden = !words;
  byId("type-note").classList.toggle("warns", isThrough || barred !== undefined);
}

const wakesNote = ({ trigger_by: by }) => (by === "mark"
  ? gettext("The mark price is past the stop price already: this order wakes at once.")
  : gettext("The last price is past the stop price already: this order wakes at once."));

function typeNote({ type, by_amount: byAmount, time_in_force: time }) {
  if (trails(type)) return gettext("Its stop follows the price at this distance; when the price turns by so much, it fills at the best prices.");
  if (isWaiting(type) && isLimited(type)) return gettext("Waits for the stop price, then stands as a limit order.");
  if (isWaiting(type)) return gettext("Waits for the stop price, then fills at the best prices; what cannot fill is cancelled.");
  if (type !== "market") return "";
  if (byAmount) return gettext("Buys as much as the amount pays for at the best prices in the book, now; what is left of it comes back.");
  if (time === "fok") return gettext("Fills whole at the best prices in the book, now, or not at all.");
  return gettext("Fills at the best prices in the book, now; what cannot fill is cancelled.");
}

/** Between which prices a waiting order can trade: its band or worst price, both around its stop price. */
function showBounds(draft, instrument, watched) {
  const worst = isLimited(draft.type) ? null : worstPrice(instrument, draft.side, referenceOf(draft, watched, instrument));
  let text = worst === null ? "–" : amount(worst, instrument.quote);
  if (isLimited(draft.type)) {
    try {
      text = bandTexts(instrument, draft.stop_price || null).join(" – ");
    } catch {
      text = "–";
    }
    if (!draft.stop_price) text = "–";
  }
  byId("preview-bounds-row").hidden = draft.type === "limit";
  setText(byId("preview-bounds-label"), isLimited(draft.type) ? gettext("Price between") : gettext("Worst price"));
  setText(byId("preview-bounds"), text);
}

function valueLabel({ side, type }) {
  if (type === "market") return gettext("Order value, estimated");
  if (isLimited(type)) return gettext("Order value");
  return side === "buy" ? gettext("Order value, at most") : gettext("Order value, at least");
}

function totalLabel({ side, type, by_amount: byAmount }) {
  if (type === "market" && !byAmount) return side === "buy" ? gettext("You pay, about") : gettext("You receive, about");
  return side === "buy" ? gettext("You pay, at most") : gettext("You receive, at least");
}
