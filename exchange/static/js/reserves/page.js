/* The page of proofs of reserves: runs a check and shows every step of it. */
import { ApiError, read } from "../api.js";
import { fromScaled, grouped, trimmed } from "../numbers.js";
import { Refused, parsed, steps } from "./proof.js";

const HASH_SHOWN = 16;
const { publication } = JSON.parse(document.getElementById("page-data").textContent);
const list = document.getElementById("steps");
const verdict = document.getElementById("verdict");

const shown = (quanta, decimals) => grouped(trimmed(fromScaled(quanta, decimals)));
const words = (template, values) => interpolate(template, values, true);
const short = (hash) => `${hash.slice(0, HASH_SHOWN)}…`;

function element(name, content, className) {
  const made = document.createElement(name);
  if (content !== undefined) made.append(content);
  if (className) made.className = className;
  return made;
}

function line(content, className) {
  const item = element("li", content, className);
  list.append(item);
  return item;
}

/** The item of one asset: its sentence, and behind it every level of every part. */
class AssetItem {
  constructor(name) {
    this.name = name;
    this.sentence = element("span", words(gettext("%(name)s: following your balance…"), { name }));
    this.details = element("details", element("summary", gettext("every step")));
    this.item = line(this.sentence);
    this.item.append(this.details);
  }

  say(content, className = "") {
    this.sentence.textContent = content;
    this.item.className = className;
  }

  leaf(step) {
    const values = { part: step.part + 1, amount: shown(step.amount, step.decimals), hash: short(step.hash) };
    this.details.append(element("p", words(gettext("Part %(part)s, %(amount)s, gives the leaf %(hash)s."), values)));
    this.table = element("table", undefined, "levels");
    const head = element("tr");
    for (const title of [gettext("Level"), gettext("Neighbour"), gettext("Its sum"), gettext("Hash above"), gettext("Sum above")]) {
      head.append(element("th", title));
    }
    this.table.append(head);
    this.details.append(this.table);
  }

  level(step) {
    const side = step.left ? gettext("left") : gettext("right");
    const row = element("tr");
    row.append(
      element("td", String(step.level)),
      hashCell(`${side} ${short(step.hash)}`, step.hash),
      element("td", shown(step.sum, step.decimals), "number"),
      hashCell(short(step.above.hash), step.above.hash),
      element("td", shown(step.above.sum, step.decimals), "number"),
    );
    this.table.append(row);
  }

  root(step) {
    this.details.append(element("p", words(gettext("This is the published root %(hash)s."), { hash: short(step.hash) })));
  }
}

function hashCell(content, whole) {
  const cell = element("td", content);
  cell.title = whole;
  return cell;
}

/** Shows a step; returns the asset that the next one belongs to, if any. */
function show(step, asset) {
  switch (step.kind) {
    case "signature":
      if (step.checked) line(words(gettext("The statement is signed with the key %(key)s."), step));
      else line(words(gettext("This browser cannot check Ed25519 signatures: check the one by the key %(key)s with the Python verifier."), step), "note");
      return null;
    case "statement":
      line(words(gettext("Publication %(publication)s shows the books up to entry %(entry)s."), step));
      return null;
    case "asset": {
      const values = { asset: step.asset, amount: shown(step.amount, step.decimals), total: shown(step.total, step.decimals) };
      asset.say(words(gettext("%(asset)s: your %(amount)s are in the %(total)s that the exchange says it owes."), values));
      return null;
    }
    default: {
      const current = asset ?? new AssetItem(step.asset);
      current[step.kind](step);
      return current;
    }
  }
}

function say(content, className) {
  verdict.textContent = content;
  verdict.className = `verdict ${className}`;
}

async function check(getProof) {
  let asset = null;
  list.replaceChildren();
  say(gettext("Checking…"), "");
  try {
    if (!globalThis.crypto?.subtle) throw new Refused(gettext("This page must be opened over HTTPS to check a proof here."));
    let isSigned = false;
    for await (const step of steps(await getProof())) {
      asset = show(step, asset);
      if (step.kind === "signature") isSigned = step.checked;
    }
    if (isSigned) say(gettext("Proven: your balances are counted."), "proven");
    else say(gettext("Your balances are counted; the signature was not checked."), "proven");
  } catch (error) {
    if (!(error instanceof Refused) && !(error instanceof ApiError)) throw error;
    if (asset) asset.say(`${asset.name}: ${error.message}`, "refused");
    else line(error.message, "refused");
    say(error instanceof Refused ? gettext("Refused: this proves nothing.") : error.message, "refused");
  }
}

document.getElementById("check-own")?.addEventListener("click", () => check(() => read(`/reserves/${publication}/proof`)));

document.getElementById("check-file")?.addEventListener("change", async ({ target }) => {
  const [file] = target.files;
  if (file) await check(async () => parsed(await file.text()));
  target.value = "";
});
