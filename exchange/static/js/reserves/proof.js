/* Checks a proof of reserves in the browser: WebCrypto's SHA-256 and Ed25519, BigInt for sums.
   The same steps as ledger/reserves/verify.py; the format is described in ledger/reserves/README.md. */

const FORMAT = "exchange-reserves-1";
const SUM_BYTES = 16;
const SUM_END = 1n << 128n;
const DEPTH_MAX = 40;
const PARTS_MAX = 8;
const LEAF = 0;
const NODE = 1;
const utf8 = new TextEncoder();

/** The proof does not prove. */
export class Refused extends Error {}

/**
 * Yields {kind, ...} for each step that holds:
 * signature {key, checked}, statement {publication, entry}, leaf {asset, part, amount, hash, decimals},
 * level {level, left, hash, sum, above: {hash, sum}}, root {hash}, asset {asset, amount, total, decimals}.
 */
export async function* steps(given) {
  let proof = object(given, "proof");
  if (!("format" in proof) && "data" in proof) proof = object(proof.data, "data");
  if (proof.format !== FORMAT) throw new Refused(gettext("The format is not known."));
  const { statement, ...signature } = await signed(proof);
  yield { kind: "signature", ...signature };
  const publication = integer(statement.publication, "publication");
  yield { kind: "statement", publication, entry: integer(object(statement.books, "books").entry, "entry") };
  const assets = list(statement.assets, "assets");
  const known = new Map(assets.map((asset) => [text(asset.asset, "asset"), asset]));
  if (known.size !== assets.length) throw new Refused(gettext("An asset stands twice in the statement."));
  const user = { id: integer(proof.user_id, "user_id"), salt: bytes(proof.salt, 32, "salt") };
  const seen = new Set();
  for (const claim of list(proof.assets, "assets")) {
    const name = text(claim.asset, "asset");
    if (seen.has(name) || !known.has(name)) throw new Refused(gettext("An asset is not in the statement, or stands twice."));
    seen.add(name);
    yield* assetSteps(claim, known.get(name), publication, user);
  }
  if (!seen.size) throw new Refused(gettext("The proof is about no asset."));
}

async function* assetSteps(claim, asset, publication, user) {
  const name = asset.asset;
  const decimals = integer(asset.decimals, "decimals");
  const depth = integer(asset.depth, "depth");
  const parts = list(claim.parts, "parts");
  if (depth < 1 || depth > DEPTH_MAX || parts.length < 1 || parts.length > PARTS_MAX) {
    throw new Refused(gettext("The proof is not of this tree."));
  }
  const published = { hash: hex(bytes(asset.root, 32, "root")), sum: quanta(asset.total, "total") };
  const tiedTo = await sha256(utf8.encode(`${FORMAT}/${publication}/${name}`));
  const places = new Set();
  let added = 0n;
  for (const [number, part] of parts.entries()) {
    const place = BigInt(integer(part.position, "position"));
    const amount = quanta(part.amount, "amount");
    const path = list(part.path, "path");
    if (path.length !== depth || place >= 1n << BigInt(depth) || places.has(place)) {
      throw new Refused(gettext("A part is in no place of the tree, or in one taken before."));
    }
    places.add(place);
    const body = [Uint8Array.of(LEAF), tiedTo, user.salt, number8(BigInt(user.id)), Uint8Array.of(number), number16(amount)];
    let node = { hash: await sha256(joined(body)), sum: amount };
    yield { kind: "leaf", asset: name, part: number, amount, hash: hex(node.hash), decimals };
    for (const [level, step] of path.entries()) {
      const neighbour = { hash: bytes(step.hash, 32, "hash"), sum: quanta(step.sum, "sum") };
      const left = ((place >> BigInt(level)) & 1n) === 1n;
      node = left ? await above(neighbour, node) : await above(node, neighbour);
      const shown = { hash: hex(node.hash), sum: node.sum };
      yield { kind: "level", level: level + 1, left, hash: step.hash, sum: neighbour.sum, above: shown, decimals };
    }
    if (hex(node.hash) !== published.hash || node.sum !== published.sum) {
      throw new Refused(gettext("The path does not lead to the published root and total."));
    }
    yield { kind: "root", asset: name, hash: published.hash };
    added += amount;
  }
  if (added !== quanta(claim.amount, "amount")) throw new Refused(gettext("The parts do not add up to the amount."));
  yield { kind: "asset", asset: name, amount: added, total: published.sum, decimals };
}

/** The node above two: it hashes both hashes and both sums. */
async function above(left, right) {
  const sum = left.sum + right.sum;
  if (sum >= SUM_END) throw new Refused(gettext("A sum is too large."));
  const body = [Uint8Array.of(NODE), left.hash, number16(left.sum), right.hash, number16(right.sum)];
  return { hash: await sha256(joined(body)), sum };
}

/** The signed statement; `checked` is false where this browser knows no Ed25519. */
async function signed(proof) {
  const key = bytes(proof.public_key, 32, "public_key");
  const signature = bytes(proof.signature, 64, "signature");
  const said = text(proof.statement, "statement");
  const checked = await signatureHolds(key, signature, utf8.encode(`${FORMAT}\n${said}`));
  if (checked === false) throw new Refused(gettext("The signature is not of this statement and key."));
  const statement = object(parsed(said), "statement");
  if (JSON.stringify(statement) !== said) throw new Refused(gettext("The statement can be read in two ways."));
  if (statement.format !== FORMAT) throw new Refused(gettext("The format is not known."));
  return { statement, key: hex(key), checked: checked === true };
}

async function signatureHolds(key, signature, message) {
  let imported;
  try {
    imported = await crypto.subtle.importKey("raw", key, { name: "Ed25519" }, false, ["verify"]);
  } catch (error) {
    if (error.name === "NotSupportedError") return undefined;
    return false;
  }
  return crypto.subtle.verify("Ed25519", imported, signature, message);
}

export function parsed(said) {
  try {
    return JSON.parse(said);
  } catch {
    throw new Refused(gettext("The text is not JSON."));
  }
}

const sha256 = async (body) => new Uint8Array(await crypto.subtle.digest("SHA-256", body));

function joined(pieces) {
  const body = new Uint8Array(pieces.reduce((length, piece) => length + piece.length, 0));
  let place = 0;
  for (const piece of pieces) {
    body.set(piece, place);
    place += piece.length;
  }
  return body;
}

function unsigned(value, length) {
  const body = new Uint8Array(length);
  for (let place = length - 1; place >= 0; place -= 1, value >>= 8n) body[place] = Number(value & 255n);
  return body;
}

const number8 = (value) => unsigned(value, 8);
const number16 = (value) => unsigned(value, SUM_BYTES);
const hex = (body) => Array.from(body, (byte) => byte.toString(16).padStart(2, "0")).join("");

/* --- Strict reading ------------------------------------------------------------------------- */

const missing = (name) => new Refused(interpolate(gettext("%(name)s is missing or not of its form."), { name }, true));

function object(value, name) {
  if (value === null || typeof value !== "object" || Array.isArray(value)) throw missing(name);
  return value;
}

function list(value, name) {
  if (!Array.isArray(value)) throw missing(name);
  return value.map((item) => object(item, name));
}

function text(value, name) {
  if (typeof value !== "string") throw missing(name);
  return value;
}

function integer(value, name) {
  if (!Number.isSafeInteger(value) || value < 0) throw missing(name);
  return value;
}

/** Digits without sign: nothing below zero can be claimed. */
function quanta(value, name) {
  if (typeof value !== "string" || !/^(0|[1-9][0-9]{0,38})$/.test(value) || BigInt(value) >= SUM_END) throw missing(name);
  return BigInt(value);
}

function bytes(value, length, name) {
  if (typeof value !== "string" || value.length !== 2 * length || !/^[0-9a-f]*$/.test(value)) throw missing(name);
  return Uint8Array.from({ length }, (_, place) => Number.parseInt(value.slice(2 * place, 2 * place + 2), 16));
}
