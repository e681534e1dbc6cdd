/* The keyboard map. Keys are off while typing and while a dialog is open; `?` lists them. */
import { tinykeys } from "../../vendor/tinykeys/tinykeys.mjs";

const ARROWS = ["ArrowUp", "ArrowDown"];
const typing = (target) => target.closest?.("input:not([type=radio]):not([type=range]):not([type=checkbox]), select, textarea, [contenteditable]");

/** Arrows belong first to what has the focus: a slider, a choice, a row of the book. */
const ignored = (event) => event.isComposing
  || (event.repeat && !ARROWS.includes(event.key))
  || typing(event.target)
  || (ARROWS.includes(event.key) && event.target.closest?.("input, tr, [role=tab]"))
  || document.querySelector("dialog[open]") !== null;

/** @param actions the functions that keys call, by the names used below */
export function bindKeys(actions) {
  const key = (act) => (event) => {
    event.preventDefault();
    act(event);
  };
  const enter = (event) => {
    if (!event.target.closest("button, a, tr, input, summary")) actions.send();
  };
  const showKeys = () => document.getElementById("keys-dialog").showModal();
  document.getElementById("keys-button").addEventListener("click", showKeys);
  tinykeys(window, {
    "[Shift]+/": key(actions.chooseMarket),
    "$mod+k": key(actions.chooseMarket),
    b: key(() => actions.side("buy")),
    s: key(() => actions.side("sell")),
    l: key(() => actions.type("limit")),
    m: key(() => actions.type("market")),
    o: key(() => actions.type("stop_limit")),
    "Shift+O": key(() => actions.type("stop")),
    t: key(() => actions.type("take_profit_limit")),
    "Shift+T": key(() => actions.type("take_profit")),
    d: key(() => actions.type("trailing_stop")),
    p: key(actions.postOnly),
    r: key(actions.reduceOnly),
    "Shift+C": key(actions.closePosition),
    v: key(actions.validity),
    a: key(actions.advanced),
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
    e: key(actions.amendLast),
    x: key(actions.cancelLast),
    "Shift+X": key(actions.cancelAll),
    "[": key(() => actions.interval(-1)),
    "]": key(() => actions.interval(1)),
    g: key(actions.grouping),
    q: key(actions.readQuote),
    "[Shift]+?": key(showKeys),
  }, { ignore: ignored });
}
