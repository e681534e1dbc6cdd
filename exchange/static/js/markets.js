/* The market list: rows are served with the page, prices arrive live. */
import { items, read } from "./api.js";
import { Feed } from "./feed.js";
import { Instrument } from "./instrument.js";
import { stateWord } from "./states.js";
import { dayOf, paintDirection } from "./ticker.js";

const instruments = new Map();
/** Symbols of which a message has come: what was asked for earlier may be older, whenever the answer comes. */
const told = new Set();

function show(symbol, ticker) {
  const row = document.querySelector(`tr[data-symbol="${CSS.escape(symbol)}"]`);
  const instrument = instruments.get(symbol);
  if (!row || !instrument) return;
  const day = dayOf(instrument, ticker);
  for (const cell of row.querySelectorAll("[data-field]")) cell.textContent = day[cell.dataset.field];
  showState(row, ticker.state);
  paintDirection(row.querySelector('[data-field="change"]'), day.direction);
}

/** What is usual needs no words. */
function showState(row, state) {
  const badge = row.querySelector(".market-state");
  badge.hidden = state === "continuous";
  badge.dataset.state = state;
  badge.textContent = stateWord(state);
}

function onMessage(message) {
  if (message.type !== "ticker") return;
  told.add(message.symbol);
  show(message.symbol, message);
}

const feed = new Feed({
  onMessage,
  onState: ({ state }) => document.getElementById("markets").classList.toggle("muted", state === "offline"),
});

for (const row of items(await read("/instruments"))) instruments.set(row.symbol, new Instrument(row));
feed.subscribe([...instruments.keys()].map((symbol) => `ticker.${symbol}`));
feed.connect();
await Promise.all(
  [...instruments.keys()].map(async (symbol) => {
    const ticker = await read(`/ticker/${symbol}`);
    if (!told.has(symbol)) show(symbol, ticker);
  }),
);
