"""The way back from suspense: posted exactly as it was refused, whole or not at all, and told."""

import json
from contextlib import nullcontext
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from exchange.embedded import session
from exchange.kernel.clock import utc_now
from ledger.models import JournalEntry
from ledger.reconciliation import runner
from ledger.reconciliation.models import Break, RunKind
from ledger.services import finance_log
from ledger.tests.reconciling import damage, full, look
from ledger.tracing import story
from ledger.transfers.models import AccountProfile
from trading.models import PrivateEvent, SuspendedEntry
from trading.services import suspense
from trading.tests.suspending import broken, refuse_the_first, suspended, two_buyers_and_two_sellers

pytestmark = pytest.mark.django_db


@pytest.fixture(name="_django_db_helper")
def _no_transaction_around(django_db_setup) -> None:
    """Wrap nothing around the tests of this module: a refusal undoes a real transaction."""


@pytest.fixture(autouse=True)
def _database_of_its_own(scratch) -> None:
    """Each test has a database of its own, and really commits."""


@pytest.fixture
def people(customer) -> dict[str, Any]:
    """A market, two buyers and two sellers."""
    return two_buyers_and_two_sellers(customer)


@pytest.fixture
def refused(people, tmp_path: Path) -> tuple[dict[str, Any], str]:
    """Two trades in one batch, of which the books refuse the first: alice's hold is gone."""
    return people, refuse_the_first(people, tmp_path)


def test_once_its_cause_is_gone_the_entry_is_posted_and_nothing_is_left(refused) -> None:
    people, repair = refused
    alice, bob = people["alice"], people["bob"]
    names = ["settlement.suspense", "trades.entries", "suspense.empty", "log.replay", "orders.holds"]
    look(*names)
    damage(repair)

    [done] = suspense.repost([], now=utc_now())

    assert (done.refusal, SuspendedEntry.objects.get().state) == ("", "POSTED")
    assert alice.balances("USDT") == {"available": Decimal("499.90"), "order_hold": 0}
    assert alice.balances("BTC")["available"] == Decimal("0.01")
    assert bob.balances("USDT")["available"] == Decimal("499.90")
    assert (suspended("USDT"), suspended("BTC")) == ({}, {})
    assert broken() == set()
    assert full(*names) == set()
    assert suspense.repost([], now=utc_now()) == []
    assert AccountProfile.objects.filter(frozen=True).count() == 2  # releasing them is a person's decision


def test_what_the_books_refuse_still_stays_suspended(refused) -> None:
    [done] = suspense.repost([], now=utc_now())

    assert done.refusal.startswith("LedgerBoundError")
    assert SuspendedEntry.objects.get().state == "OPEN"
    assert not JournalEntry.objects.filter(key__endswith=":cleared").exists()


def test_what_cannot_be_cleared_whole_is_not_posted_at_all(refused, monkeypatch: pytest.MonkeyPatch) -> None:
    people, repair = refused
    damage(repair)
    before = JournalEntry.objects.count()
    monkeypatch.setattr(finance_log, "record", _dies)

    with pytest.raises(RuntimeError, match="killed"):
        suspense.repost([], now=utc_now())

    assert JournalEntry.objects.count() == before
    assert SuspendedEntry.objects.get().state == "OPEN"
    monkeypatch.undo()
    assert [item.refusal for item in suspense.repost([], now=utc_now())] == [""]
    assert people["alice"].balances("BTC")["available"] == Decimal("0.01")


def _dies(*_: Any, **__: Any) -> None:
    raise RuntimeError("killed")


def test_the_story_of_a_refused_trade_is_told_before_and_after_the_way_back(refused) -> None:
    _, repair = refused
    key = SuspendedEntry.objects.get().key

    found = {section.name: section.facts for section in story.tell(key, thorough=False).sections}
    assert found["suspended"][0].details["refusal"].startswith("LedgerBoundError")
    assert [fact.details["key"] for fact in found["entries"]] == [f"{key}:suspense"]
    assert [fact.details["state"] for fact in found["breaks"]] == ["OPEN"]
    assert len(found["orders"]) == 2
    assert [fact.details["kind"] for fact in found["outbox"] if "trade_id" in fact.details["payload"]] == [
        "TradeExecuted"
    ]

    damage(repair)
    suspense.repost([], now=utc_now())
    found = {section.name: section.facts for section in story.tell(key, thorough=False).sections}
    assert [fact.details["key"] for fact in found["entries"]] == [f"{key}:suspense", key, f"{key}:cleared"]
    assert found["suspended"][0].details["state"] == "POSTED"
    assert [str(fact.what) for fact in found["finance_log"]] == [f"exchange: suspense.repost {key}"]


def test_traders_screens_learn_their_balances_on_the_way_back(refused) -> None:
    people, repair = refused
    damage(repair)

    suspense.repost([], now=utc_now())

    told = PrivateEvent.objects.filter(user_id=people["bob"].id, channel="balances").order_by("sequence")
    last = {event.payload["asset"]: event.payload for event in told}
    assert last["USDT"] == {"asset": "USDT", "balance": "499.9", "frozen_balance": "0"}
    assert last["BTC"] == {"asset": "BTC", "balance": "0.99", "frozen_balance": "0"}


def test_the_command_lists_posts_and_says_what_is_refused_still(refused, monkeypatch) -> None:
    _, repair = refused
    monkeypatch.setattr(session, "servers", lambda _: nullcontext())
    key = SuspendedEntry.objects.get().key

    output = StringIO()
    call_command("repost_suspended", "--list", "--json", stdout=output)
    assert [item["key"] for item in json.loads(output.getvalue())["suspended"]] == [key]
    with pytest.raises(CommandError, match="the books still refuse 1 of 1") as refusal:
        call_command("repost_suspended", stdout=StringIO())
    assert refusal.value.returncode == 1
    with pytest.raises(CommandError, match="not suspended: trade:0") as unknown:
        call_command("repost_suspended", "trade:0", stdout=StringIO())
    assert unknown.value.returncode == 2
    damage(repair)
    output = StringIO()
    call_command("repost_suspended", key, stdout=output)
    assert output.getvalue() == f"{key}  SPOT_FILL  posted\n"
    output = StringIO()
    call_command("repost_suspended", stdout=output)
    assert output.getvalue() == "nothing is suspended\n"


def test_the_check_looks_again_for_itself(refused) -> None:
    Break.objects.all().update(state="RESOLVED", resolved_at=utc_now())

    runner.look(runner.start(RunKind.CONTINUOUS, now=utc_now()), now=utc_now(), names=["settlement.suspense"])

    assert Break.objects.get().state == "OPEN"
