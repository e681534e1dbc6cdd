/* Short notices that can be read again: each also goes into the Messages tab and to the screen reader. */
const SHOWN_MS = 6000;
const SHOWN_MAX = 4;
const LOGGED_MAX = 200;

const clock = new Intl.DateTimeFormat(document.documentElement.lang, { timeStyle: "medium", hourCycle: "h23" });

/** @param kind "good", "bad" or "plain" */
export function toast(text, kind = "plain") {
  log(text, kind);
  announce(text);
  const area = document.getElementById("toasts");
  const element = document.createElement("div");
  element.className = "toast";
  element.dataset.kind = kind;
  const paragraph = document.createElement("p");
  paragraph.textContent = text;
  const close = document.createElement("button");
  close.type = "button";
  close.textContent = "×";
  close.setAttribute("aria-label", gettext("Close"));
  close.addEventListener("click", () => element.remove());
  element.append(paragraph, close);
  area.append(element);
  while (area.children.length > SHOWN_MAX) area.firstElementChild.remove();
  setTimeout(() => element.remove(), SHOWN_MS);
}

/** Say something once, politely. */
export function announce(text) {
  document.getElementById("announcer").textContent = text;
}

function log(text, kind) {
  const body = document.querySelector("#pane-log tbody");
  const row = body.insertRow(0);
  row.insertCell().textContent = clock.format(new Date());
  const cell = row.insertCell();
  cell.textContent = text;
  cell.className = kind === "bad" ? "bad" : "";
  while (body.rows.length > LOGGED_MAX) body.deleteRow(-1);
  document.querySelector("#pane-log .pane-empty").hidden = true;
}
