"""Verifies a proof that somebody's balance is in what an exchange says it owes. This file stands alone.

    python -m ledger.reserves.verify proof.json [--key HEX]      or, copied elsewhere:      python verify.py proof.json

It shares no code with the exchange; it needs Python 3.11 and, for the signature, the package `cryptography`. The
format is described in the exchange's `ledger/reserves/README.md`.

Exit code: 0 proven, 1 refused, 2 no such file or package.
"""

import argparse
import hashlib
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

FORMAT = "exchange-reserves-1"
SUM_END = 1 << 128
DEPTH_MAX = 40
PARTS_MAX = 8
LONGEST_FILE = 16 * 1024 * 1024


class RefusedError(Exception):
    """The proof does not prove; says why."""


class MissingPackageError(Exception):
    """The signature cannot be checked here."""


def steps(proof: Any, *, key: str | None = None) -> Iterator[str]:
    """Check a proof step by step; yield each step that holds, in words.

    Args:
        proof: The parsed JSON: the proof, or an answer of the API with the proof as its `data`.
        key: The exchange's public key, 64 hexadecimal digits, known from elsewhere; None takes the proof's word.

    Raises:
        RefusedError: A step does not hold.
        MissingPackageError: `cryptography` is not installed.
    """
    proof = _object(proof, "proof")
    if "format" not in proof and "data" in proof:
        proof = _object(proof["data"], "data")
    _same(proof.get("format"), FORMAT, "format")
    statement = _check_signature(proof, key)
    yield f"signature: the statement was signed with the key {proof['public_key']}"
    publication = _integer(statement.get("publication"), "publication")
    books = _object(statement.get("books"), "books")
    yield f"publication {publication} shows the books up to entry {_integer(books.get('entry'), 'entry')}"
    assets = _list(statement.get("assets"), "assets")
    known = {_text(asset, "asset"): asset for asset in assets}
    if len(known) != len(assets):
        raise RefusedError("an asset stands twice in the statement")
    user_id, salt = _integer(proof.get("user_id"), "user_id"), _bytes(proof.get("salt"), 32, "salt")
    seen: set[str] = set()
    for claim in _list(proof.get("assets"), "assets"):
        name = _text(claim, "asset")
        if name in seen or name not in known:
            raise RefusedError(f"{name} is not an asset of the statement, or stands twice")
        seen.add(name)
        yield from _check_asset(claim, known[name], publication, user_id, salt)
    if not seen:
        raise RefusedError("the proof is about no asset")


def _check_asset(claim: Any, asset: Any, publication: int, user_id: int, salt: bytes) -> Iterator[str]:
    """Follow each part of an amount to the asset's published root."""
    name, decimals = asset["asset"], _integer(asset.get("decimals"), "decimals")
    depth = _integer(asset.get("depth"), "depth")
    if not 1 <= depth <= DEPTH_MAX:
        raise RefusedError(f"{name}: a tree of depth {depth}")
    published = _bytes(asset.get("root"), 32, "root"), _sum(asset.get("total"), "total")
    tied_to = hashlib.sha256(f"{FORMAT}/{publication}/{name}".encode()).digest()
    places: set[int] = set()
    added = 0
    parts = _list(claim.get("parts"), "parts")
    if not 1 <= len(parts) <= PARTS_MAX:
        raise RefusedError(f"{name}: {len(parts)} parts")
    for number, part in enumerate(parts):
        place, amount = _integer(part.get("position"), "position"), _sum(part.get("amount"), "amount")
        path = _list(part.get("path"), "path")
        if len(path) != depth or not 0 <= place < 1 << depth or place in places:
            raise RefusedError(f"{name}: part {number} is in no place of the tree, or in one taken before")
        places.add(place)
        body = b"\x00" + tied_to + salt + user_id.to_bytes(8, "big") + bytes([number]) + amount.to_bytes(16, "big")
        node = hashlib.sha256(body).digest(), amount
        for level, step in enumerate(path):
            neighbour = _bytes(step.get("hash"), 32, "hash"), _sum(step.get("sum"), "sum")
            node = _above(neighbour, node) if place >> level & 1 else _above(node, neighbour)
        if node != published:
            raise RefusedError(f"{name}: part {number} does not lead to the published root and total")
        added += amount
        yield f"{name}: part {number}, {_shown(amount, decimals)}, leads over {depth} levels to root {node[0].hex()}"
    if added != _sum(claim.get("amount"), "amount"):
        raise RefusedError(f"{name}: the parts do not add up to the amount")
    total = _shown(published[1], decimals)
    yield f"{name}: your {_shown(added, decimals)} are in the {total} that the exchange says it owes"


def _above(left: tuple[bytes, int], right: tuple[bytes, int]) -> tuple[bytes, int]:
    """Return the hash and sum of the node above two."""
    total = left[1] + right[1]
    if total >= SUM_END:
        raise RefusedError("a sum is too large")
    told = [hashed + amount.to_bytes(16, "big") for hashed, amount in (left, right)]
    return hashlib.sha256(b"\x01" + told[0] + told[1]).digest(), total


def _check_signature(proof: dict[str, Any], key: str | None) -> dict[str, Any]:
    """Return the signed statement."""
    text, named = proof.get("statement"), _bytes(proof.get("public_key"), 32, "public_key")
    signature = _bytes(proof.get("signature"), 64, "signature")
    if not isinstance(text, str):
        raise RefusedError("statement is missing")
    if key is not None and named != _bytes(key.lower(), 32, "--key"):
        raise RefusedError(f"the proof is signed with the key {named.hex()}, not with the one you gave")
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ImportError:
        raise MissingPackageError from None
    try:
        Ed25519PublicKey.from_public_bytes(named).verify(signature, f"{FORMAT}\n{text}".encode())
    except (InvalidSignature, ValueError):
        raise RefusedError("the signature is not of this statement and key") from None
    statement = _object(_parsed(text), "statement")
    _same(statement.get("format"), FORMAT, "format of the statement")
    return statement


def _parsed(text: str) -> Any:
    """Read JSON in which no name stands twice, since two readers would understand it differently."""
    try:
        return json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        raise RefusedError("the text is not JSON") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise RefusedError("a name stands twice in one object")
    return found


def _object(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise RefusedError(f"{name} is missing")
    return value


def _list(value: Any, name: str) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise RefusedError(f"{name} are missing")
    return value


def _text(holder: dict[str, Any], name: str) -> str:
    value = holder.get(name)
    if not isinstance(value, str):
        raise RefusedError(f"{name} is missing")
    return value


def _integer(value: Any, name: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 53:
        raise RefusedError(f"{name} is not a number")
    return value


def _sum(value: Any, name: str) -> int:
    """Read quanta: digits without sign, so that nothing below zero can be claimed."""
    if not isinstance(value, str) or not re.fullmatch(r"0|[1-9][0-9]{0,38}", value) or int(value) >= SUM_END:
        raise RefusedError(f"{name} is not an amount of quanta")
    return int(value)


def _bytes(value: Any, length: int, name: str) -> bytes:
    if not isinstance(value, str) or not re.fullmatch(rf"[0-9a-f]{{{2 * length}}}", value):
        raise RefusedError(f"{name} is not {length} bytes in hexadecimal")
    return bytes.fromhex(value)


def _same(value: Any, wanted: str, name: str) -> None:
    if value != wanted:
        raise RefusedError(f"{name}: {wanted} expected")


def _shown(quanta: int, decimals: int) -> str:
    """Write quanta as an amount."""
    digits = str(quanta).rjust(decimals + 1, "0")
    return f"{digits[:-decimals]}.{digits[-decimals:]}" if decimals else digits


def verify_file(path: Path, key: str | None, say: Callable[[str], object]) -> None:
    """Check a file, saying each step.

    Raises:
        RefusedError: A step does not hold.
        OSError: The file cannot be read.
        MissingPackageError: `cryptography` is not installed.
    """
    with path.open("rb") as file:
        body = file.read(LONGEST_FILE + 1)
    if len(body) > LONGEST_FILE:
        raise RefusedError("the file is too long for a proof")
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise RefusedError("the text is not UTF-8") from None
    for step in steps(_parsed(text), key=key):
        say(f"holds    {step}")
    if key is None:
        say("note     compare the key with one that you know from elsewhere, or give it with --key")


def main(arguments: list[str] | None = None) -> int:
    """Read the command line; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("proof", type=Path, help="the file that the exchange gave you")
    parser.add_argument("--key", help="the exchange's public key, known from elsewhere: 64 hexadecimal digits")
    options = parser.parse_args(arguments)
    try:
        verify_file(options.proof, options.key, _say)
    except RefusedError as error:
        _say(f"REFUSED  {error}")
        return 1
    except OSError as error:
        _say(f"{options.proof}: {error.strerror}", sys.stderr)
        return 2
    except MissingPackageError:
        _say("The signature needs the package cryptography: pip install cryptography", sys.stderr)
        return 2
    _say("PROVEN")
    return 0


def _say(text: str, file: TextIO | None = None) -> None:
    print(text, file=file)


if __name__ == "__main__":
    sys.exit(main())
