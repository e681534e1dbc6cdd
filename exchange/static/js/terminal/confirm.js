/* A question before something that cannot be taken back, which can be switched off for its kind. */
import { preference, remember } from "./preferences.js";

/** @returns a promise of true when the user agrees, or has agreed for good */
export function confirmed(kind, title, text) {
  if (preference(`confirm.${kind}`) === "never") return Promise.resolve(true);
  const dialog = document.getElementById("confirm-dialog");
  document.getElementById("confirm-title").textContent = title;
  document.getElementById("confirm-text").textContent = text;
  const skip = document.getElementById("confirm-skip");
  skip.checked = false;
  dialog.returnValue = "no";
  dialog.showModal();
  document.getElementById("confirm-yes").focus();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      const agreed = dialog.returnValue === "yes";
      if (agreed && skip.checked) remember(`confirm.${kind}`, "never");
      resolve(agreed);
    }, { once: true });
  });
}
