"""The lease: one writer a shard, each taker with a higher epoch, the cursor obeying only the last."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import psycopg
import pytest
from django.conf import settings
from django.db import OperationalError, connection
from django.db.models.functions import Now

from exchange.kernel.clock import utc_now
from exchange.kernel.errors import InvariantViolationError
from matching_worker.protocol import COMMAND_DTYPE, EVENT_DTYPE, NO_LEVEL
from trading.models import SettlementCursor, WorkerLease
from trading.services import lease, settlement
from trading.tests.processes import Scratch

pytestmark = pytest.mark.django_db

NOTICED_SECONDS_MAX = 20.0
HOLDER = (
    "import django; django.setup()\n"
    "from trading.services import lease\n"
    "lease.LEASE_SECONDS = 3600.0\n"
    "print(lease.take(0, 'other'), flush=True)\n"
    "import time; time.sleep(60)\n"
)


LOGIN = "worker_login_of_a_test"
STOPPED = (
    "import django; django.setup()\n"
    "from django.db import transaction\n"
    "from trading.models import SettlementCursor\n"
    "from trading.services import lease\n"
    "lease.name_sessions(0, 'stopped')\n"
    "epoch, _, _ = lease.take(0, 'stopped')\n"
    "with transaction.atomic():\n"
    "    SettlementCursor.objects.filter(epoch=epoch).update(sequence=7)\n"
    "    print('settling', flush=True)\n"
    "    input()\n"
    "print('committed', flush=True)\n"
)
"""Who has the lease, and is in the middle of a settlement."""

TAKER = (
    "import django; django.setup()\n"
    "from trading.services import lease\n"
    "lease.name_sessions(0, 'taker')\n"
    "print(lease.take(0, 'taker'), flush=True)\n"
    "input()\n"
)


@pytest.fixture(name="_django_db_helper")
def _no_transaction_around(django_db_setup) -> None:
    """Wrap nothing around the tests of this module: each has a database of its own, and really commits."""


def test_a_living_worker_s_shard_cannot_be_taken_a_killed_one_s_at_once(scratch: Scratch) -> None:
    command = [sys.executable, "-c", HOLDER]
    with subprocess.Popen(command, cwd=settings.BASE_DIR, env=scratch.env, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"(1, 0, 0)\n"

        with pytest.raises(lease.LeaseHeldError) as refusal:
            lease.take(0, "me")
        holder.kill()
        holder.wait()
        taken = _take_soon()

    assert refusal.value.data == {"shard": 0, "owner": "other"}
    assert taken == (2, 0, 0)


def _take_soon() -> tuple[int, int, int]:
    """Take the lease once the server has noticed that the other session is gone."""
    deadline = time.monotonic() + NOTICED_SECONDS_MAX
    while True:
        try:
            return lease.take(0, "me")
        except lease.LeaseHeldError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def test_who_lost_the_lease_can_neither_renew_nor_settle(scratch: Scratch) -> None:
    epoch, _, _ = lease.take(0, "me")
    lease.renew(0, epoch)
    lease.give_back(0, epoch)
    later, _, _ = lease.take(0, "me again")
    assert later == epoch + 1

    with pytest.raises(InvariantViolationError):
        lease.renew(0, epoch)
    commands, events = np.zeros(1, COMMAND_DTYPE), np.zeros(1, EVENT_DTYPE)
    events["level_lots"] = NO_LEVEL
    commands["sequence"] = events["sequence"] = 1
    with pytest.raises(settlement.FencedError):
        settlement.settle(0, epoch, commands, events, now=utc_now())

    assert SettlementCursor.objects.get(shard=0).sequence == 0
    lease.give_back(0, later)


def test_a_repeated_settlement_is_refused_and_changes_nothing(scratch: Scratch) -> None:
    epoch, _, _ = lease.take(0, "me")
    commands, events = np.zeros(1, COMMAND_DTYPE), np.zeros(1, EVENT_DTYPE)
    events["level_lots"] = NO_LEVEL
    commands["sequence"] = events["sequence"] = 1
    events["kind"], events["reason"], events["state_hash"] = 5, 33, 2**64 - 1
    commands["kind"] = 2
    settlement.settle(0, epoch, commands, events, now=utc_now())

    with pytest.raises(settlement.FencedError):
        settlement.settle(0, epoch, commands, events, now=utc_now())

    cursor = SettlementCursor.objects.get(shard=0)
    assert (cursor.sequence, int(cursor.state_hash)) == (1, 2**64 - 1)
    lease.give_back(0, epoch)


class Session:
    """A connection of its own, on a thread of its own."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1)

    def __call__(self, work: Callable[..., Any], *arguments: Any) -> Any:
        return self._thread.submit(work, *arguments).result()

    def end(self) -> None:
        """Let the server know that this session is over; another call begins a new one."""
        self(lambda: connection.close())  # noqa: PLW0108 - each thread has a connection of its own by that name

    def close(self) -> None:
        self.end()
        self._thread.shutdown()


@pytest.fixture(name="sessions")
def _three_sessions(scratch: Scratch) -> Iterator[list[Session]]:
    found = [Session() for _ in range(3)]
    yield found
    for session in found:
        session.close()


def _expire() -> None:
    WorkerLease.objects.update(expires_at=Now())


def test_who_takes_an_expired_lease_ends_the_old_owner_s_session_and_has_its_lock(
    sessions: list[Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    stalled, taker, third = sessions
    monkeypatch.setattr(lease, "LEASE_SECONDS", 3600.0)
    third(lease.is_held, 0)  # a session of no name, like those of web processes: nobody ends it
    assert stalled(lease.take, 0, "stalled") == (1, 0, 0)
    _expire()

    assert taker(lease.take, 0, "taker") == (2, 0, 0)

    with pytest.raises(OperationalError):
        stalled(lease.renew, 0, 1)
    assert WorkerLease.objects.get().locked_epoch == 2
    with pytest.raises(lease.LeaseHeldError):
        third(lease.take, 0, "third")
    taker.end()
    assert _until(lambda: third(_taken, "third")) == (3, 0, 0)


def _taken(owner: str) -> tuple[int, int, int] | None:
    """Take the lease, if it is free."""
    try:
        return lease.take(0, owner)
    except lease.LeaseHeldError:
        return None


def _until(found: Callable[[], Any]) -> Any:
    """Wait for what the server notices by and by."""
    deadline = time.monotonic() + 60
    while not (result := found()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return result


def test_a_lock_that_the_lease_s_owner_never_had_says_nothing_when_it_is_free(
    sessions: list[Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    stalled, taker, third = sessions
    stalled(lease.take, 0, "stalled")
    _expire()
    monkeypatch.setattr(lease, "_end_sessions", lambda *_: None)  # as of another login, which may not be ended
    monkeypatch.setattr(lease, "LOCK_SECONDS", 0.0)
    monkeypatch.setattr(lease, "LEASE_SECONDS", 3600.0)
    assert taker(lease.take, 0, "taker") == (2, 0, 0)
    stalled.end()

    def lock_is_free() -> bool:
        with connection.cursor() as cursor:
            cursor.execute("SELECT NOT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND classid = 9010)")
            return bool(cursor.fetchone()[0])

    _until(lock_is_free)
    with pytest.raises(lease.LeaseHeldError):
        third(lease.take, 0, "third")

    assert WorkerLease.objects.get().epoch == 2
    _expire()
    assert third(lease.take, 0, "third") == (3, 0, 0)


def test_a_taker_that_was_overtaken_does_not_get_the_cursor(
    sessions: list[Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, quick, _ = sessions

    def overtaken(_shard: int, _old_owner: str) -> None:
        monkeypatch.setattr(lease, "_end_sessions", lambda *_: None)  # as if it could not end the slow one's
        monkeypatch.setattr(lease, "LOCK_SECONDS", 0.0)
        _expire()
        assert quick(lease.take, 0, "quick") == (2, 0, 0)

    monkeypatch.setattr(lease, "_end_sessions", overtaken)

    with pytest.raises(lease.LeaseHeldError):
        slow(lease.take, 0, "slow")

    assert SettlementCursor.objects.get(shard=0).epoch == 2
    assert WorkerLease.objects.get().owner == "quick"


@contextmanager
def _login() -> Iterator[str]:
    """Make a login for workers as `exchange/deploy` has it: no owner of anything, member of one role."""
    place = connection.settings_dict
    with psycopg.connect(host=place["HOST"], user=place["USER"], dbname="postgres", autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {LOGIN} LOGIN")
        admin.execute(f"GRANT exchange_worker TO {LOGIN}")
        try:
            yield place["HOST"].replace("/", "%2F")
        finally:
            admin.execute(f"DROP ROLE {LOGIN}")


def test_a_login_for_workers_ends_the_settlement_of_one_that_was_stopped_and_takes_the_shard(scratch: Scratch) -> None:
    def started(script: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-c", script],
            cwd=settings.BASE_DIR,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    with _login() as host:
        url = f"postgresql://{LOGIN}@{host}/{connection.settings_dict['NAME']}"
        env = {**scratch.env, "DATABASE_URL": url, "EXCHANGE_DB_ROLE": "exchange_worker"}
        with started(STOPPED) as stopped, started("input()\n" + TAKER) as taker:
            assert stopped.stdout is not None
            assert taker.stdout is not None
            assert taker.stdin is not None
            assert stopped.stdout.readline() == b"settling\n"
            stopped.send_signal(signal.SIGSTOP)
            _expire()
            taker.stdin.write(b"\n")
            taker.stdin.flush()
            taken = taker.stdout.readline()
            stopped.send_signal(signal.SIGCONT)
            said, _ = stopped.communicate(b"\n")
            taker.communicate(b"\n")

    assert taken == b"(2, 0, 0)\n"
    assert said == b""
    assert stopped.returncode == 1
    assert SettlementCursor.objects.get(shard=0).sequence == 0
