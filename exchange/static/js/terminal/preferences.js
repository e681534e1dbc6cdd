/* What the terminal remembers in this browser. */
const KEY = "exchange.preferences";

function load() {
  try {
    return JSON.parse(localStorage.getItem(KEY)) || {};
  } catch {
    return {};
  }
}

const kept = load();

export const preference = (name, fallback) => kept[name] ?? fallback;

export function remember(name, value) {
  kept[name] = value;
  try {
    localStorage.setItem(KEY, JSON.stringify(kept));
  } catch {
    /* Storage is full or forbidden: the choice then lasts as long as the page. */
  }
}
