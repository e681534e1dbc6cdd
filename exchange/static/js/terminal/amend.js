/* Changes one figure of an open order where it stands: a button that becomes a small form, and says what became of it. */
import Big from "../../vendor/big/big.mjs";
import { call } from "../api.js";
import { setText } from "./frame.js";
import { amendRefusal, sideWord } from "./order_words.js";
import { toast } from "./toasts.js";

let opened = null; // one form at a time
let count = 0;

const part = (parent, name, properties) => parent.appendChild(Object.assign(document.createElement(name), properties));

export class AmendCell {
  /**
   * @param figure what is changed:
   *   field: the API's name of it; name: what people call it
   *   may(order): whether the order takes a change of it
   *   before(order), text(order): what stands before the figure, and the figure, as they are read
   *   typed(order): the figure as it is typed; wire(order, typed): as the API takes it
   *   fault(order, typed): what is wrong with what was typed, in words, or null
   *   stepped(order, typed, steps): the figure moved by so many steps, or null
   * @param onAmended called with the order as the exchange then has it
   */
  constructor(order, figure, onAmended) {
    Object.assign(this, { order, figure, onAmended, pending: null });
    this.element = document.createElement("span");
    this.element.className = "amend";
    this.line = part(this.element, "span", { className: "amend-line" });
    this.before = part(this.line, "span", {});
    this.plain = part(this.line, "span", {});
    this.button = part(this.line, "button", { type: "button", className: "amend-value" });
    this.#makeForm();
    this.error = part(this.element, "span", { className: "field-error amend-error", id: `amend-error-${(count += 1)}` });
    this.error.setAttribute("role", "alert");
    for (const element of [this.button, this.input]) element.setAttribute("aria-describedby", this.error.id);
    this.button.addEventListener("click", () => this.open());
    this.update(order);
  }

  #makeForm() {
    this.form = part(this.line, "form", { className: "amend-form", noValidate: true, hidden: true });
    this.input = part(this.form, "input", { className: "number", inputMode: "decimal", maxLength: 41, autocomplete: "off" });
    part(this.form, "button", { type: "submit", className: "amend-send" }).setAttribute("aria-label", gettext("Change"));
    const back = part(this.form, "button", { type: "button", className: "amend-back" });
    back.setAttribute("aria-label", gettext("Leave it as it is"));
    back.addEventListener("click", () => this.close());
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.form.addEventListener("keydown", (event) => this.#key(event));
    this.form.addEventListener("focusout", ({ relatedTarget }) => {
      if (!this.form.contains(relatedTarget) && this.input.value.trim() === this.figure.typed(this.order)) this.close({ focus: false });
    });
  }

  get isOpen() {
    return opened === this;
  }

  get mayOpen() {
    return this.pending === null && this.figure.may(this.order);
  }

  /** Show the order as it is now; what is being typed stays, unless the order takes no change any more. */
  update(order) {
    this.order = order;
    if (this.pending?.isTaken && this.#isAnswered()) this.#settle();
    if (this.isOpen && !this.figure.may(order)) this.close();
    this.#paint();
  }

  open() {
    if (!this.mayOpen) return;
    opened?.close({ focus: false });
    opened = this;
    this.#tell("");
    this.input.value = this.figure.typed(this.order);
    this.input.setAttribute("aria-label", interpolate(gettext("New %s"), [this.figure.name.toLowerCase()]));
    this.#paint();
    this.input.focus();
    this.input.select();
  }

  close({ focus = true } = {}) {
    if (!this.isOpen) return;
    opened = null;
    this.#tell("");
    this.#paint();
    if (focus) this.button.focus();
  }

  #key(event) {
    if (event.key === "Escape") this.close();
    else if (event.key === "ArrowUp" || event.key === "ArrowDown") {
      const steps = (event.key === "ArrowUp" ? 1 : -1) * (event.shiftKey ? 10 : 1);
      this.input.value = this.figure.stepped(this.order, this.input.value.trim(), steps) ?? this.input.value;
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }

  async #submit() {
    const { order, figure } = this;
    const typed = this.input.value.trim();
    if (typed === figure.typed(order)) {
      this.close();
      return;
    }
    const fault = figure.fault(order, typed);
    this.#tell(fault ?? "");
    if (fault) {
      this.input.focus();
      return;
    }
    this.close();
    this.pending = { typed, isTaken: false };
    this.#paint();
    try {
      const { data, message, status } = await call("PUT", `/orders/${order.order_id}`, { [figure.field]: figure.wire(order, typed) });
      toast(message, "good");
      this.pending = status === 202 ? { typed, isTaken: true } : null;
      this.onAmended(data);
    } catch (error) {
      this.pending = null;
      if (error.code === undefined) throw error;
      const { error: name, reason } = error.data;
      this.#refused(name === "AMEND_REFUSED" ? amendRefusal(reason) : [error.fields[figure.field] ?? error.message].flat().join(" "));
    } finally {
      this.#paint();
    }
  }

  /** Whether an order tells what became of a change that the exchange had not decided when it answered. */
  #isAnswered() {
    return Boolean(this.order.amend_refusal) || !this.figure.may(this.order) || new Big(this.pending.typed).eq(this.figure.typed(this.order));
  }

  #settle() {
    this.pending = null;
    if (this.order.amend_refusal) this.#refused(amendRefusal(this.order.amend_refusal));
  }

  /** The figure is what it was; why stands beside it. */
  #refused(words) {
    toast(words, "bad");
    this.#tell(words);
    if (document.activeElement === document.body) this.button.focus();
  }

  #tell(words) {
    setText(this.error, words);
    this.input.setAttribute("aria-invalid", String(words !== "" && this.isOpen));
  }

  #paint() {
    const { order, figure, pending } = this;
    const may = figure.may(order);
    const text = pending ? figure.read(order, pending.typed) : figure.text(order);
    setText(this.before, figure.before(order));
    setText(this.plain, may ? "" : text);
    setText(this.button, may ? text : "");
    this.button.hidden = !may || this.isOpen;
    this.before.hidden = this.isOpen;
    this.form.hidden = !this.isOpen;
    this.button.classList.toggle("is-pending", pending !== null);
    this.button.setAttribute("aria-disabled", String(pending !== null));
    const words = pending ? gettext("%s %s is being changed (%s, %s)") : gettext("Change %s %s (%s, %s)");
    this.button.setAttribute("aria-label", interpolate(words, [figure.name.toLowerCase(), text, order.symbol, sideWord(order.side)]));
  }
}
