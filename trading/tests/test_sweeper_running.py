"""How the sweeper works: once, all or nothing, in the order of locks, at a constant cost; and its command."""

from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from exchange.embedded import session
from exchange.kernel.clock import utc_now
from exchange.management import health
from marketdata import selectors as instruments
from risk.models import ReviewLimit
from trading.models import Order, SuspendedEntry
from trading.services import outbox, sweeper
from trading.sweep_models import HoldSweep
from trading.sweeping import Cause, Step
from trading.tests.left_behind import LATER, broken, keep_beyond_the_end, later, sweep, unasked_cancel, wait_in_review
from trading.tests.road import fresh, limit, make_instrument, place, worker
from trading.tests.suspending import drain

pytestmark = pytest.mark.django_db


@pytest.fixture
def alice(customer) -> Any:
    make_instrument()
    return customer("alice", USDT=1000)


@pytest.fixture
def waiting(alice) -> Order:
    return wait_in_review(alice)


@pytest.fixture
def kept(alice) -> Order:
    return keep_beyond_the_end(alice)


def test_an_order_of_a_trader_with_an_entry_in_suspense_is_left_to_those_who_repost_it(alice, waiting) -> None:
    SuspendedEntry.objects.create(
        key="order:1:unfreeze",
        kind="ORDER_UNFREEZE",
        effective_at=utc_now(),
        lines=[[alice.id, "1010", "USDT", "", "1"]],
        held=[],
        instrument_id=waiting.instrument_id,
        shard=0,
        sequence=1,
        created_at=utc_now(),
    )

    assert sweep() == [(waiting.id, Cause.REVIEW_EXPIRED, "WAIT")]

    assert fresh(waiting).status == "pending_review"


def test_a_sweep_that_dies_before_it_commits_has_done_nothing(alice, waiting, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(*_: object) -> None:
        raise ConnectionError

    with monkeypatch.context() as patch:
        patch.setattr(outbox, "statement", die)
        with pytest.raises(ConnectionError):
            sweep()

    assert fresh(waiting).status == "pending_review"
    assert not HoldSweep.objects.exists()
    assert sweep() == [(waiting.id, Cause.REVIEW_EXPIRED, "VOID")]
    assert broken() == []


def test_locks_are_taken_in_the_order_of_all(alice, waiting, tmp_path: Path) -> None:
    ReviewLimit.objects.all().delete()
    with worker(tmp_path) as shard:
        [order] = place(alice.id, limit("BTCUSDT", "buy", "0.0010", "40000"))
        shard.step(now=utc_now())
    Order.objects.filter(id=waiting.id).update(expires_at=utc_now() + LATER * 2)
    unasked_cancel(order)
    sweep()
    Order.objects.filter(id=waiting.id).update(expires_at=utc_now())
    with CaptureQueriesContext(connection) as caught:
        assert [step for *_, step in sweep()] == ["VOID", "ASK"]

    locks = ("FROM ledger_gate", "INSERT INTO hold_sweeps", "ledger_post(", "append_commands(", "store_outbox(")
    taken = [name for query in caught for name in locks if name in query["sql"]]
    assert taken == list(locks)


def _statements(customer: Any, count: int) -> int:
    """Let so many orders be voided, asked for and noted; return how many statements the sweep takes."""
    traders = [customer(f"trader-{count}-{number}", USDT=2000) for number in range(count)]
    until = utc_now() + timedelta(minutes=1)
    for trader in traders:
        place(
            trader.id,
            limit("BTCUSDT", "buy", "0.0101", "50000", time_in_force="gtd", expires_at=until),
            limit("BTCUSDT", "buy", "0.0010", "40000"),
        )
        Order.objects.filter(user_id=trader.id, status="new").update(cancel_requested_at=utc_now())
    with CaptureQueriesContext(connection) as caught:
        done = sweeper.sweep(now=later())
    assert [item.step for item in done].count(Step.VOID) == count
    return len(caught)


def test_a_batch_costs_a_constant_number_of_statements(alice, customer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instruments, "SPEC_SECONDS", 3600)  # read anew once a second, which is not this batch's cost
    ReviewLimit.objects.create(tier_id="STANDARD", asset_id="USDT", notional=500)
    _statements(customer, 1)

    assert _statements(customer, 2) == _statements(customer, 20)


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let commands find the run's own servers, which are running."""
    monkeypatch.setattr(session, "servers", lambda _: nullcontext())


@pytest.mark.usefixtures("running")
def test_a_dry_run_tells_and_changes_nothing(alice, waiting, capsys: pytest.CaptureFixture[str]) -> None:
    Order.objects.filter(id=waiting.id).update(expires_at=utc_now() - timedelta(minutes=1))

    call_command("sweep_holds", "--dry-run")
    shown = capsys.readouterr().out
    call_command("sweep_holds", "--dry-run", "--json")

    assert (str(waiting.id) in shown, "REVIEW_EXPIRED" in shown, "505.101" in shown) == (True, True, True)
    assert '"step": "VOID"' in capsys.readouterr().out
    assert fresh(waiting).status == "pending_review"
    assert not HoldSweep.objects.exists()


@pytest.mark.usefixtures("running")
def test_the_command_fails_when_something_cannot_be_explained_and_status_counts_it(alice, kept) -> None:
    drain(alice, "USDT")

    with pytest.raises(CommandError, match="1 of 1 cannot be explained"):
        call_command("sweep_holds")

    found = health._holds(utc_now())
    assert found == health.Holds(waiting=0, voided=0, broken=1, in_review=0, review_seconds=None)


@pytest.mark.usefixtures("running")
def test_the_command_says_that_nothing_was_left_behind(alice, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("sweep_holds")

    assert capsys.readouterr().out == "nothing was left behind\n"
