"""The audit compares what is published with the books, at the entry that the publication names."""

import json
from types import SimpleNamespace

import pytest

from ledger import audit
from ledger.reserves import building

NAME = "the newest proof of reserves says what the books say"

pytestmark = pytest.mark.django_db


def found() -> audit.Invariant:
    return next(invariant for invariant in audit.invariants() if invariant.name == NAME)


def test_a_true_publication_passes_also_when_the_books_have_moved_on(customer, publish) -> None:
    alice = customer("alice", USDT=100, BTC="0.5")
    publish()
    alice.deposit(USDT=1)

    assert found().ok


@pytest.mark.parametrize(
    ("forge", "words"),
    [
        (lambda assets: assets[0].update(total="49999999"), "says BTC is owed 49999999"),
        (lambda assets: assets[1].update(custody_total="1"), "says USDT is owed 10000000000, held 1"),
        (lambda assets: assets.pop(0), "says ? is owed 0, held 0; the books BTC 50000000"),
    ],
)
def test_a_publication_that_says_otherwise_is_found(customer, publish, monkeypatch, forge, words) -> None:
    customer("alice", USDT=100, BTC="0.5")
    monkeypatch.setattr(building, "json", SimpleNamespace(dumps=lambda said, **_: _forged(said, forge)))
    publish()

    assert not found().ok
    assert words in found().detail


def _forged(said: dict, forge) -> str:
    forge(said["assets"])
    return json.dumps(said)
