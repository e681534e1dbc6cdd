"""Reads of orders, trades and a trader's account. Writes nothing."""

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import IntEnum

from django.db.models import Count, Min, Q

from exchange import database
from exchange.kernel.money import EXACT
from ledger import selectors as ledger
from ledger.chart import AccountCode
from ledger.models import Account, Asset
from ledger.waterfall import DEBT_TERM
from marketdata import selectors as instruments
from marketdata.units import InstrumentSpec
from matching_worker import protocol
from risk.models import DAILY_ORDER_LIMIT, SpotHolding, TraderProfile
from trading.errors import OrderNotFoundError
from trading.models import FINAL_STATUSES, OPEN_STATUSES, Command, Order, OrderStatus, Trade
from trading.sweep_models import HoldSweep

POLL_SECONDS = 0.005
"""How often a waiting DELETE looks whether the engine has answered."""

_LAG = """
SELECT s.shard, s.sequence, c.sequence, CASE WHEN l.expires_at > now() THEN l.owner ELSE '' END,
    s.shard = 0 OR s.sequence > c.sequence OR EXISTS (SELECT FROM marketdata_instrument i WHERE i.shard = s.shard),
    (SELECT min(w.behind) FROM worker_standby w WHERE w.shard = s.shard AND w.seen_at > now() - interval '3 seconds')
FROM command_stream s JOIN settlement_cursor c USING (shard) JOIN worker_lease l USING (shard) ORDER BY s.shard
"""


@dataclass(frozen=True, slots=True)
class AssetBalance:
    """What a trader has of one asset. `balance` is available; `frozen` is in order and withdrawal holds."""

    asset: str
    balance: Decimal
    frozen: Decimal
    margin: Decimal
    debt: Decimal
    debt_due_at: datetime | None = None

    @property
    def net(self) -> Decimal:
        """Everything owned less what is owed."""
        return self.balance + self.frozen + self.margin - self.debt


@dataclass(frozen=True, slots=True)
class AccountSummary:
    """A trader's balances and today's use of the order limit."""

    balances: list[AssetBalance]
    daily_order_count: int
    daily_order_limit: int


@dataclass(frozen=True, slots=True)
class SpotPosition:
    """A spot holding. The average price covers what was bought here; deposits have no cost."""

    spec: InstrumentSpec
    quantity: Decimal
    available: Decimal
    frozen: Decimal
    average_price: Decimal | None
    total_cost: Decimal


@dataclass(frozen=True, slots=True)
class ShardLag:
    """How far a shard's log, its settlement and its worker are apart.

    Attributes:
        is_needed: Whether a worker is missed where there is none. A shard that lost its last instrument, and whose log
            is settled, needs none.
        standby_behind: How many commands the nearest worker that stands by has not applied yet; None without one.
    """

    shard: int
    log_sequence: int
    settled_sequence: int
    lease_owner: str
    is_needed: bool = True
    standby_behind: int | None = None

    @property
    def lag(self) -> int:
        """Commands accepted but not yet in the books."""
        return self.log_sequence - self.settled_sequence


def order(owner_id: int, order_id: int) -> Order:
    """Return the owner's order.

    Raises:
        OrderNotFoundError: There is none, or it is another trader's.
    """
    found = Order.objects.filter(id=order_id, user_id=owner_id).first()
    if found is None:
        raise OrderNotFoundError(order_id=order_id)
    return found


def orders(
    owner_id: int,
    *,
    symbol: str | None = None,
    statuses: Sequence[str] = (),
    before_id: int | None = None,
    limit: int,
) -> list[Order]:
    """Return a page of the owner's orders, newest first.

    Args:
        before_id: Only orders older than this id: the cursor of the page before.
    """
    rows = Order.objects.filter(user_id=owner_id)
    if symbol is not None:
        rows = rows.filter(instrument_id=instruments.instrument(symbol).id)
    if statuses:
        rows = rows.filter(status__in=statuses)
    if before_id is not None:
        rows = rows.filter(id__lt=before_id)
    return list(rows.order_by("-id")[:limit])


def in_review(*, owner_id: int | None, spec: InstrumentSpec | None) -> list[int]:
    """Return the ids of orders that wait for review, of one trader or all, on one instrument or all, oldest first."""
    rows = Order.objects.filter(status=OrderStatus.PENDING_REVIEW)
    if owner_id is not None:
        rows = rows.filter(user_id=owner_id)
    if spec is not None:
        rows = rows.filter(instrument_id=spec.id)
    return list(rows.order_by("id").values_list("id", flat=True))


def open_order_ids(spec: InstrumentSpec, *, owner_id: int | None) -> list[int]:
    """Return the ids of an instrument's open orders, of one trader or all, oldest first."""
    rows = Order.objects.filter(instrument_id=spec.id, status__in=OPEN_STATUSES)
    if owner_id is not None:
        rows = rows.filter(user_id=owner_id)
    return list(rows.order_by("id").values_list("id", flat=True))


def order_trades(order_ids: Sequence[int]) -> dict[int, list[Trade]]:
    """Return the trades of each order, oldest first."""
    found: dict[int, list[Trade]] = defaultdict(list)
    wanted = set(order_ids)
    rows = Trade.objects.filter(Q(buy_order_id__in=order_ids) | Q(sell_order_id__in=order_ids))
    for trade in rows.order_by("id"):
        for order_id in {trade.buy_order_id, trade.sell_order_id} & wanted:
            found[order_id].append(trade)
    return found


def own_trades(owner_id: int, *, before_id: int | None = None, limit: int) -> list[Trade]:
    """Return a page of the trades in which the owner took part, newest first."""
    rows = Trade.objects.filter(Q(buyer_id=owner_id) | Q(seller_id=owner_id))
    if before_id is not None:
        rows = rows.filter(id__lt=before_id)
    return list(rows.order_by("-id")[:limit])


def recent_trades(symbol: str, limit: int) -> list[Trade]:
    """Return an instrument's last trades, newest first."""
    spec = instruments.instrument(symbol)
    return list(Trade.objects.filter(instrument_id=spec.id).order_by("-number")[:limit])


def wait_final(owner_id: int, order_id: int, timeout_seconds: float) -> Order:
    """Wait until an order has ended, at most so long; return it as it then is."""
    deadline = time.monotonic() + timeout_seconds
    while True:
        found = order(owner_id, order_id)
        if found.status in FINAL_STATUSES or time.monotonic() >= deadline:
            return found
        time.sleep(POLL_SECONDS)


def wait_amended(owner_id: int, order_id: int, timeout_seconds: float) -> Order:
    """Wait until the engine has answered an order's amend, at most so long; return the order as it then is."""
    deadline = time.monotonic() + timeout_seconds
    while True:
        found = order(owner_id, order_id)
        if found.amend_requested_at is None or time.monotonic() >= deadline:
            return found
        time.sleep(POLL_SECONDS)


def account(owner_id: int, today: date) -> AccountSummary:
    """Return a trader's balances, by asset, and the use of today's order limit."""
    wallets: dict[str, dict[str, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    codes = [
        AccountCode.AVAILABLE,
        AccountCode.ORDER_HOLD,
        AccountCode.WITHDRAW_HOLD,
        AccountCode.MARGIN,
        AccountCode.DEBT,
    ]
    rows = Account.objects.filter(owner_id=owner_id, code__in=codes).order_by("asset_id")
    for asset, code, balance in rows.values_list("asset_id", "code", "balance"):
        wallets[asset][code] += balance
    owes = any(held[AccountCode.DEBT] for held in wallets.values())
    since = ledger.debts_since(owner_id) if owes else {}
    profile = TraderProfile.objects.select_related("tier").filter(user_id=owner_id).first()
    counted = profile is not None and profile.counted_on == today
    return AccountSummary(
        balances=[
            AssetBalance(
                asset=asset,
                balance=held[AccountCode.AVAILABLE],
                frozen=held[AccountCode.ORDER_HOLD] + held[AccountCode.WITHDRAW_HOLD],
                margin=held[AccountCode.MARGIN],
                debt=-held[AccountCode.DEBT],
                debt_due_at=since[asset] + DEBT_TERM if asset in since else None,
            )
            for asset, held in wallets.items()
        ],
        daily_order_count=profile.orders_placed if profile is not None and counted else 0,
        daily_order_limit=profile.tier.daily_order_limit if profile is not None else DAILY_ORDER_LIMIT,
    )


def holdings(owner_id: int) -> list[SpotPosition]:
    """Return a trader's spot holdings with what they cost, by symbol."""
    wallets: dict[str, dict[str, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    codes = [AccountCode.AVAILABLE, AccountCode.ORDER_HOLD, AccountCode.WITHDRAW_HOLD]
    rows = Account.objects.filter(owner_id=owner_id, code__in=codes)
    for asset, code, balance in rows.values_list("asset_id", "code", "balance"):
        wallets[asset][code] += balance
    costs = {held.instrument_id: held for held in SpotHolding.objects.filter(user_id=owner_id)}
    positions = []
    for spec in instruments.instruments():
        if spec.is_contract:  # its base asset is never owned, and has a spot market of its own, or none
            continue
        held = wallets[spec.base]
        quantity = sum(held.values(), Decimal(0))
        if not quantity:
            continue
        cost = costs.get(spec.id)
        available = held[AccountCode.AVAILABLE]
        positions.append(
            SpotPosition(
                spec=spec,
                quantity=quantity,
                available=available,
                frozen=quantity - available,
                average_price=_average(spec, cost),
                total_cost=cost.total_cost if cost is not None else Decimal(0),
            )
        )
    return positions


def _average(spec: InstrumentSpec, cost: SpotHolding | None) -> Decimal | None:
    """Return the average cost of what was bought, cut to the quote's decimals; None when nothing was."""
    if cost is None or not cost.quantity:
        return None
    return EXACT.scaleb(
        EXACT.divide_int(EXACT.scaleb(cost.total_cost, spec.quote_decimals), cost.quantity), -spec.quote_decimals
    )


def assets() -> list[Asset]:
    """Return every asset, by code."""
    return list(Asset.objects.order_by("code"))


def lag() -> list[ShardLag]:
    """Return how far behind each shard is, in one snapshot."""
    [rows] = database.fetch((_LAG, ()))
    return [ShardLag(*row) for row in rows]


@dataclass(frozen=True, slots=True)
class SweptHolds:
    """What the sweeper of holds has found, and what it leaves to people.

    Attributes:
        by_state: Orders by where their sweep stands.
        in_review: Orders that wait for a person with their funds held, and the oldest's moment.
    """

    by_state: dict[str, int]
    in_review: int
    oldest_at: datetime | None


def swept_holds() -> SweptHolds:
    """Return what was swept so far, and what waits. Two statements."""
    by_state = dict(HoldSweep.objects.values_list("state").annotate(orders=Count("pk")).order_by("state"))
    waiting = Order.objects.filter(status=OrderStatus.PENDING_REVIEW)
    found = waiting.aggregate(orders=Count("pk"), oldest=Min("created_at"))
    return SweptHolds(by_state, found["orders"], found["oldest"])


_WORDS: dict[str, type[IntEnum]] = {
    "kind": protocol.CommandKind,
    "side": protocol.Side,
    "order_type": protocol.OrderType,
    "time_in_force": protocol.TimeInForce,
}


def command(shard: int, sequence: int) -> dict[str, str]:
    """Return a command of the log as the engine read it: the fields that say something, numbers in ticks and lots."""
    row = Command.objects.filter(shard=shard, sequence=sequence).values_list("payload", flat=True).first()
    if row is None:
        return {}
    [read] = protocol.decode([sequence], [bytes(row)])
    found = {}
    for name in read.dtype.names:
        number = 0 if name.startswith("reserved") else int(read[name])
        if number:
            words = _WORDS.get(name)
            found[name] = words(number).name if words is not None else str(number)
    return found
