"""Admission and settlement in step while the books are behind: Note [Lockstep]."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from exchange import database
from exchange.kernel.clock import utc_now
from exchange.observability import metrics
from matching_worker.shard import Shard
from trading import audit
from trading.models import Order
from trading.services import orders, settlement, turnstile
from trading.services.gathering import IN_STEP_MAX, LATE_MAX, PUT_OFF_MAX, Gatherer, Ticket
from trading.services.pressure import Pressure
from trading.services.requests import Submission
from trading.services.turnstile import Pace, Turnstile
from trading.tests.road import limit, make_instrument, worker
from trading.tests.test_gathering import _road_emptied  # noqa: F401 -- a fixture

pytestmark = pytest.mark.django_db(transaction=True)

DEADLINE_S = 10
_WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'advisory' AND classid = %s"
_HOLDER = """
import json, sys, time, psycopg
with psycopg.connect(**json.loads(sys.argv[1]), autocommit=True) as held:
    held.execute("SELECT pg_advisory_lock(%s, 0)", [int(sys.argv[2])])
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def traders(customer: Callable[..., Any]) -> list[int]:
    """Return three traders, in order of their gates."""
    make_instrument()
    return sorted(customer(name, USDT=1000).id for name in ("alice", "bob", "carol"))


@pytest.fixture
def _soon_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let one command that waits mean that settlement is behind, and one settled that the next comes soon."""
    monkeypatch.setattr(turnstile, "BEHIND_MIN", 1)
    monkeypatch.setattr(turnstile, "CLOSES_FROM", 1)


def _ticket(*owners: int) -> Ticket:
    """Return a ticket with an order of each owner."""
    return Ticket([Submission(owner, limit("BTCUSDT", "buy", "0.001", "50000")) for owner in owners], utc_now())


def _submit(gatherer: Gatherer, owner: int) -> list[Any]:
    """Submit one order over a connection of the thread's own."""
    try:
        return gatherer.submit(_ticket(owner).submissions, now=utc_now())
    finally:
        connection.close()


def _until(is_so: Callable[[], bool]) -> None:
    """Return as soon as it is so."""
    deadline = time.monotonic() + DEADLINE_S
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def _somebody_waits(space: int) -> None:
    """Return as soon as somebody waits for one of the two locks."""

    def is_waiting() -> bool:
        with connection.cursor() as cursor:
            cursor.execute(_WAITING, [space])
            return bool(cursor.fetchone()[0])

    _until(is_waiting)


@contextmanager
def _holder(space: int) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a process that holds one of the two locks."""
    known = {"dbname", "user", "password", "host", "port"}
    params = {key: value for key, value in connection.get_connection_params().items() if key in known}
    command = [sys.executable, "-c", _HOLDER, json.dumps(params), str(space)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"held\n"
            yield process
        finally:
            process.kill()


class _Gated:
    """A settlement that stops before it says that it has its gates, and before it writes, until it may go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.gates, self.commit = threading.Semaphore(0), threading.Semaphore(0)
        self.reached: list[str] = []
        opens, write = Turnstile.open, settlement.write

        def opening(one: Turnstile) -> None:
            self._pass("gates", self.gates)
            opens(one)

        def writing(*args: Any, **rest: Any) -> float:
            self._pass("commit", self.commit)
            return write(*args, **rest)

        monkeypatch.setattr(Turnstile, "open", opening)
        monkeypatch.setattr(settlement, "write", writing)

    def _pass(self, name: str, may: threading.Semaphore) -> None:
        self.reached.append(name)
        assert may.acquire(timeout=DEADLINE_S)

    def until(self, *reached: str) -> None:
        """Return as soon as these were reached, in order."""
        _until(lambda: self.reached == list(reached))


def _settle(folder: Path, may_end: threading.Event) -> None:
    """Settle what is in the log until told to end."""
    try:
        with worker(folder) as shard:
            while not may_end.is_set():
                if not shard.step(now=utc_now()):
                    time.sleep(0.005)
    finally:
        connection.close()


@pytest.mark.usefixtures("_soon_behind")
def test_while_behind_a_batch_begins_when_the_next_settlement_has_its_gates_and_runs_beside_it(
    traders: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, bob, carol = traders
    connection.close()  # it may have an earlier test's lock: who takes a lease ends the old owner's sessions
    monkeypatch.setattr(turnstile, "WAIT_MS", 1000 * DEADLINE_S)
    gatherer, gated, may_end = Gatherer(), _Gated(monkeypatch), threading.Event()
    gatherer.submit(_ticket(alice).submissions, now=utc_now())

    with ThreadPoolExecutor(2) as pool:
        settling = pool.submit(_settle, tmp_path, may_end)
        gated.until("gates")
        gated.gates.release()
        gated.until("gates", "commit")  # it has the gates of alice, and the one after it will be carol's
        orders.submit(_ticket(carol).submissions, now=utc_now())
        written = pool.submit(_submit, gatherer, bob)
        _somebody_waits(turnstile.RUN_SPACE)
        gated.commit.release()
        gated.until("gates", "commit", "gates")
        _somebody_waits(turnstile.TURNSTILE_SPACE)
        assert not written.done()

        gated.gates.release()

        [order] = written.result(DEADLINE_S)
        assert gated.reached == ["gates", "commit", "gates", "commit"]
        assert isinstance(order, Order)
        gated.gates.release()
        gated.commit.release(2)
        gated.until("gates", "commit", "gates", "commit", "gates", "commit")
        may_end.set()
        settling.result(DEADLINE_S)
    assert [item for item in audit.invariants() if not item.ok] == []


@pytest.mark.usefixtures("_soon_behind")
@pytest.mark.parametrize("space", [turnstile.RUN_SPACE, turnstile.TURNSTILE_SPACE])
def test_a_killed_worker_keeps_nobody_waiting(traders: list[int], monkeypatch: pytest.MonkeyPatch, space: int) -> None:
    monkeypatch.setattr(turnstile, "WAIT_MS", 100_000)
    gatherer = Gatherer()
    gatherer.submit(_ticket(traders[0]).submissions, now=utc_now())

    with ThreadPoolExecutor(1) as pool, _holder(space) as holder:
        written = pool.submit(_submit, gatherer, traders[1])
        _somebody_waits(space)
        holder.kill()

        [order] = written.result(DEADLINE_S)

    assert isinstance(order, Order)


@pytest.mark.usefixtures("_soon_behind")
def test_for_a_worker_that_hangs_a_batch_waits_for_a_while_and_those_after_it_do_not(
    traders: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turnstile, "WAIT_MS", 300)
    gatherer, took = Gatherer(), []
    gatherer.submit(_ticket(traders[0]).submissions, now=utc_now())
    waits = metrics.STAGE_SECONDS.labels("turnstile")

    with _holder(turnstile.TURNSTILE_SPACE):
        for _ in range(3):
            before = waits._sum.get()
            [order] = gatherer.submit(_ticket(traders[1]).submissions, now=utc_now())
            assert isinstance(order, Order)
            took.append(waits._sum.get() - before)

    assert 0.3 <= took[0] < DEADLINE_S
    assert took[1:] == [0, 0]


@pytest.mark.usefixtures("_soon_behind")
def test_when_all_is_settled_nobody_waits_at_a_closed_turnstile(traders: list[int], tmp_path: Path) -> None:
    gatherer = Gatherer()
    gatherer.submit(_ticket(traders[0]).submissions, now=utc_now())

    with worker(tmp_path) as shard:
        assert shard.step(now=utc_now()) == 1
        assert shard._turnstile is not None
        assert shard._turnstile._is_closed
        assert gatherer._pace.is_kept
        [order] = _in_thread(_submit, gatherer, traders[1])

    assert isinstance(order, Order)
    assert gatherer._pace._given_up == (-1, -1)


@pytest.mark.usefixtures("_soon_behind")
def test_recovery_closes_nothing_for_its_connection_is_not_the_one_that_settles_later(
    traders: list[int], tmp_path: Path
) -> None:
    Gatherer().submit(_ticket(*traders).submissions, now=utc_now())
    with worker(tmp_path) as killed:  # before it settled what is in its WAL
        got = killed.read()
        assert got is not None
        killed.journal(*got)
        killed.match(got[0])

    shard = Shard(0, wal_dir=tmp_path, owner="test")
    shard.recover(now=utc_now())

    assert shard.settled == len(traders)
    locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid = %s"
    assert database.fetch((locks, (turnstile.TURNSTILE_SPACE,))) == [[(0,)]]
    shard.close()


def _in_thread(work: Callable[..., Any], *args: Any) -> Any:
    """Return what a function returns in a thread of its own."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work, *args).result(DEADLINE_S)


def test_a_lone_order_costs_neither_admission_nor_settlement_a_statement_more(
    traders: list[int], tmp_path: Path
) -> None:
    gatherer = Gatherer()
    with CaptureQueriesContext(connection) as asked, worker(tmp_path) as shard:
        for _ in range(2):
            gatherer.submit(_ticket(traders[0]).submissions, now=utc_now())
            assert shard.step(now=utc_now()) == 1

    locks = [query["sql"] for query in asked if str(turnstile.TURNSTILE_SPACE) in query["sql"]]
    assert locks == []
    runs = [query["sql"] for query in asked if str(turnstile.RUN_SPACE) in query["sql"]]
    assert len(runs) == 2
    assert all("UPDATE settlement_cursor" in sql for sql in runs)


class _Beside(Pace):
    """A pace that is always kept; what it waits for is noted."""

    def __init__(self, *, is_beside: bool) -> None:
        super().__init__()
        self._is_beside = is_beside
        self.waited: list[bool] = []

    @property
    def is_kept(self) -> bool:
        return True

    def is_beside(self) -> bool:
        return self._is_beside

    def wait(self, *, beside: bool) -> None:
        self.waited.append(beside)


@pytest.mark.parametrize(("is_beside", "often"), [(True, PUT_OFF_MAX), (False, LATE_MAX)])
def test_who_was_put_off_often_is_written_apart_and_in_order(
    traders: list[int], *, is_beside: bool, often: int
) -> None:
    alice, bob, carol = traders
    tickets = [_ticket(bob), _ticket(alice), _ticket(bob, carol), _ticket(bob)]
    for ticket, times in zip(tickets, (often, 0, PUT_OFF_MAX, 1), strict=True):
        ticket.times_put_off = times
    gatherer = Gatherer()
    gatherer._pace = _Beside(is_beside=is_beside)
    gatherer.add(tickets)

    late = gatherer.write_next()
    rest = gatherer.write_next()

    assert late == [tickets[0], tickets[2]]
    assert rest == [tickets[1], tickets[3]]
    assert gatherer._pace.waited == [is_beside]
    theirs = [order.id for ticket in (tickets[0], tickets[2], tickets[3]) for order in ticket.results or []]  # type: ignore[union-attr]
    mine = set(Order.objects.filter(user_id=bob).values_list("id", flat=True))
    assert [one for one in theirs if one in mine] == sorted(mine)


def test_in_step_a_batch_is_no_larger_than_what_is_settled_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    gatherer = Gatherer()
    gatherer._pace = _Beside(is_beside=False)
    gatherer.add([_ticket(1) for _ in range(IN_STEP_MAX + 1)])
    sizes = []

    def submitted(groups: Any, **_: Any) -> list[list[Any]]:
        sizes.append(len(groups))
        return [[None] for _ in groups]

    monkeypatch.setattr(orders, "submit_groups", submitted)
    gatherer.write_next()
    gatherer.write_next()

    assert sizes == [IN_STEP_MAX, 1]


def test_the_shard_that_is_most_behind_sets_the_pace_and_what_was_read_long_ago_does_not_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    pace = Pace()
    kept = [pace.is_kept]

    pace.learn(Pressure(lags={0: 5, 1: turnstile.BEHIND_MIN}, settled={0: 7, 1: 8}))
    kept.append(pace.is_kept)
    now[0] += turnstile.FRESH_SECONDS
    kept.append(pace.is_kept)

    assert kept == [False, True, False]
    assert (pace._shard, pace._settled) == (1, 8)


def test_after_a_batch_that_was_mostly_put_off_admission_and_settlement_run_in_turns_for_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, pace, kept = [100.0], Pace(), []
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    pressure = Pressure(lags={0: turnstile.BEHIND_MIN}, settled={0: 7})

    for put_off, later in ((5, 0.0), (6, 0.0), (0, turnstile.IN_TURNS_SECONDS)):
        pace.learn(pressure)
        pace.wrote(10, put_off)
        now[0] += later
        pace.learn(pressure)
        kept.append(pace.is_kept)

    assert kept == [True, False, True]


def test_the_turnstile_is_closed_where_more_comes_soon_and_opened_once(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[str] = []
    monkeypatch.setattr(database, "execute", lambda sql, _: sent.append(sql.split("(")[0]))
    one = Turnstile(0, lambda last: last < 10)

    one.open()
    one.close(10, turnstile.CLOSES_FROM - 1)
    assert sent == []
    for last, count in ((9, 1), (10, turnstile.CLOSES_FROM)):
        one.close(last, count)
        one.close(last, count)
        one.open()
        one.open()

    assert sent == ["SELECT pg_try_advisory_lock", "SELECT pg_advisory_unlock"] * 2
