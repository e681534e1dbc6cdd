/* One figure asked for in a dialog: margin to add or to take out, another leverage. A refusal stands beside the figure. */
import { setText } from "./frame.js";

const byId = (id) => document.getElementById(id);

/**
 * Ask for a figure until it is taken or the user goes back.
 * @param question {title, text, label, unit, value, whole, note(text)}: `note` says what the typed figure would mean
 * @param send called with the text typed; resolves when it is taken, or throws an ApiError
 */
export function askFigure({ title, text, label, unit, value, note = () => "" }, send) {
  const [dialog, form, field, button] = [byId("position-dialog"), byId("position-form"), byId("position-figure"), byId("position-yes")];
  const tell = (words) => {
    setText(byId("position-error"), words);
    field.setAttribute("aria-invalid", String(words !== ""));
  };
  setText(byId("position-title"), title);
  setText(byId("position-text"), text);
  setText(byId("position-label"), label);
  setText(byId("position-unit"), unit);
  setText(byId("position-note"), note(value));
  field.value = value;
  tell("");
  field.oninput = () => {
    tell("");
    setText(byId("position-note"), note(field.value.trim()));
  };
  form.onsubmit = async (event) => {
    event.preventDefault();
    if (button.disabled) return;
    button.disabled = true;
    try {
      await send(field.value.trim());
      dialog.close();
    } catch (error) {
      if (error.code === undefined) throw error;
      tell([Object.values(error.fields)[0] ?? error.message].flat().join(" "));
      field.focus();
    } finally {
      button.disabled = false;
    }
  };
  byId("position-back").onclick = () => dialog.close();
  dialog.showModal();
  field.focus();
  field.select();
}
