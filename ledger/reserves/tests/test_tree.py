"""The sum tree itself, and a proof of it checked by the verifier, which shares no code with it."""

import copy
import hashlib
import json
import random
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.reserves import tree, verify
from ledger.reserves.verify import RefusedError

KEY = Ed25519PrivateKey.from_private_bytes(b"\x5e" * 32)
SECRET = bytes(range(32))
PUBLICATION = 3
amounts = st.integers(1, 10**12) | st.integers(1, 3) | st.integers(1, 10**37)


def signed(statement: dict[str, Any]) -> dict[str, Any]:
    """Return the head of a proof: the statement, signed."""
    return sign_text(json.dumps(statement, separators=(",", ":")))


def sign_text(text: str) -> dict[str, Any]:
    """Return the head of a proof whose statement is this text."""
    signature = KEY.sign(f"{tree.FORMAT}\n{text}".encode())
    return {
        "format": tree.FORMAT,
        "statement": text,
        "signature": signature.hex(),
        "public_key": KEY.public_key().public_bytes_raw().hex(),
    }


def statement(assets: dict[str, list[bytes]]) -> dict[str, Any]:
    """Return what is published of these leaves."""
    told = []
    for asset, leaves in assets.items():
        root = tree.root(leaves)
        told.append(
            {
                "asset": asset,
                "decimals": 6,
                "root": root[:32].hex(),
                "total": str(tree.total(root)),
                "depth": len(leaves).bit_length() - 1,
            }
        )
    return {"format": tree.FORMAT, "publication": PUBLICATION, "books": {"entry": 9, "hash": "00"}, "assets": told}


def proof(owed: dict[str, dict[int, int]], user_id: int, secret: bytes = SECRET) -> dict[str, Any]:
    """Return a user's proof of trees over what is owed, by asset and user."""
    salts: dict[int, bytes] = {}
    trees = {
        asset: tree.leaves(PUBLICATION, asset, secret, of_asset.items(), salts) for asset, of_asset in owed.items()
    }
    claims = []
    for asset, of_asset in owed.items():
        if user_id not in of_asset:
            continue
        parts = []
        for number, amount in enumerate(tree.split(secret, asset, user_id, of_asset[user_id])):
            leaf = tree.leaf(tree.context(PUBLICATION, asset), tree.salt(secret, user_id), user_id, number, amount)
            place = trees[asset].index(leaf)
            path = [{"hash": node[:32].hex(), "sum": str(tree.total(node))} for node in tree.path(trees[asset], place)]
            parts.append({"position": place, "amount": str(amount), "path": path})
        claims.append({"asset": asset, "amount": str(of_asset[user_id]), "parts": parts})
    whose = {"user_id": user_id, "salt": tree.salt(secret, user_id).hex()}
    return {**signed(statement(trees)), **whose, "assets": claims}


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.integers(1, 2**40), amounts, min_size=1, max_size=20))
def test_every_users_proof_of_any_tree_is_proven(owed) -> None:
    for user_id in owed:
        said = list(verify.steps(proof({"USDT": owed}, user_id)))

        assert said[-1].endswith("that the exchange says it owes")


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.integers(1, 2**40), amounts, max_size=40))
def test_a_trees_total_is_the_sum_of_what_is_owed_and_its_size_a_power_of_two(owed) -> None:
    leaves = tree.leaves(PUBLICATION, "USDT", SECRET, owed.items(), {})

    assert tree.total(tree.root(leaves)) == sum(owed.values())
    half = len(leaves) // 2
    assert half >= len(owed)
    assert half & (half - 1) == 0
    assert leaves == sorted(leaves[:half]) + sorted(leaves[half:])
    assert len(set(leaves)) == len(leaves)


@given(st.integers(0, 10**30), st.integers(1, 2**40))
def test_an_amount_is_cut_in_two_that_add_up_and_neither_is_all_of_it(amount, user_id) -> None:
    first, second = tree.split(SECRET, "USDT", user_id, amount)

    assert first + second == amount
    assert min(first, second) >= (1 if amount > 1 else 0)


@pytest.mark.parametrize("amount", [-1, 2**128])
def test_a_leaf_below_zero_or_beyond_all_sums_cannot_be_made(amount) -> None:
    with pytest.raises(OverflowError):
        tree.leaf(tree.context(1, "USDT"), bytes(32), 7, 0, amount)


def test_a_sum_beyond_all_sums_cannot_be_made() -> None:
    half = tree.leaf(tree.context(1, "USDT"), bytes(32), 7, 0, 2**127)

    with pytest.raises(OverflowError):
        tree.parent(half, half)


def test_the_format_is_the_documented_one_byte_for_byte() -> None:
    """Hashes written out by hand, as README.md says them; a change here is a new format."""
    tied_to = hashlib.sha256(b"exchange-reserves-1/3/USDT").digest()
    leaf = tree.leaf(tree.context(3, "USDT"), b"\xaa" * 32, 7, 1, 1_000_000)
    body = b"\x00" + tied_to + b"\xaa" * 32 + (7).to_bytes(8, "big") + b"\x01" + (1_000_000).to_bytes(16, "big")
    other = bytes(32) + (5).to_bytes(16, "big")

    assert leaf == hashlib.sha256(body).digest() + (1_000_000).to_bytes(16, "big")
    assert leaf[:32].hex() == "dd83d262659a48334bc1828c3114d607968b5bc55026cd496070521f1576d655"
    assert tree.parent(leaf, other) == hashlib.sha256(b"\x01" + leaf + other).digest() + (1_000_005).to_bytes(16, "big")


def test_a_leaf_is_a_leaf_of_its_own_tree_only() -> None:
    of = {
        (publication, asset, user, part, salt): tree.leaf(tree.context(publication, asset), salt, user, part, 5)[:32]
        for publication in (1, 2)
        for asset in ("BTC", "USDT")
        for user in (7, 8)
        for part in (0, 1)
        for salt in (b"\x01" * 32, b"\x02" * 32)
    }

    assert len(set(of.values())) == len(of)


OWED = {"USDT": {user: 1_000 + 37 * user for user in range(1, 12)}, "BTC": {3: 1, 4: 250_000_000}}


def changed(path: str, value: Any) -> dict[str, Any]:
    """Return user 3's proof with one thing changed; numbers in the path are places in lists."""
    found = copy.deepcopy(proof(OWED, 3))
    *way, last = [int(word) if word.isdigit() else word for word in path.split("/")]
    place: Any = found
    for word in way:
        place = place[word]
    place[last] = value(place[last]) if callable(value) else value
    return found


def one_more(quanta: str) -> str:
    return str(int(quanta) + 1)


def flipped(hexadecimal: str) -> str:
    return f"{int(hexadecimal[0], 16) ^ 1:x}{hexadecimal[1:]}"


TAMPERED = {
    "the amount": ("assets/0/amount", one_more),
    "a part": ("assets/0/parts/0/amount", one_more),
    "a negative part": ("assets/0/parts/0/amount", "-5"),
    "a part with a sign": ("assets/0/parts/0/amount", lambda text: f"+{text}"),
    "a negative sum beside": ("assets/0/parts/0/path/0/sum", "-1"),
    "a huge sum beside": ("assets/0/parts/0/path/0/sum", str(2**128)),
    "a sum beside": ("assets/0/parts/0/path/0/sum", one_more),
    "a sum above": ("assets/0/parts/0/path/4/sum", one_more),
    "a hash beside": ("assets/0/parts/1/path/0/hash", flipped),
    "a hash above": ("assets/0/parts/1/path/4/hash", flipped),
    "a position": ("assets/0/parts/0/position", lambda place: place ^ 1),
    "a position out of the tree": ("assets/0/parts/0/position", 32),
    "a fractional position": ("assets/0/parts/0/position", 1.0),
    "a shorter path": ("assets/0/parts/0/path", lambda path: path[:-1]),
    "a longer path": ("assets/0/parts/0/path", lambda path: [*path, path[-1]]),
    "one part less": ("assets/0/parts", lambda parts: parts[:1]),
    "a part twice": ("assets/0/parts", lambda parts: [parts[0], parts[0]]),
    "parts in another order": ("assets/0/parts", lambda parts: parts[::-1]),
    "no part": ("assets/0/parts", []),
    "another asset": ("assets/0/asset", "BTC"),
    "an unknown asset": ("assets/0/asset", "DOGE"),
    "an asset twice": ("assets", lambda assets: [assets[0], assets[0]]),
    "no asset": ("assets", []),
    "the salt": ("salt", flipped),
    "a short salt": ("salt", lambda text: text[:-2]),
    "the user": ("user_id", 4),
    "the signature": ("signature", flipped),
    "the key": ("public_key", "ab" * 32),
    "the statement": ("statement", lambda text: text.replace('"decimals":6', '"decimals":4')),
    "the format": ("format", "exchange-reserves-2"),
}


@pytest.mark.parametrize("what", TAMPERED)
def test_a_proof_with_one_thing_changed_is_refused(what) -> None:
    with pytest.raises(RefusedError):
        list(verify.steps(changed(*TAMPERED[what])))


def test_the_same_proof_unchanged_is_proven() -> None:
    said = list(verify.steps(proof(OWED, 3), key=KEY.public_key().public_bytes_raw().hex()))

    assert said[-1] == "BTC: your 0.000001 are in the 250.000001 that the exchange says it owes"
    assert [line for line in said if "leads over 5 levels" in line]


def test_a_proof_signed_with_another_key_is_refused() -> None:
    with pytest.raises(RefusedError, match="not with the one you gave"):
        list(verify.steps(proof(OWED, 3), key="ab" * 32))


@pytest.mark.parametrize("value", [None, [], "x", 7, {"data": []}, {"format": tree.FORMAT}])
def test_what_is_no_proof_is_refused(value) -> None:
    with pytest.raises(RefusedError):
        list(verify.steps(value))


def test_an_answer_of_the_api_is_read_as_the_proof_in_it() -> None:
    assert list(verify.steps({"code": 0, "message": "success", "data": proof(OWED, 3)}))


def test_a_statement_in_which_an_asset_stands_twice_is_refused() -> None:
    told = statement({"USDT": tree.leaves(PUBLICATION, "USDT", SECRET, OWED["USDT"].items(), {})})
    told["assets"] = told["assets"] * 2

    with pytest.raises(RefusedError, match="stands twice"):
        list(verify.steps({**proof(OWED, 3), **signed(told)}))


def test_a_sum_cannot_be_moved_from_one_side_to_the_other() -> None:
    """The known flaw of trees that hash only the total of two children."""
    forged = proof(OWED, 3)
    for part in forged["assets"][0]["parts"]:
        part["path"][-1]["sum"] = str(int(part["path"][-1]["sum"]) - 1)
        part["amount"] = one_more(part["amount"])
    forged["assets"][0]["amount"] = str(int(forged["assets"][0]["amount"]) + 2)

    with pytest.raises(RefusedError, match="does not lead to the published root"):
        list(verify.steps(forged))


@given(st.dictionaries(st.integers(1, 2**40), amounts, min_size=1, max_size=40))
def test_no_node_below_the_root_holds_both_parts_of_anybody(owed) -> None:
    leaves = tree.leaves(PUBLICATION, "USDT", SECRET, owed.items(), {})
    half, tied_to = len(leaves) // 2, tree.context(PUBLICATION, "USDT")

    for user_id, amount in owed.items():
        first, second = (
            leaves.index(tree.leaf(tied_to, tree.salt(SECRET, user_id), user_id, part, worth))
            for part, worth in enumerate(tree.split(SECRET, "USDT", user_id, amount))
        )
        assert first < half <= second


def test_no_path_shows_anothers_balance() -> None:
    rng = random.Random(5)
    owed = {user: rng.randint(10**6, 10**12) for user in range(1, 200)}

    for user_id in rng.sample(sorted(owed), 40):
        claim = proof({"USDT": owed}, user_id)["assets"][0]
        shown = {int(step["sum"]) for part in claim["parts"] for step in part["path"]}
        assert shown & (set(owed.values()) - {owed[user_id]}) == set()
