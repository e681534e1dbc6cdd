/* Closing every position at the market: says first which, then what became of each. */
import { call } from "../api.js";
import { setText } from "./frame.js";
import { newIntent } from "./intent.js";
import { positionText, resultText, sizeText, tone } from "./position_words.js";
import { toast } from "./toasts.js";

const [CLOSED_MS, LATE_MS] = [10_000, 60_000];
const byId = (id) => document.getElementById(id);

const part = (parent, name, className, text = "") => parent.appendChild(Object.assign(document.createElement(name), { className, textContent: text }));

export class CloseAllDialog {
  /** @param exits what waits to close positions, kept apart */
  constructor({ markets, positions, exits }) {
    Object.assign(this, { markets, positions, exits, lines: new Map(), isSending: false });
    this.dialog = byId("close-all-dialog");
    byId("close-all-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
    byId("close-all-back").addEventListener("click", () => this.dialog.close());
    this.dialog.addEventListener("close", () => this.unfollow?.());
  }

  /** @param symbols of the positions that are meant */
  open(symbols) {
    if (!symbols.length || this.isSending) return;
    this.lines = new Map(symbols.map((symbol) => [symbol, { intent: newIntent(), ...this.#line(symbol) }]));
    byId("close-all-list").replaceChildren(...[...this.lines.values()].map((line) => line.element));
    byId("close-all-exits").checked = true;
    byId("close-all-exits-field").hidden = !symbols.some((symbol) => this.exits.count(this.positions.open(symbol)) > 0);
    this.#offer({ isDone: false });
    this.#paint();
    this.unfollow = this.positions.follow(() => this.#paint());
    this.dialog.showModal();
    byId("close-all-yes").focus();
  }

  #line(symbol) {
    const element = document.createElement("li");
    element.dataset.symbol = symbol;
    part(element, "strong", "", symbol);
    const [what, result, outcome] = ["close-all-what", "number", "close-all-outcome"].map((name) => part(element, "span", name));
    outcome.setAttribute("role", "status"); // only what becomes of a position is said aloud, not its results meanwhile
    return { element, what, result, outcome };
  }

  /** What is said of a position stays when it is gone: it is what was closed. */
  #paint() {
    for (const [symbol, line] of this.lines) {
      const position = this.positions.open(symbol);
      if (!position || line.isSent) continue;
      const market = this.markets.get(symbol);
      setText(line.what, positionText(position, market));
      setText(line.result, position.unrealized_pnl === null ? "" : resultText(position.unrealized_pnl, position.margin, market.quote));
      line.result.className = `number ${tone(position.unrealized_pnl)}`;
    }
  }

  #offer({ isDone }) {
    byId("close-all-yes").hidden = isDone;
    byId("close-all-yes").disabled = this.isSending;
    setText(byId("close-all-back"), isDone ? gettext("Done") : gettext("Back"));
  }

  async #send() {
    if (this.isSending) return;
    this.isSending = true;
    this.#offer({ isDone: false });
    const alsoExits = !byId("close-all-exits-field").hidden && byId("close-all-exits").checked;
    try {
      await Promise.all([...this.lines].map(([symbol, line]) => this.#close(symbol, line, alsoExits)));
    } finally {
      this.isSending = false;
      this.#offer({ isDone: true });
      if (this.dialog.open) byId("close-all-back").focus();
    }
  }

  async #close(symbol, line, alsoExits) {
    const tell = (words, kind) => {
      setText(line.outcome, words);
      line.outcome.classList.toggle("bad", kind === "bad");
    };
    line.isSent = true;
    tell(gettext("Sending…"));
    try {
      await call("POST", `/positions/${encodeURIComponent(symbol)}/close`, { client_order_id: line.intent });
    } catch (error) {
      if (error.code === undefined) throw error;
      tell(error.message, "bad");
      toast(`${symbol}: ${error.message}`, "bad");
      return;
    }
    if (alsoExits) this.exits.cancelWhenClosed(symbol);
    const isClosed = await this.positions.closed(symbol, CLOSED_MS);
    const left = () => sizeText(this.positions.open(symbol)?.quantity ?? "0", this.markets.get(symbol));
    tell(isClosed ? pgettext("position", "Closed") : interpolate(gettext("Sent; %s still open."), [left()]));
    toast(`${symbol}: ${line.outcome.textContent}`, isClosed ? "good" : "plain");
    if (!isClosed) this.positions.closed(symbol, LATE_MS).then((late) => late && tell(pgettext("position", "Closed")));
  }
}
