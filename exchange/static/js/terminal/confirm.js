/* A question before something that cannot be taken back, which can be switched off for its kind. */
import { preference, remember } from "./preferences.js";

/* The question that is open. A dialog tells that it was closed a little later, perhaps when the next question is
   open already: that news must answer the old question, not the new one. */
let answer = null;

/** @returns a promise of true when the user agrees, or has agreed for good */
export function confirmed(kind, title, text) {
  if (preference(`confirm.${kind}`) === "never") return Promise.resolve(true);
  const dialog = document.getElementById("confirm-dialog");
  document.getElementById("confirm-title").textContent = title;
  document.getElementById("confirm-text").textContent = text;
  const skip = document.getElementById("confirm-skip");
  answer?.(false);
  skip.checked = false;
  dialog.returnValue = "no";
  dialog.onclose = () => {
    if (dialog.open) return;
    const agreed = dialog.returnValue === "yes";
    if (agreed && skip.checked) remember(`confirm.${kind}`, "never");
    answer?.(agreed);
  };
  dialog.showModal();
  document.getElementById("confirm-yes").focus();
  return new Promise((resolve) => {
    answer = (agreed) => {
      answer = null;
      resolve(agreed);
    };
  });
}
