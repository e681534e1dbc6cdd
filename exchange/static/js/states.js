/* The trading states of a market, in words. */
const GATHERING = new Set(["auction", "pre_open"]);

export const stateWord = (state) => ({
  pre_open: gettext("Pre-open"),
  continuous: gettext("Trading"),
  halted: gettext("Halted"),
  cancel_only: gettext("Cancel only"),
  closed: pgettext("market", "Closed"),
  auction: gettext("Auction"),
})[state] ?? state;

/** What a state means for a new order, in a sentence; empty while orders trade as usual. */
export const stateNote = (state) => ({
  pre_open: gettext("Before the opening, orders rest: they trade together at one price when the market opens."),
  auction: gettext("During the auction, orders rest: they trade together at one price when it ends."),
  halted: gettext("The market is halted: new orders are refused, open ones can be cancelled."),
  cancel_only: gettext("Only cancels are taken now: new orders are refused."),
  closed: gettext("The market is closed: new orders are refused, open ones can be cancelled."),
})[state] ?? "";

/** Whether new orders rest without trading. */
export const gathers = (state) => GATHERING.has(state);

/** Whether new orders are refused. */
export const refusesOrders = (state) => !gathers(state) && state !== "continuous";
