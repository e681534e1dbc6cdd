"""Daily limits: counted under the gate, turned over at midnight UTC, by tier."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.contrib.auth import get_user_model

from exchange import database
from exchange.kernel.clock import utc_now
from ledger.models import AccountProfile
from risk.models import ReviewLimit, RiskTier, TraderProfile
from risk.services import limits
from risk.services.checks import AccountFrozenError, DailyOrderLimitError

pytestmark = pytest.mark.django_db

TODAY = utc_now().date()


def _load(user_id: int) -> limits.TraderLimits:
    [rows] = database.fetch(limits.load_statement([user_id]))
    return limits.from_rows(rows)[user_id]


def test_a_trader_without_a_profile_has_the_standard_limits() -> None:
    found = _load(7)

    assert (found.tier, found.daily_order_limit, found.orders_placed) == ("STANDARD", 1000, 0)
    assert found.needs_review("TWD", Decimal(10_000_001))
    assert not found.needs_review("TWD", Decimal(10_000_000))
    assert not found.needs_review("USDT", Decimal(10) ** 12)


def test_counters_are_kept_and_begin_again_the_next_day() -> None:
    found = _load(7)
    found.count_order(TODAY)
    found.count_cancels(1, TODAY)
    limits.save([found])

    assert (_load(7).orders_placed, _load(7).orders_cancelled) == (1, 1)
    tomorrow = _load(7)
    tomorrow.count_order(TODAY + timedelta(days=1))
    assert (tomorrow.orders_placed, tomorrow.orders_cancelled) == (1, 0)


def test_the_tier_s_limit_is_reached_exactly() -> None:
    RiskTier.objects.create(name="TINY", daily_order_limit=2)
    TraderProfile.objects.create(user_id=7, tier_id="TINY", counted_on=TODAY, orders_placed=1)
    found = _load(7)
    found.count_order(TODAY)

    with pytest.raises(DailyOrderLimitError):
        found.count_order(TODAY)

    assert found.orders_placed == 2


def test_review_limits_belong_to_tier_and_asset() -> None:
    RiskTier.objects.create(name="TINY")
    ReviewLimit.objects.create(tier_id="TINY", asset_id="USDT", notional=100)
    ReviewLimit.objects.create(tier_id="TINY", asset_id="TWD", notional=3000)
    TraderProfile.objects.create(user_id=7, tier_id="TINY", counted_on=TODAY)

    assert _load(7).review_limits == {"USDT": Decimal(100), "TWD": Decimal(3000)}


def test_a_trader_who_cancels_nearly_everything_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    found = _load(7)
    for _ in range(60):
        found.count_order(TODAY)
    for _ in range(49):
        found.count_cancels(1, TODAY)

    assert "high_cancel_rate" in caplog.text


def test_a_frozen_account_places_nothing_and_is_not_counted() -> None:
    user = get_user_model().objects.create_user("frozen")
    AccountProfile.objects.create(owner=user, frozen=True, reason="a court order", updated_at=utc_now())
    found = _load(user.pk)

    with pytest.raises(AccountFrozenError):
        found.count_order(TODAY)

    assert (found.orders_placed, found.changed) == (0, False)
