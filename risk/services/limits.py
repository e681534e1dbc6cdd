"""Traders' limits and today's counters: loaded and saved for a whole batch, under the traders' gates."""

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

import orjson
import structlog

from exchange import database
from exchange.kernel.money import plain
from risk.models import CANCEL_RATE_WARNING, DAILY_ORDER_LIMIT, DEFAULT_TIER
from risk.services.checks import AccountFrozenError, DailyOrderLimitError

logger = structlog.get_logger(__name__)

ORDERS_BEFORE_CANCEL_RATE_COUNTS = 50
"""Below this many orders a day a cancel rate says nothing."""

_LOAD = """
WITH tiers AS MATERIALIZED (
    SELECT t.name, t.daily_order_limit, t.cancel_rate_warning, (
        SELECT json_object_agg(r.asset_id, r.notional::text ORDER BY r.id) FROM risk_reviewlimit r
        WHERE r.tier_id = t.name
    )::text AS review_limits
    FROM risk_risktier t
)
SELECT given.id, coalesce(p.tier_id, %s), coalesce(t.daily_order_limit, %s), coalesce(t.cancel_rate_warning, %s),
       p.counted_on, coalesce(p.orders_placed, 0), coalesce(p.orders_cancelled, 0),
       t.review_limits, coalesce(a.frozen, false)
FROM unnest(%s::bigint[]) AS given(id)
LEFT JOIN LATERAL (SELECT * FROM risk_traderprofile WHERE user_id = given.id OFFSET 0) p ON true
LEFT JOIN tiers t ON t.name = coalesce(p.tier_id, %s)
LEFT JOIN LATERAL (SELECT frozen FROM ledger_accountprofile WHERE owner_id = given.id OFFSET 0) a ON true
"""

_SAVE = """
INSERT INTO risk_traderprofile (user_id, tier_id, counted_on, orders_placed, orders_cancelled)
SELECT * FROM unnest(%s::bigint[], %s::text[], %s::date[], %s::int[], %s::int[])
ON CONFLICT (user_id) DO UPDATE SET counted_on = excluded.counted_on,
    orders_placed = excluded.orders_placed, orders_cancelled = excluded.orders_cancelled
"""


@dataclass(slots=True)
class TraderLimits:
    """One trader's tier and counters of one day."""

    user_id: int
    tier: str
    daily_order_limit: int
    cancel_rate_warning: Decimal
    counted_on: date | None
    orders_placed: int
    orders_cancelled: int
    review_limits: Mapping[str, Decimal]
    frozen: bool = False
    changed: bool = False

    def require_active(self) -> None:
        """Refuse whose account is frozen.

        Raises:
            AccountFrozenError: It is.
        """
        if self.frozen:
            raise AccountFrozenError

    def count_order(self, today: date) -> None:
        """Count one more order.

        Raises:
            AccountFrozenError: The account is frozen.
            DailyOrderLimitError: The tier allows no more today; nothing is counted.
        """
        self.require_active()
        self._turn_day(today)
        if self.orders_placed >= self.daily_order_limit:
            raise DailyOrderLimitError(limit=self.daily_order_limit)
        self.orders_placed += 1
        self.changed = True

    def count_cancels(self, count: int, today: date) -> None:
        """Count so many more cancels, and warn operators of a trader who cancels nearly everything."""
        self._turn_day(today)
        self.orders_cancelled += count
        self.changed = True
        if self.orders_placed < ORDERS_BEFORE_CANCEL_RATE_COUNTS:
            return
        if self.orders_cancelled > self.cancel_rate_warning * self.orders_placed:
            rate = Decimal(self.orders_cancelled) / self.orders_placed
            logger.warning("high_cancel_rate", user_id=self.user_id, rate=plain(round(rate, 2)))

    def needs_review(self, asset: str, notional: Decimal) -> bool:
        """Whether an order of this value waits for a person."""
        limit = self.review_limits.get(asset)
        return limit is not None and notional > limit

    def _turn_day(self, today: date) -> None:
        """Start counting afresh on a new day."""
        if self.counted_on != today:
            self.counted_on, self.orders_placed, self.orders_cancelled = today, 0, 0


def load_statement(owner_ids: Iterable[int]) -> tuple[str, list[Any]]:
    """Return the statement that reads limits and counters, for a caller who pipelines it."""
    return _LOAD, [DEFAULT_TIER, DAILY_ORDER_LIMIT, CANCEL_RATE_WARNING, database.array(list(owner_ids)), DEFAULT_TIER]


def from_rows(rows: Iterable[tuple[Any, ...]]) -> dict[int, TraderLimits]:
    """Build the limits from the rows of `load_statement`, by trader."""
    loaded = {}
    for user_id, tier, orders, cancel_rate, counted_on, placed, cancelled, reviewed, frozen in rows:
        loaded[user_id] = TraderLimits(
            user_id=user_id,
            tier=tier,
            daily_order_limit=orders,
            cancel_rate_warning=cancel_rate,
            counted_on=counted_on,
            orders_placed=placed,
            orders_cancelled=cancelled,
            review_limits=_review_limits(reviewed),
            frozen=frozen,
        )
    return loaded


@functools.lru_cache(maxsize=100)
def _review_limits(written: str | None) -> Mapping[str, Decimal]:
    """Read a tier's limits, by asset: a batch has few tiers, and many traders of each."""
    return {asset: Decimal(notional) for asset, notional in orjson.loads(written or "{}").items()}


def save(limits: Iterable[TraderLimits]) -> None:
    """Queue the statement that stores changed counters."""
    rows = [
        (item.user_id, item.tier, item.counted_on, item.orders_placed, item.orders_cancelled)
        for item in limits
        if item.changed
    ]
    if rows:
        database.execute(_SAVE, *database.columns(rows, 5))
