/* Statements: the slider through the life of the books, and explanations that go away with Escape.
   Without this script the date field does the same, and explanations stay until the reader leaves them. */
const SECOND_MS = 1000;

/** Write seconds since 1970 as a field of type datetime-local takes them, in UTC. */
function fieldValue(seconds) {
  return new Date(seconds * SECOND_MS).toISOString().slice(0, 19);
}

/** Ask for the statement as of what the date field says. */
function ask() {
  document.querySelector("form.asked").dispatchEvent(new Event("change", { bubbles: true }));
}

/** Join the slider and the date field; both are replaced with the statement that they ask for. */
function prepareSlider() {
  const slider = document.getElementById("slider");
  const field = document.querySelector("form.asked [name=at]");
  if (!slider || !field || slider.dataset.first === "0" || slider.dataset.ready) return;
  slider.dataset.ready = "yes";
  const range = document.getElementById("slider-at");
  const now = document.getElementById("slider-now");
  slider.hidden = false;
  range.addEventListener("input", () => {
    field.value = fieldValue(Number(range.value));
    now.textContent = `${field.value.replace("T", " ")} UTC`;
  });
  range.addEventListener("change", ask);
  document.getElementById("slider-latest").addEventListener("click", () => {
    field.value = "";
    ask();
  });
}

/** Give the focus back to the slider that a reader moves by keyboard, once its statement has come. */
let focused = "";
document.addEventListener("htmx:beforeSwap", () => {
  const active = document.activeElement;
  focused = active && active.closest("#slider") ? active.id : "";
});
document.addEventListener("htmx:afterSwap", () => {
  prepareSlider();
  if (focused) document.getElementById(focused)?.focus();
});

/** Put an explanation below its term and inside the window; tables that scroll would else cut it off. */
function place(event) {
  const term = event.target.closest?.(".finance .term");
  if (!term) return;
  const meaning = term.querySelector(".meaning");
  const box = term.getBoundingClientRect();
  meaning.classList.add("is-placed");
  const left = Math.max(8, Math.min(box.left, window.innerWidth - meaning.offsetWidth - 8));
  const below = box.bottom + 4;
  const top = below + meaning.offsetHeight < window.innerHeight ? below : box.top - meaning.offsetHeight - 4;
  meaning.style.setProperty("--at-left", `${left}px`);
  meaning.style.setProperty("--at-top", `${top}px`);
}
document.addEventListener("mouseover", place);
document.addEventListener("focusin", place);

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") document.activeElement?.closest(".term")?.classList.add("is-dismissed");
});
for (const name of ["focusout", "mouseout"]) {
  document.addEventListener(name, (event) => event.target.closest?.(".term")?.classList.remove("is-dismissed"));
}

prepareSlider();
