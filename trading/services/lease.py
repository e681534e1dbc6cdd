"""Which worker may write for a shard: a lease with a fencing epoch, in the database that it protects."""

from exchange import database
from exchange.kernel.errors import DomainError, InvariantViolationError, gettext_noop, require

LEASE_SECONDS = 2.0
RENEW_SECONDS = 0.3

LOCK_SPACE = 9010
"""First half of the advisory lock that a living worker's session holds; the second is the shard."""

_TAKE = """
WITH alone AS MATERIALIZED (
    SELECT pg_try_advisory_lock(%s, %s) AS is_alone
), taken AS (
    UPDATE worker_lease l SET epoch = epoch + 1, owner = %s, expires_at = now() + make_interval(secs => %s)
    FROM alone WHERE l.shard = %s AND (alone.is_alone OR l.expires_at <= now()) RETURNING l.shard, l.epoch
)
UPDATE settlement_cursor c SET epoch = t.epoch FROM taken t WHERE c.shard = t.shard
RETURNING c.epoch, c.sequence, c.state_hash
"""
_RENEW = """
UPDATE worker_lease SET expires_at = now() + make_interval(secs => %s) WHERE shard = %s AND epoch = %s RETURNING epoch
"""
_GIVE_BACK = "UPDATE worker_lease SET expires_at = now() WHERE shard = %s AND epoch = %s"


class LeaseHeldError(DomainError):
    """Another worker is alive on this shard."""

    code = 9010
    name = "LEASE_HELD"
    status = 409
    message = gettext_noop("Shard %(shard)s belongs to %(owner)s.")


def open_shard(shard: int) -> None:
    """Make a shard's rows; repeating it changes nothing."""
    database.execute("SELECT open_shard(%s::smallint)", shard)


def take(shard: int, owner: str) -> tuple[int, int, int]:
    """Take a lease, raising its epoch; the settlement cursor obeys only that epoch from now on.

    It is free when it has expired, or at once when the session of its owner is gone: a worker that is killed takes its
    advisory lock with it. This session must live as long as the worker.

    Returns:
        The lease epoch, the settled sequence, and the engine's state hash there.

    Raises:
        LeaseHeldError: Its owner lives, and renewed it within LEASE_SECONDS.
    """
    [rows] = database.fetch((_TAKE, (LOCK_SPACE, shard, owner, LEASE_SECONDS, shard)))
    if not rows:
        [held] = database.fetch(("SELECT owner FROM worker_lease WHERE shard = %s", (shard,)))
        require(held, f"shard {shard} is unknown")
        raise LeaseHeldError(shard=shard, owner=held[0][0])
    [(epoch, sequence, state_hash)] = rows
    return epoch, sequence, int(state_hash)


def is_held(shard: int) -> bool:
    """Tell whether a worker has the lease and renewed it in time."""
    [rows] = database.fetch(("SELECT FROM worker_lease WHERE shard = %s AND expires_at > now()", (shard,)))
    return bool(rows)


def renew(shard: int, epoch: int) -> None:
    """Keep the lease.

    Raises:
        InvariantViolationError: Another worker has taken it; this process must stop at once.
    """
    [rows] = database.fetch((_RENEW, (LEASE_SECONDS, shard, epoch)))
    if not rows:
        raise InvariantViolationError(f"the lease of shard {shard} was taken from epoch {epoch}")


def hold(shard: int, epoch: int, seconds: float) -> None:
    """Keep the lease for an operator's work without renewing it; it ends with this session at the latest."""
    database.execute(_RENEW, seconds, shard, epoch)


def give_back(shard: int, epoch: int) -> None:
    """Let the next worker start at once, after a clean stop."""
    database.execute(_GIVE_BACK, shard, epoch)
    database.execute("SELECT pg_advisory_unlock(%s, %s)", LOCK_SPACE, shard)
