/* The part of the ticket that says how an order behaves: time in force, end, post-only, visible part, own orders. */
import { setText } from "./frame.js";
import { mayPostOnly, rests, timesAllowed } from "./order_words.js";

const DAY_MS = 86_400_000;
const byId = (id) => document.getElementById(id);

export class TicketTerms {
  /** @param orderForm the form of an order by the OpenAPI document */
  constructor(form, orderForm) {
    Object.assign(this, { fields: form.elements, chosen: new Map(), group: null, supported: orderForm.words("time_in_force") });
    this.advanced = byId("advanced");
  }

  /** What is asked for, of a draft with its type; what does not go with it is left out. */
  read(type) {
    const { time_in_force: time, expires_at: end, post_only: post, display_quantity: part, self_trade_prevention: own } = this.fields;
    const terms = { type, time_in_force: time.value };
    return {
      time_in_force: time.value,
      expires_at: time.value === "gtd" ? end.value : "",
      post_only: post.checked && mayPostOnly(terms),
      display_quantity: rests(terms) ? part.value.trim() : "",
      self_trade_prevention: own.value,
      trigger_by: this.fields.trigger_by.value,
    };
  }

  /** Offer what goes with a type, and take up again what was chosen for such a type before. */
  offer(type) {
    const allowed = timesAllowed(type).filter((time) => this.supported?.includes(time) ?? true);
    const field = this.fields.time_in_force;
    for (const option of field.options) option.hidden = option.disabled = !allowed.includes(option.value);
    const group = String(allowed);
    if (group !== this.group) field.value = this.chosen.get(group) ?? allowed[0];
    this.group = group;
    this.chosen.set(group, field.value);
    if (field.value === "gtd" && !this.fields.expires_at.value) this.fields.expires_at.value = localText(Date.now() + DAY_MS);
    byId("validity-field").hidden = allowed.length < 2;
    byId("expires-at-field").hidden = field.value !== "gtd";
    const terms = { type, time_in_force: field.value };
    this.fields.post_only.disabled = byId("post-only-field").hidden = !mayPostOnly(terms);
    byId("display-quantity-field").hidden = !rests(terms);
    this.#summarize(type);
  }

  /** What stands in the closed part is told on its head, so that nothing is forgotten there. */
  #summarize(type) {
    const { post_only: post, display_quantity: part, self_trade_prevention: own } = this.read(type);
    const words = [];
    if (post) words.push(gettext("Post-only"));
    if (part) words.push(interpolate(gettext("Iceberg %s"), [part]));
    if (own !== "none") words.push(interpolate(gettext("Own order: %s"), [this.fields.self_trade_prevention.selectedOptions[0].textContent]));
    setText(byId("advanced-summary"), words.join(" · "));
  }

  /** Choose the next time in force that is offered. @returns its field */
  nextTime() {
    const field = this.fields.time_in_force;
    const offered = [...field.options].filter((option) => !option.disabled);
    field.value = offered[(offered.findIndex((option) => option.selected) + 1) % offered.length].value;
    return field;
  }

  /** A fault in the closed part would be invisible. */
  reveal(names) {
    if (names.some((name) => this.advanced.contains(this.fields[name] ?? null))) this.advanced.open = true;
  }
}

/** A moment as the field takes it: local time to the minute. */
function localText(milliseconds) {
  const zone = new Date(milliseconds).getTimezoneOffset() * 60_000;
  return new Date(milliseconds - zone).toISOString().slice(0, 16);
}

/** Local time of the field as RFC 3339 in UTC; null when it is none. */
export function utcText(local) {
  const moment = new Date(local);
  return Number.isNaN(moment.getTime()) ? null : moment.toISOString();
}
