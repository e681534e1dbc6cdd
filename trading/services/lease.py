"""Which worker may write for a shard: a lease with a fencing epoch, in the database that it protects.

Note [Taking a lease]
    A lease is free when it has expired. It is also free, without waiting, when the session of its owner has ended: that
    session holds an advisory lock, which the server lets go when the process is killed. The lock says so only of an
    owner who had it, so the row tells for which epoch that is (`locked_epoch`).

    Who takes an expired lease may find the old owner stopped, not dead, and its sessions with it: holding the advisory
    lock, and perhaps in the middle of a settlement, holding the cursor and traders' gates. So in this order, each step
    a transaction of its own:

    1. The lease's epoch is raised. From here on the old owner cannot renew.
    2. Its sessions are ended: whoever holds the advisory lock, and all that carry the old owner's name
       (`name_sessions`). What they had not committed is undone; all their locks are free.
    3. The settlement cursor's epoch is raised, and the cursor read. What the old owner had committed until then is
       settled and counts; nothing more can be, by a session that was not ended either.
    4. The advisory lock is taken, and noted. Until then a free lock means nothing, and only expiry ends this lease.

    Two takers meet at the row of the lease: the second sees what the first has made of it. A taker that is itself
    stopped between two steps has its lease taken in turn, and finds the cursor with a higher epoch in step 3.
"""

import time
from typing import Any

import psycopg
import structlog
from django.conf import settings
from django.db import DatabaseError, OperationalError, transaction

from exchange import database
from exchange.kernel.errors import DomainError, InvariantViolationError, gettext_noop, require

logger = structlog.get_logger(__name__)

LEASE_SECONDS = 2.0
RENEW_SECONDS = 0.3

LOCK_SPACE = 9010
"""First half of the advisory lock that a living worker's session holds; the second is the shard."""

LOCK_SECONDS = 1.0
"""How long a taker waits for the advisory lock of sessions that it has ended."""

CURSOR_ATTEMPTS_MAX = 3
"""How often a taker waits for the settlement cursor, each time for `lock_timeout`."""

_NAME_CHARACTERS_MAX = 63
"""The server cuts the names of sessions."""

_TAKE = """
WITH held AS MATERIALIZED (
    SELECT shard, owner, expires_at <= clock_timestamp() AS is_over, locked_epoch = epoch AS was_locked
    FROM worker_lease WHERE shard = %s FOR UPDATE
), alone AS MATERIALIZED (
    SELECT shard, owner, is_over, pg_try_advisory_lock(%s, shard) AS is_alone FROM held WHERE is_over OR was_locked
)
UPDATE worker_lease l SET epoch = l.epoch + 1, owner = %s, expires_at = clock_timestamp() + make_interval(secs => %s),
    locked_epoch = CASE WHEN a.is_alone THEN l.epoch + 1 ELSE l.locked_epoch END
FROM alone a WHERE l.shard = a.shard AND (a.is_alone OR a.is_over) RETURNING l.epoch, a.owner, a.is_alone
"""
_OLD_SESSIONS = """
SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND classid = %s::bigint::oid AND objid = %s::bigint::oid
    AND objsubid = 2 AND granted AND pid <> pg_backend_pid()
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
UNION SELECT pid FROM pg_stat_activity
WHERE datname = current_database() AND application_name = nullif(%s::text, '') AND pid <> pg_backend_pid()
"""
_END = "SELECT pg_terminate_backend(pid) FROM unnest(%s::integer[]) AS old(pid)"
_TAKE_CURSOR = """
UPDATE settlement_cursor SET epoch = %s WHERE shard = %s AND epoch < %s RETURNING sequence, state_hash
"""
_LOCK = """
WITH mine AS MATERIALIZED (
    SELECT shard FROM worker_lease WHERE shard = %s AND epoch = %s FOR UPDATE
), alone AS MATERIALIZED (
    SELECT shard, pg_try_advisory_lock(%s, shard) AS is_alone FROM mine
)
UPDATE worker_lease l SET locked_epoch = l.epoch FROM alone a WHERE l.shard = a.shard AND a.is_alone RETURNING l.epoch
"""
_RENEW = """
UPDATE worker_lease SET expires_at = now() + make_interval(secs => %s) WHERE shard = %s AND epoch = %s RETURNING epoch
"""
_GIVE_BACK = "UPDATE worker_lease SET expires_at = now() WHERE shard = %s AND epoch = %s"


class LeaseLostError(InvariantViolationError):
    """Another worker has taken the lease, or it was ended: this process must stop at once."""


class LeaseHeldError(DomainError):
    """Another worker is alive on this shard."""

    code = 9010
    name = "LEASE_HELD"
    status = 409
    message = gettext_noop("Shard %(shard)s belongs to %(owner)s.")


def open_shard(shard: int) -> None:
    """Make a shard's rows; repeating it changes nothing."""
    database.execute("SELECT open_shard(%s::smallint)", shard)


def name_sessions(shard: int, owner: str) -> None:
    """Let every connection that this process opens from now on tell whose it is, so that a taker can end it."""
    settings.DATABASES["default"]["OPTIONS"]["application_name"] = _session_name(shard, owner)


def _session_name(shard: int, owner: str) -> str:
    """Return what the sessions of a shard's worker are called."""
    return f"worker {shard} {owner}"[:_NAME_CHARACTERS_MAX]


def take(shard: int, owner: str) -> tuple[int, int, int]:
    """Take a lease, raising its epoch; the settlement cursor obeys only that epoch from now on.

    See Note [Taking a lease]. This session must live as long as the worker.

    Args:
        owner: Of one process alone, at any time: what carries the old owner's name is ended.

    Returns:
        The lease epoch, the settled sequence, and the engine's state hash there.

    Raises:
        LeaseHeldError: Its owner lives, and renewed it within LEASE_SECONDS; or another one takes it just now.
    """
    [rows] = database.fetch((_TAKE, (shard, LOCK_SPACE, owner, LEASE_SECONDS)))
    if not rows:
        raise _held(shard)
    [(epoch, old_owner, is_alone)] = rows
    _end_sessions(shard, old_owner if old_owner != owner else "")
    rows = _take_cursor(shard, epoch)
    if not rows:
        raise _held(shard)
    if not is_alone:
        _lock(shard, epoch)
    [(sequence, state_hash)] = rows
    return epoch, sequence, int(state_hash)


def _held(shard: int) -> LeaseHeldError:
    """Say who has the lease."""
    [held] = database.fetch(("SELECT owner FROM worker_lease WHERE shard = %s", (shard,)))
    require(held, f"shard {shard} is unknown")
    return LeaseHeldError(shard=shard, owner=held[0][0])


def _end_sessions(shard: int, old_owner: str) -> None:
    """End the old owner's sessions, as the login that they have in common, for a role has no right to do it.

    What cannot be ended (an operator's session, of another login) stays fenced off by its epoch.
    """
    name = _session_name(shard, old_owner) if old_owner else ""
    [rows] = database.fetch((_OLD_SESSIONS, (LOCK_SPACE, shard, name)))
    if not rows:
        return
    pids = [pid for (pid,) in rows]
    try:
        with transaction.atomic():
            database.execute("SET LOCAL ROLE NONE")
            [ended] = database.fetch((_END, (pids,)))
    except (DatabaseError, psycopg.Error) as error:
        logger.warning("lease_sessions_not_ended", shard=shard, owner=old_owner, detail=str(error).strip())
        return
    logger.warning("lease_sessions_ended", shard=shard, owner=old_owner, ended=sum(one for (one,) in ended))


def _take_cursor(shard: int, epoch: int) -> list[tuple[Any, ...]]:
    """Raise the settlement cursor's epoch, and return sequence and hash there; no row when a later taker has it."""
    for attempt in range(1, CURSOR_ATTEMPTS_MAX + 1):
        try:
            return database.fetch((_TAKE_CURSOR, (epoch, shard, epoch)))[0]
        except OperationalError as error:
            if not database.is_undone(error) or attempt == CURSOR_ATTEMPTS_MAX:
                raise
            logger.warning("lease_waits_for_cursor", shard=shard, epoch=epoch, attempt=attempt)
    raise InvariantViolationError("the last attempt to take the cursor returns or raises")


def _lock(shard: int, epoch: int) -> None:
    """Take the advisory lock that the old owner's sessions had, and note it; without it only expiry ends this lease."""
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        [rows] = database.fetch((_LOCK, (shard, epoch, LOCK_SPACE)))
        if rows:
            return
        if time.monotonic() > deadline:
            logger.warning("lease_without_lock", shard=shard, epoch=epoch)
            return
        time.sleep(0.01)


def is_held(shard: int) -> bool:
    """Tell whether a worker has the lease and renewed it in time."""
    [rows] = database.fetch(("SELECT FROM worker_lease WHERE shard = %s AND expires_at > now()", (shard,)))
    return bool(rows)


def renew(shard: int, epoch: int) -> None:
    """Keep the lease.

    Raises:
        LeaseLostError: Another worker has taken it; this process must stop at once.
    """
    [rows] = database.fetch((_RENEW, (LEASE_SECONDS, shard, epoch)))
    if not rows:
        raise LeaseLostError(f"the lease of shard {shard} was taken from epoch {epoch}")


def hold(shard: int, epoch: int, seconds: float) -> None:
    """Keep the lease for an operator's work without renewing it; it ends with this session at the latest."""
    database.execute(_RENEW, seconds, shard, epoch)


def give_back(shard: int, epoch: int) -> None:
    """Let the next worker start at once, after a clean stop."""
    database.execute(_GIVE_BACK, shard, epoch)
    database.execute("SELECT pg_advisory_unlock(%s, %s)", LOCK_SPACE, shard)
