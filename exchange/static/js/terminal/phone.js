/* On a phone one panel is shown at a time; buy and sell are always within reach. */
const byId = (id) => document.getElementById(id);

export function showPanel(name) {
  byId("main").dataset.shown = name;
  for (const tab of document.querySelectorAll(".phone-tabs [role=tab]")) {
    tab.setAttribute("aria-selected", String(tab.dataset.panel === name));
  }
}

export function bindPhone(ticket) {
  document.querySelector(".phone-tabs").addEventListener("click", ({ target }) => {
    const tab = target.closest("[data-panel]");
    if (tab) showPanel(tab.dataset.panel);
  });
  byId("phone-actions").addEventListener("click", ({ target }) => {
    const side = target.closest("[data-side]")?.dataset.side;
    if (!side) return;
    ticket.choose("side", side);
    showPanel("trade");
    scrollTo({ top: 0 });
  });
}
