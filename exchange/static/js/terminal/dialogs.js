/* A dialog keeps the focus: Tab goes round inside it. The browser does the rest: Escape closes, the focus goes back. */
const STOPS = "a[href], button, input, select, textarea, summary, [tabindex]";

/** Of a group of radio buttons only the chosen one is a stop. */
const isOtherChoice = (element, dialog) => element.type === "radio" && !element.checked && dialog.querySelector(`[name="${element.name}"]:checked`) !== null;

export function keepFocusInDialogs() {
  for (const dialog of document.querySelectorAll("dialog")) {
    dialog.addEventListener("keydown", (event) => {
      if (event.key !== "Tab") return;
      const stops = [...dialog.querySelectorAll(STOPS)].filter((element) => !element.disabled && element.tabIndex >= 0 && element.checkVisibility() && !isOtherChoice(element, dialog));
      const [from, to] = event.shiftKey ? [stops[0], stops.at(-1)] : [stops.at(-1), stops[0]];
      if (document.activeElement !== from) return;
      event.preventDefault();
      to.focus();
    });
  }
}
