/* The connection light, and the banner that says when what is shown may be old. */
import { setText } from "./frame.js";
import { announce } from "./toasts.js";

const byId = (id) => document.getElementById(id);

export class Status {
  constructor() {
    this.state = "connecting";
  }

  show({ state, latencyMs }) {
    byId("connection").dataset.state = state;
    setText(byId("connection-text"), this.#words(state, latencyMs));
    if (state === this.state) return;
    const lost = state === "offline" || state === "stale";
    const wasLost = this.state === "offline" || this.state === "stale";
    this.state = state;
    document.body.classList.toggle("is-stale", lost);
    if (lost) this.#banner(gettext("The connection is lost. What is shown may be old; reconnecting."));
    else if (!this.isFailing) this.#banner("");
    if (lost && !wasLost) announce(gettext("The connection is lost."));
    if (wasLost && state === "live") announce(gettext("Connected again."));
  }

  /** Reading over REST failed and is tried again. */
  failed() {
    this.isFailing = true;
    this.#banner(gettext("Some data could not be read; trying again."));
  }

  recovered() {
    if (this.isFailing && this.state === "live") this.#banner("");
    this.isFailing = false;
  }

  #banner(text) {
    byId("banner").hidden = text === "";
    setText(byId("banner"), text);
  }

  #words(state, latencyMs) {
    if (state === "live") return interpolate(gettext("Live, %s ms"), [latencyMs]);
    return { connecting: gettext("Connecting"), stale: gettext("Stale"), offline: gettext("Offline") }[state];
  }
}
