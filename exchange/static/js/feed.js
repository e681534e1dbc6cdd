/* The WebSocket: subscriptions that survive a lost connection, a heartbeat, and the state of both. */
const BACKOFF_MS_MIN = 500;
const BACKOFF_MS_MAX = 15000;
const PING_EVERY_MS = 5000;
const SILENT_MS_MAX = 12000;

export class Feed {
  #socket = null;
  #channels = new Set();
  #attempt = 0;
  #heardAt = 0;
  #pingedAt = 0;
  #timers = [];
  #requestId = 0;

  /**
   * @param onMessage called with every message that is not the feed's own
   * @param onState called with {state: "connecting" | "live" | "stale" | "offline", latencyMs}
   * @param onOpen called after each connect, when subscriptions are sent; `again` tells a reconnect
   */
  constructor({ onMessage, onState, onOpen = () => {} }) {
    this.onMessage = onMessage;
    this.onState = onState;
    this.onOpen = onOpen;
    this.connects = 0;
    addEventListener("online", () => this.#reconnectNow());
    addEventListener("offline", () => this.#socket?.close());
  }

  connect() {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    this.#socket = new WebSocket(`${scheme}://${location.host}/ws`);
    this.#socket.addEventListener("open", () => this.#opened());
    this.#socket.addEventListener("message", (event) => this.#received(JSON.parse(event.data)));
    this.#socket.addEventListener("close", () => this.#closed());
    if (this.connects === 0) this.onState({ state: "connecting", latencyMs: null });
  }

  subscribe(channels) {
    const added = channels.filter((channel) => !this.#channels.has(channel));
    added.forEach((channel) => this.#channels.add(channel));
    if (added.length) this.send({ action: "subscribe", channels: added });
  }

  unsubscribe(channels) {
    channels.forEach((channel) => this.#channels.delete(channel));
    this.send({ action: "unsubscribe", channels });
  }

  /** Leave a channel and join it again: the exchange then sends a new snapshot. */
  resubscribe(channel) {
    this.send({ action: "unsubscribe", channels: [channel] });
    this.send({ action: "subscribe", channels: [channel] });
  }

  send(message) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return;
    this.#requestId += 1;
    this.#socket.send(JSON.stringify({ ...message, id: this.#requestId }));
  }

  #opened() {
    this.#attempt = 0;
    this.#heardAt = performance.now();
    this.connects += 1;
    this.#timers = [setInterval(() => this.#beat(), PING_EVERY_MS)];
    this.#ping();
    this.onOpen({ again: this.connects > 1 });
    if (this.#channels.size) this.send({ action: "subscribe", channels: [...this.#channels] });
  }

  #ping() {
    this.#pingedAt = performance.now();
    this.send({ action: "ping" });
  }

  #beat() {
    const silentMs = performance.now() - this.#heardAt;
    if (silentMs > SILENT_MS_MAX) {
      this.onState({ state: "stale", latencyMs: null });
      this.#socket.close();
      return;
    }
    this.#ping();
  }

  #received(message) {
    this.#heardAt = performance.now();
    if (message.type === "pong") {
      this.onState({ state: "live", latencyMs: Math.round(this.#heardAt - this.#pingedAt) });
      return;
    }
    this.onMessage(message);
  }

  #closed() {
    this.#timers.forEach(clearInterval);
    this.#timers = [];
    this.onState({ state: "offline", latencyMs: null });
    const ceiling = Math.min(BACKOFF_MS_MAX, BACKOFF_MS_MIN * 2 ** this.#attempt);
    this.#attempt += 1;
    this.retry = setTimeout(() => this.connect(), ceiling / 2 + (Math.random() * ceiling) / 2);
  }

  #reconnectNow() {
    if (this.#socket?.readyState === WebSocket.CLOSED) {
      clearTimeout(this.retry);
      this.connect();
    }
  }
}
