from datetime import timedelta
from decimal import Decimal

import pytest
from django.contrib.auth import get_user_model
from django.urls import reverse

from exchange.kernel.clock import utc_now
from marketdata.admin import FIXED
from marketdata.models import CandleRow, Instrument
from marketdata.services import candles
from marketdata.tests import factories
from matching_worker import protocol
from matching_worker.protocol import CommandKind, OrderFlag
from trading.models import Command

pytestmark = pytest.mark.django_db


@pytest.fixture
def staff(client):
    client.force_login(get_user_model().objects.create_superuser("root", password="a-long-secret-3"))
    return client


def form_of(instrument: Instrument, **changes: object) -> dict:
    names = [field.name for field in Instrument._meta.fields if field.name not in ("id", "is_demo")]
    values = {name: getattr(instrument, f"{name}_id", None) or getattr(instrument, name) for name in names}
    rows = {"brackets-TOTAL_FORMS": 0, "brackets-INITIAL_FORMS": 0}
    return {name: "" if value is None else value for name, value in (values | rows | changes).items()}


def brackets(*rows: tuple[int, int, str]) -> dict[str, object]:
    """Return the inline's part of the form: where each begins, its highest leverage, its maintenance rate."""
    form: dict[str, object] = {"brackets-TOTAL_FORMS": len(rows), "brackets-INITIAL_FORMS": 0}
    for number, values in enumerate(rows):
        names = ("notional_floor", "leverage_max", "maintenance_rate")
        form |= {f"brackets-{number}-{name}": value for name, value in zip(names, values, strict=True)}
        form[f"brackets-{number}-maintenance_amount"] = 0
    return form


def test_a_contract_is_made_with_its_brackets_and_the_engine_learns_that_it_is_one(staff) -> None:
    draft = factories.bitcoin()
    Instrument.objects.all().delete()
    form = form_of(draft, kind="PERP", contract_size="0.01", lot_size="0.01")

    response = staff.post(
        reverse("admin:marketdata_instrument_add"), form | brackets((0, 100, "0.005"), (1000, 20, "0.02"))
    )

    assert response.status_code == 302
    made = Instrument.objects.get()
    assert (made.contract_size, made.brackets.count(), made.status) == (Decimal("0.01"), 2, "TRADING")
    rows = Command.objects.order_by("sequence")
    read = protocol.decode([row.sequence for row in rows], [bytes(row.payload) for row in rows])
    assert read["kind"].tolist() == [CommandKind.SET_STATE, CommandKind.SET_STATE, CommandKind.UNCROSS]
    assert read["flags"].tolist() == 3 * [OrderFlag.CONTRACT]


@pytest.mark.parametrize(
    ("kind", "rows", "words"),
    [
        ("SPOT", [(0, 10, "0.01")], "Only contracts have"),
        ("PERP", [], "begins at 0"),
        ("PERP", [(10, 10, "0.01")], "begins at 0"),
        ("PERP", [(0, 10, "0.01"), (10, 20, "0.01")], "must not ask for less"),
        ("PERP", [(0, 10, "0.02"), (10, 10, "0.01")], "must not ask for less"),
    ],
)
def test_brackets_that_do_not_fit_together_are_refused_in_words(staff, kind, rows, words) -> None:
    draft = factories.bitcoin()
    Instrument.objects.all().delete()

    response = staff.post(reverse("admin:marketdata_instrument_add"), form_of(draft, kind=kind) | brackets(*rows))

    assert response.status_code == 200
    assert words in response.content.decode()
    assert Instrument.objects.exists() is False


def test_an_instrument_is_made_in_the_admin(staff) -> None:
    draft = factories.bitcoin()
    Instrument.objects.all().delete()

    response = staff.post(reverse("admin:marketdata_instrument_add"), form_of(draft))

    assert response.status_code == 302
    assert Instrument.objects.get().tick_size == Decimal("0.01")


def test_an_instrument_with_inexact_steps_is_refused_by_the_form_in_words(staff) -> None:
    draft = factories.bitcoin()
    Instrument.objects.all().delete()

    response = staff.post(reverse("admin:marketdata_instrument_add"), form_of(draft, tick_size="0.001"))

    assert response.status_code == 200
    assert "whole number of the quote asset" in response.content.decode()
    assert Instrument.objects.exists() is False


def test_status_and_limits_can_change_and_steps_and_fees_cannot(staff) -> None:
    row = factories.bitcoin()
    address = reverse("admin:marketdata_instrument_change", args=[row.pk])
    changes = {"status": "HALTED", "band_rate": "0.1", "tick_size": "1", "taker_fee_rate": "0", "symbol": "X"}

    assert staff.post(address, form_of(row, **changes)).status_code == 302

    after = Instrument.objects.get()
    assert (after.status, after.band_rate) == ("HALTED", Decimal("0.1"))
    assert {name: getattr(after, name) for name in FIXED} == {name: getattr(row, name) for name in FIXED}


def test_an_instrument_cannot_be_deleted(staff) -> None:
    row = factories.bitcoin()

    assert staff.post(reverse("admin:marketdata_instrument_delete", args=[row.pk])).status_code == 403
    assert Instrument.objects.exists()


def test_candles_are_listed_and_can_only_be_read(staff) -> None:
    row = candles.TradeRow("BTCUSDT", 1, Decimal(3), Decimal(2), Decimal(6), utc_now() - timedelta(hours=1))
    candles.fold([row])
    candle = CandleRow.objects.get()

    page = staff.get(reverse("admin:marketdata_candlerow_changelist"))
    change = staff.post(reverse("admin:marketdata_candlerow_change", args=[candle.pk]), {"open": "9"})

    assert "BTCUSDT" in page.content.decode()
    assert change.status_code == 403
    assert staff.get(reverse("admin:marketdata_candlerow_add")).status_code == 403
    assert CandleRow.objects.get().open == 3
