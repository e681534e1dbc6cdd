/* A client order id belongs to an intent: a double click, or a repeat after a lost answer, cannot do a thing twice. */
export function newIntent() {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return `web-${Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}
