"""What a run asks the books: are its orders there, once, and does every invariant hold. Needs Django set up."""

import secrets
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeVar

from django.contrib.auth import get_user_model
from django.db import Error, connection

from exchange.kernel.clock import utc_now
from ledger.services import accounts, transfers
from risk.models import TraderProfile
from trading import audit, selectors
from trading.benchmarks.chaos.traders import PREFIX, Asked, Login
from trading.models import OPEN_STATUSES, Order

TIER = "MARKET_MAKER"
FUNDS = (("USDT", Decimal(5_000_000)), ("BTC", Decimal(50)))
DATABASE_SECONDS_MAX = SETTLED_SECONDS_MAX = 180.0
PAUSE_SECONDS = 0.02
NEAR_COMMANDS = 1_000
"""Of a standby that is no further behind the log it is said that it stands by."""

Result = TypeVar("Result")


class NotSettledError(Exception):
    """What was acknowledged does not come into the books."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of acknowledged orders; `lost` and `duplicated` have a sentence for each."""

    acknowledged: int
    cancels: int
    lost: list[str]
    duplicated: list[str]


def make_traders(count: int) -> list[Login]:
    """Make users with funds, a password, and a tier whose daily limit they will not reach."""
    password, now = secrets.token_urlsafe(16), utc_now()
    logins = []
    for number in range(count):
        name = f"{PREFIX}{number}"
        user = get_user_model().objects.create_user(name, password=password, is_demo=True)
        logins.append(Login(user.pk, name, password))
    owners = [login.owner_id for login in logins]
    accounts.open_gates(owners)
    TraderProfile.objects.bulk_create(TraderProfile(user_id=one, tier_id=TIER, counted_on=now.date()) for one in owners)
    deposits = [
        transfers.Deposit(one, asset, amount, f"chaos:{one}:{asset}") for one in owners for asset, amount in FUNDS
    ]
    transfers.deposit(deposits, now)
    return logins


def read(question: Callable[[], Result]) -> Result:
    """Ask the database, again while it is being restarted.

    Raises:
        django.db.Error: It has not come back.
    """
    deadline = time.monotonic() + DATABASE_SECONDS_MAX
    while True:
        try:
            return question()
        except Error:
            if time.monotonic() > deadline:
                raise
            connection.close()
            time.sleep(PAUSE_SECONDS)


def wait_settled() -> None:
    """Wait until everything that is in the log now is in the books; others may add to it meanwhile.

    Raises:
        NotSettledError: It is not there after long.
    """
    heads = {shard.shard: shard.log_sequence for shard in read(selectors.lag)}
    deadline = time.monotonic() + SETTLED_SECONDS_MAX
    while not read(lambda: all(shard.settled_sequence >= heads[shard.shard] for shard in selectors.lag())):
        if time.monotonic() > deadline:
            raise NotSettledError(f"The log is not settled up to {heads}: {selectors.lag()}")
        time.sleep(PAUSE_SECONDS)


def leader() -> int:
    """Wait until a worker has the lease and another one has replayed and stands by; return the first one's process id.

    Raises:
        NotSettledError: There are no two such workers after long.
    """
    deadline = time.monotonic() + SETTLED_SECONDS_MAX
    while True:
        [shard] = read(selectors.lag)
        if shard.lease_owner and shard.standby_behind is not None and shard.standby_behind <= NEAR_COMMANDS:
            return int(shard.lease_owner.split(":")[1])
        if time.monotonic() > deadline:
            raise NotSettledError(f"There are no two workers: {shard}")
        time.sleep(PAUSE_SECONDS)


def broken() -> list[str]:
    """Check every invariant, as of one moment; return those that do not hold, each with what it found."""
    return [f"{found.name}: {found.detail}" for found in read(audit.invariants) if not found.ok]


def judge(asked: Asked) -> Verdict:
    """Look for every acknowledged order: there once, under the id that was told, and ended if a cancel was accepted.

    Whether orders stand as the engine has them is an invariant, and checked with the others.
    """
    rows = read(
        lambda: list(
            Order.objects.filter(client_order_id__startswith=PREFIX)
            .order_by("id")
            .values_list("user_id", "client_order_id", "id", "status")
        )
    )
    found: dict[tuple[int, str | None], list[int]] = defaultdict(list)
    for owner_id, client_order_id, order_id, _ in rows:
        found[owner_id, client_order_id].append(order_id)
    statuses = {order_id: status for _, _, order_id, status in rows}
    lost = [
        f"order {noted.order_id} ({noted.client_order_id}) was acknowledged, and is not in the books"
        for noted in asked.acknowledged
        if noted.order_id not in found[noted.owner_id, noted.client_order_id]
    ]
    lost += [
        f"the cancel of order {order_id} was acknowledged, and the order is {statuses.get(order_id)}"
        for order_id in asked.cancelled
        if statuses.get(order_id) in {None, *OPEN_STATUSES}
    ]
    duplicated = [
        f"{client_order_id} of user {owner_id} is in the books as orders {ids}"
        for (owner_id, client_order_id), ids in found.items()
        if len(ids) > 1
    ]
    return Verdict(len(asked.acknowledged), len(asked.cancelled), lost, duplicated + _told_twice(asked))


def _told_twice(asked: Asked) -> list[str]:
    """Return orders that were acknowledged under two ids of the client's."""
    told: dict[int, str] = {}
    return [
        f"order {noted.order_id} was acknowledged as {noted.client_order_id} and as {told[noted.order_id]}"
        for noted in asked.acknowledged
        if told.setdefault(noted.order_id, noted.client_order_id) != noted.client_order_id
    ]
