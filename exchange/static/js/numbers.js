/* Decimal text to whole numbers and back. Amounts never pass through floating point. */

/** How many decimals a step such as "0.01" or "10" has. */
export function decimalsOf(step) {
  const [, fraction = ""] = String(step).split(".");
  return fraction.replace(/0+$/, "").length;
}

/** "1.25" with 3 decimals is 1250n; decimals beyond are cut. */
export function toScaled(text, decimals) {
  const negative = String(text).startsWith("-");
  const [whole, fraction = ""] = String(text).replace("-", "").split(".");
  const scaled = BigInt(whole + fraction.padEnd(decimals, "0").slice(0, decimals));
  return negative ? -scaled : scaled;
}

/** 1250n with 3 decimals is "1.250". */
export function fromScaled(value, decimals) {
  const negative = value < 0n;
  const digits = (negative ? -value : value).toString().padStart(decimals + 1, "0");
  const whole = digits.slice(0, digits.length - decimals);
  return (negative ? "-" : "") + whole + (decimals ? `.${digits.slice(digits.length - decimals)}` : "");
}

/** "1234567.5" is "1,234,567.5". */
export function grouped(text) {
  const [whole, fraction] = String(text).split(".");
  const spaced = whole.replace(/\B(?=(\d{3})+$)/g, ",");
  return fraction === undefined ? spaced : `${spaced}.${fraction}`;
}

/** The same number with exactly so many decimals, or more when it has more. */
export function padded(text, decimals) {
  const [whole, fraction = ""] = String(text).split(".");
  const digits = fraction.replace(/0+$/, "").padEnd(decimals, "0");
  return digits ? `${whole}.${digits}` : whole;
}

/** Without trailing zeros. */
export function trimmed(text) {
  return String(text).includes(".") ? String(text).replace(/\.?0+$/, "") : String(text);
}
