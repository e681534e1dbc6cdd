from datetime import date

import pytest

from ledger.tests.factories import NOW
from risk.models import RiskTier, TraderProfile
from risk.services import tiers

pytestmark = pytest.mark.django_db


def test_who_never_traded_is_in_the_standard_tier() -> None:
    assert tiers.of(7) == "STANDARD"
    assert tiers.names()[0] == "STANDARD"


def test_a_trader_moves_to_a_tier_and_keeps_the_days_counters() -> None:
    RiskTier.objects.create(name="VIP")
    TraderProfile.objects.create(user_id=7, counted_on=date(2026, 3, 1), orders_placed=5)

    tiers.assign(7, "VIP", now=NOW)
    tiers.assign(8, "VIP", now=NOW)

    assert (tiers.of(7), tiers.of(8)) == ("VIP", "VIP")
    assert TraderProfile.objects.get(pk=7).orders_placed == 5


def test_an_unknown_tier_is_refused_and_nothing_changes() -> None:
    with pytest.raises(tiers.UnknownTierError):
        tiers.assign(7, "NOSUCH", now=NOW)

    assert not TraderProfile.objects.exists()
