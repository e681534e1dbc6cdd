/* The keyboard map. Keys are off while typing and while a dialog is open; `?` lists them. */
import { tinykeys } from "../../vendor/tinykeys/tinykeys.mjs";

const typing = (target) => target.closest?.("input:not([type=radio]):not([type=range]), select, textarea, [contenteditable]");

/** @param actions the functions that keys call, by the names used below */
export function bindKeys(actions) {
  const key = (act) => (event) => {
    if (typing(event.target) || document.querySelector("dialog[open]")) return;
    event.preventDefault();
    act(event);
  };
  const enter = (event) => {
    if (!event.target.closest("button, a, summary, tr, input:not([type=radio]):not([type=range]), select, dialog")) actions.send();
  };
  const showKeys = () => document.getElementById("keys-dialog").showModal();
  document.getElementById("keys-button").addEventListener("click", showKeys);
  tinykeys(window, {
    "/": key(actions.chooseMarket),
    "$mod+k": key(actions.chooseMarket),
    b: key(() => actions.side("buy")),
    s: key(() => actions.side("sell")),
    l: key(() => actions.type("limit")),
    m: key(() => actions.type("market")),
    1: key(() => actions.share(25)),
    2: key(() => actions.share(50)),
    3: key(() => actions.share(75)),
    4: key(() => actions.share(100)),
    ArrowUp: key(() => actions.step(1)),
    ArrowDown: key(() => actions.step(-1)),
    "Shift+ArrowUp": key(() => actions.step(10)),
    "Shift+ArrowDown": key(() => actions.step(-10)),
    Enter: enter,
    Escape: key(actions.clear),
    x: key(actions.cancelLast),
    "Shift+X": key(actions.cancelAll),
    "[": key(() => actions.interval(-1)),
    "]": key(() => actions.interval(1)),
    g: key(actions.grouping),
    q: key(actions.readQuote),
    "Shift+?": key(showKeys),
  });
}
