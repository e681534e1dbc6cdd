"""The calls of proofs of reserves, by every role: publications are public, a proof is its user's alone."""

import json
from itertools import pairwise

import pytest

from ledger.reserves import api as calls
from ledger.reserves import publishing, verify
from ledger.reserves.tests.conftest import NOW

pytestmark = pytest.mark.usefixtures("books")


def test_everyone_sees_what_was_published(api, customer, publish) -> None:
    customer("alice", USDT=100)
    publication = publish()

    listed, single = api.get("/reserves"), api.get(f"/reserves/{publication.pk}")

    [item] = listed.data["items"]
    assert listed.data["next_cursor"] is None
    assert single.data == {**item, "statement": publication.statement}
    assert item["assets"][0]["root_hash"] in publication.statement
    assert (item["id"], item["entry_id"], item["published_at"]) == (publication.pk, 1, "2026-03-01T12:00:00.000000Z")
    [usdt] = item["assets"]
    assert {
        name: usdt[name] for name in ("asset", "liabilities", "custody_total", "insurance", "ratio", "custody")
    } == {
        "asset": "USDT",
        "liabilities": "100",
        "custody_total": "100",
        "insurance": "0",
        "ratio": "1",
        "custody": [{"account": "main", "amount": "100"}],
    }


def test_publications_are_paged_newest_first(api, customer, publish) -> None:
    customer("alice", USDT=100)
    made = [publish().pk for _ in range(5)]

    seen, path = [], "/reserves?limit=2"
    while path:
        answer = api.get(path)
        seen += [item["id"] for item in answer.data["items"]]
        cursor = answer.data["next_cursor"]
        path = f"/reserves?limit=2&cursor={cursor}" if cursor else ""

    assert seen == made[::-1]
    assert all(one > other for one, other in pairwise(seen))


def test_a_users_own_proof_is_proven_and_shows_nobody_elses_balance(api, customer, publish) -> None:
    alice, _ = customer("alice", USDT=123456, BTC="0.5"), customer("bob", USDT=777777)
    publication = publish()

    answer = api.as_user(alice.user).get(f"/reserves/{publication.pk}/proof")

    assert list(verify.steps(answer.body, key=bytes(publication.public_key).hex()))
    assert answer.data["user_id"] == alice.id
    text = json.dumps(answer.data["assets"])
    assert "777777000000" not in text
    assert answer.headers["Cache-Control"] == "no-store"


def test_a_proof_needs_its_user(api, customer, publish) -> None:
    customer("alice", USDT=100)
    publication = publish()

    refused = api.get(f"/reserves/{publication.pk}/proof")

    assert (refused.status, refused.error) == (401, "NOT_AUTHENTICATED")


def test_staff_get_no_proof_but_their_own(api, customer, publish, approver) -> None:
    customer("alice", USDT=100)
    publication = publish()

    refused = api.as_user(approver).get(f"/reserves/{publication.pk}/proof?user_id=1")

    assert (refused.status, refused.code, refused.error) == (404, 4474, "RESERVES_NOTHING_OWED")


@pytest.mark.parametrize("number", ["0", "99", "9223372036854775808", "99999999999999999999999999"])
def test_an_unknown_number_is_not_found(api, customer, number) -> None:
    alice = customer("alice", USDT=100)

    for path in (f"/reserves/{number}", f"/reserves/{number}/proof"):
        refused = api.as_user(alice.user).get(path)
        assert (refused.status, refused.error) == (404, "RESERVES_UNKNOWN")


def test_what_is_only_asked_for_does_not_exist_yet(api, customer, approver) -> None:
    alice = customer("alice", USDT=100)
    publication = publishing.request(approver, now=NOW)

    assert api.get("/reserves").data["items"] == []
    assert api.get(f"/reserves/{publication.pk}").status == 404
    assert api.as_user(alice.user).get(f"/reserves/{publication.pk}/proof").status == 404


def test_proofs_are_limited_by_user(api, customer, publish) -> None:
    alice, bob = customer("alice", USDT=100), customer("bob", USDT=100)
    publication = publish()
    path = f"/reserves/{publication.pk}/proof"
    hers = api.as_user(alice.user)

    statuses = [hers.get(path).status for _ in range(calls.PROOFS.count + 1)]

    assert statuses == [200] * calls.PROOFS.count + [429]
    assert api.as_user(bob.user).get(path).status == 200


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "cursor=nonsense", "colour=red"])
def test_a_senseless_query_is_refused(api, db, query) -> None:
    assert api.get(f"/reserves?{query}").status == 400
