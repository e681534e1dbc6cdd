"""Whose gate others keep is put off and holds nobody up: Note [Put off]."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from exchange.kernel.clock import utc_now
from ledger.services import accounts
from trading import audit
from trading.models import Order
from trading.services import orders
from trading.services.gathering import PUT_OFF_MAX, Gatherer, Ticket
from trading.services.requests import Group, Submission, whose_turn_it_is
from trading.tests.road import limit, make_instrument
from trading.tests.test_gathering import _road_emptied  # noqa: F401 -- a fixture

pytestmark = pytest.mark.django_db(transaction=True)

DEADLINE_S = 10
_WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY (pg_blocking_pids(pid))"


@pytest.fixture
def traders(customer: Callable[..., Any]) -> list[int]:
    """Return three traders, in order of their gates."""
    make_instrument()
    return sorted(customer(name, USDT=1000).id for name in ("alice", "bob", "carol"))


def _ticket(*owners: int) -> Ticket:
    """Return a ticket with an order of each owner."""
    return Ticket([Submission(owner, limit("BTCUSDT", "buy", "0.001", "50000")) for owner in owners], utc_now())


def _write_next(gatherer: Gatherer) -> list[Ticket]:
    """Write a batch over a connection of the thread's own."""
    try:
        return gatherer.write_next()
    finally:
        connection.close()


def _somebody_waits_for_us() -> None:
    """Return as soon as a transaction waits for this one."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        with connection.cursor() as cursor:
            cursor.execute(_WAITING)
            if cursor.fetchone()[0]:
                return
        assert time.monotonic() < deadline, "nobody waits"
        time.sleep(0.005)


def _written_while_kept(gatherer: Gatherer, *kept: int) -> list[Ticket]:
    """Return what the next batch writes while somebody else keeps these gates."""
    with ThreadPoolExecutor(1) as pool, transaction.atomic():
        accounts.lock(kept)
        return pool.submit(_write_next, gatherer).result(DEADLINE_S)


@contextmanager
def _waiting_for(gatherer: Gatherer, *kept: int) -> Iterator[Future[list[Ticket]]]:
    """Run the block while the next batch waits for these gates; let them go afterwards."""
    with ThreadPoolExecutor(1) as pool, transaction.atomic():
        accounts.lock(kept)
        written = pool.submit(_write_next, gatherer)
        _somebody_waits_for_us()
        yield written


def _owners(tickets: list[Ticket]) -> list[int | None]:
    """Return whose orders tickets brought."""
    return [result.user_id for ticket in tickets for result in ticket.results or [] if isinstance(result, Order)]


def test_whose_gate_is_kept_is_put_off_in_order_and_the_others_commit_at_once(traders: list[int]) -> None:
    alice, bob, carol = traders
    tickets = [_ticket(bob), _ticket(alice), _ticket(bob, bob), _ticket(carol)]
    gatherer = Gatherer()
    gatherer.add(tickets)

    done = _written_while_kept(gatherer, bob)

    assert done == [tickets[1], tickets[3]]
    assert _owners(done) == [alice, carol]
    assert set(Order.objects.values_list("user_id", flat=True)) == {alice, carol}
    assert gatherer.waiting == [tickets[0], tickets[2]]
    later = [_ticket(bob), _ticket(alice)]
    gatherer.add(later)

    assert gatherer.write_next() == [tickets[0], tickets[2], *later]

    assert [len(ticket.results or []) for ticket in tickets] == [1, 1, 2, 1]
    theirs = [order.id for ticket in (tickets[0], tickets[2], later[0]) for order in ticket.results or []]  # type: ignore[union-attr]
    assert theirs == list(Order.objects.filter(user_id=bob).order_by("id").values_list("id", flat=True))
    assert [item for item in audit.invariants() if not item.ok] == []


def test_who_was_put_off_often_enough_waits_and_meanwhile_holds_no_other_gate(traders: list[int]) -> None:
    alice, bob, _ = traders
    gatherer = Gatherer()
    gatherer.add([_ticket(alice)])
    for _ in range(PUT_OFF_MAX):
        gatherer.add([_ticket(bob)])
        assert _owners(_written_while_kept(gatherer, alice)) == [bob]
    gatherer.add([_ticket(bob)])

    with _waiting_for(gatherer, alice) as written:
        with connection.cursor() as cursor:
            cursor.execute("SELECT FROM ledger_gate WHERE owner_id = %s FOR NO KEY UPDATE NOWAIT", [bob])
        assert not written.done()

    assert _owners(written.result()) == [alice, bob]
    assert gatherer.waiting == []


def test_when_nobodys_gate_is_free_the_batch_waits_for_them(traders: list[int]) -> None:
    alice, bob, _ = traders
    gatherer = Gatherer()
    gatherer.add([_ticket(bob), _ticket(alice)])

    with _waiting_for(gatherer, alice, bob) as written:
        assert not written.done()

    assert _owners(written.result()) == [bob, alice]


def test_a_ticket_of_several_traders_is_put_off_whole_and_none_of_theirs_overtakes_it() -> None:
    def group(*owners: int, waits: bool = False) -> Group:
        return Group(_ticket(*owners).submissions, waits)

    groups = [group(1), group(1, 2), group(1), group(3), group(2, 4), group(4), group(3)]

    assert whose_turn_it_is(groups, {1, 3, 4}) == [True, False, False, True, False, False, True]
    assert whose_turn_it_is(groups, {1, 2, 3, 4}) == [True] * 7
    assert whose_turn_it_is(groups, ()) == [False] * 7


def test_through_the_gatherer_a_request_costs_no_statement_more(traders: list[int]) -> None:
    gatherer = Gatherer()
    gatherer.submit(_ticket(traders[0]).submissions, now=utc_now())
    with CaptureQueriesContext(connection) as plain:
        orders.submit(_ticket(traders[0]).submissions, now=utc_now())

    with CaptureQueriesContext(connection) as gathered:
        gatherer.submit(_ticket(traders[0]).submissions, now=utc_now())

    assert len(gathered) == len(plain) > 0
