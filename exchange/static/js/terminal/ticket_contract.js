/* What the ticket says more on a contract: the leverage, what an order may cost of it, and the exchange's own preview. */
import Big from "../../vendor/big/big.mjs";
import { decimalsOf, grouped, trimmed } from "../numbers.js";
import { setText } from "./frame.js";
import { OrderPreview, thinText } from "./order_preview.js";
import { signed, sizeText, tone } from "./position_words.js";
import { amount, preview } from "./ticket_rules.js";

const ROUNDINGS = 3; // margin, fee and open loss are each rounded up
const NOTHING = "–";
const byId = (id) => document.getElementById(id);
const isKnown = (value) => value !== null && value !== undefined;
const isPositive = (value) => isKnown(value) && new Big(value).gt(0);

/** Whether the ticket says so already, since the order was sent. */
const isTold = (words) => words !== undefined && [...document.querySelectorAll("#ticket .field-error:not(#preview-refusal)")].some((element) => element.textContent === words);

/** A line of the preview that stands there only when it says something. */
function row(id, text) {
  byId(`${id}-row`).hidden = text === null;
  setText(byId(id), text ?? NOTHING);
}

function effectText(intent, closes, opens) {
  if (intent === "reverse") return interpolate(gettext("Reverses: closes %s, opens %s"), [closes, opens]);
  if (intent === "reduce") return interpolate(gettext("Closes %s"), [closes]);
  return intent === "increase" ? interpolate(gettext("Opens %s"), [opens]) : NOTHING;
}

export class TicketContract {
  /**
   * @param market {book, lastPrice(), markPrice(), watchedPrice(draft)} as the page knows it now
   * @param onAnswer called when the exchange has answered
   */
  constructor({ instrument, market, positions, actions, onAnswer }) {
    Object.assign(this, { instrument, market, positions, asked: new OrderPreview(onAnswer) });
    this.button = byId("leverage-button");
    this.button?.addEventListener("click", () => actions.leverage(instrument.symbol, this.leverage));
  }

  get position() {
    return this.positions.of(this.instrument.symbol);
  }

  get leverage() {
    return this.position?.leverage ?? 1;
  }

  /**
   * Show what an order would cost, margin, hold and risk; ask the exchange when that may have changed.
   * @param request what would be sent; null while the ticket is not complete
   */
  show(draft, request, available) {
    if (this.button) setText(this.button, this.position ? `${this.leverage}×` : NOTHING);
    this.asked.want(this.button ? request : null, this.position?.version, available);
    this.#paint(draft);
  }

  #paint(draft) {
    const { instrument, market } = this;
    const { answer } = this.asked;
    const { quote } = instrument;
    const ladder = draft.type === "market" ? market.book.ladder(draft.side === "buy" ? "sell" : "buy") : [];
    const own = preview(draft, instrument, ladder, market.watchedPrice(draft));
    const fees = [answer?.maker_fee, answer?.taker_fee].filter(isKnown);
    const fee = fees.length ? fees.reduce((most, one) => (new Big(one).gt(most) ? one : most)) : own?.fee;
    const money = (value) => (isKnown(value) ? amount(trimmed(value), quote) : NOTHING);
    setText(byId("preview-notional"), money(answer?.cost ?? own?.notional));
    setText(byId("preview-rate"), own ? `(${own.rate.times(100).toFixed()}%)` : "");
    setText(byId("preview-fee"), money(fee));
    setText(byId("preview-margin"), money(answer?.margin));
    setText(byId("preview-total"), money(answer?.hold));
    const liquidation = answer?.liquidation_price;
    setText(byId("preview-liquidation"), isKnown(liquidation) ? amount(grouped(instrument.price(liquidation)), quote) : NOTHING);
    setText(byId("preview-refusal"), isTold(answer?.refusal?.message) ? "" : answer?.refusal?.message ?? "");
    row("preview-loss", isPositive(answer?.open_loss) ? money(answer.open_loss) : null);
    this.#paintEffect(draft, answer);
    this.#paintNote(draft, answer);
  }

  /** What an order opens and closes of the position, what it reserves of it, and what closing would bring. */
  #paintEffect(draft, answer) {
    const { instrument, position } = this;
    const size = (value) => sizeText(value, instrument);
    const [closes, opens] = [answer?.reduce_quantity, answer?.increase_quantity];
    setText(byId("preview-effect"), effectText(answer?.intent, isKnown(closes) && size(closes), isKnown(opens) && size(opens)));
    const isClosing = isPositive(closes);
    row("preview-reserved", isClosing ? (draft.reduce_only ? gettext("none (reduce-only)") : size(closes)) : null);
    const result = isClosing && isKnown(answer.position) ? new Big(answer.position.realized_pnl).minus(position?.realized_pnl ?? 0).toFixed() : null;
    row("preview-result", result === null ? null : `${signed(result)} ${instrument.quote}`);
    byId("preview-result").className = `number ${tone(result)}`;
  }

  #paintNote(draft, answer) {
    const { instrument, position } = this;
    const notes = [];
    const closes = position && new Big(position.quantity).gt(0) === (draft.side === "sell");
    if (closes && isPositive(answer?.increase_quantity) && isPositive(position.reserved_quantity)) {
      notes.push(interpolate(gettext("Other orders are to close %s of the position: if this one fills first, it closes that instead of opening."), [sizeText(position.reserved_quantity, instrument)]));
    }
    if (answer?.is_clamped) {
      const price = amount(grouped(instrument.price(answer.worst_price)), instrument.quote);
      notes.push(interpolate(gettext("It trades no further than %s, where the position's margin would be used up."), [price]));
    }
    const thin = thinText(answer, instrument);
    if (thin) notes.push(thin);
    if (answer?.needs_review) notes.push(gettext("It would wait until a person has looked at it."));
    setText(byId("preview-note"), notes.join(" "));
    byId("preview-note").hidden = notes.length === 0;
  }

  /** The largest quantity of whole lots that a share of what is available opens, or that a share of a position closes. */
  affordable({ draft, available, percent, price }) {
    if (draft.reduce_only) return this.#closable(draft.side, percent);
    if (!available || !price || new Big(price).lte(0)) return null;
    const { instrument } = this;
    const rate = [instrument.makerFeeRate, instrument.takerFeeRate].map((text) => new Big(text)).reduce((most, one) => (one.gt(most) ? one : most));
    const mark = this.market.markPrice() ?? price;
    const behind = draft.side === "buy" ? new Big(price).minus(mark) : new Big(mark).minus(price);
    const unit = new Big(price).times(rate).plus(new Big(price).div(this.leverage)).plus(behind.gt(0) ? behind : 0);
    const each = unit.times(instrument.contractSize);
    const quanta = new Big(10).pow(-instrument.quoteDecimals).times(ROUNDINGS);
    return this.#lots(new Big(available).times(percent).div(100).minus(quanta).div(each));
  }

  #closable(side, percent) {
    const held = new Big(this.position?.quantity ?? 0);
    if (held.eq(0) || held.gt(0) === (side === "buy")) return "0";
    return this.#lots(held.abs().times(percent).div(100));
  }

  #lots(quantity) {
    const { lotSize } = this.instrument;
    if (quantity.lte(0)) return "0";
    return quantity.div(lotSize).round(0, 0).times(lotSize).toFixed(decimalsOf(lotSize));
  }
}
