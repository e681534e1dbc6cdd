from datetime import UTC, datetime
from decimal import Decimal

import pytest
from django.db import IntegrityError, connection, transaction

from marketdata import selectors
from marketdata.models import Instrument, InstrumentState
from marketdata.tests import factories

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


def test_an_instrument_is_found_by_symbol_and_by_id_with_two_statements(django_assert_num_queries) -> None:
    row = factories.bitcoin()

    with django_assert_num_queries(2):  # instruments, and the brackets of contracts
        spec = selectors.instrument("BTCUSDT")
        assert selectors.instrument_by_id(row.pk) is spec

    assert (spec.base, spec.base_decimals, spec.quote, spec.quote_decimals) == ("BTC", 8, "USDT", 6)
    assert spec.price_to_ticks(Decimal("60000.01")) == 6_000_001


def test_a_saved_change_is_seen_at_once_in_the_same_process() -> None:
    row = factories.bitcoin()
    assert selectors.instrument("BTCUSDT").status == "TRADING"

    row.status = "HALTED"
    row.save()

    assert selectors.instrument("BTCUSDT").status == "HALTED"


def test_an_instrument_that_is_read_again_unchanged_is_the_same_object() -> None:
    bitcoin, tsmc = factories.bitcoin(), factories.tsmc()
    before = selectors.instrument_by_id(bitcoin.pk), selectors.instrument_by_id(tsmc.pk)

    tsmc.status = "HALTED"
    tsmc.save()

    assert selectors.instrument_by_id(bitcoin.pk) is before[0]
    assert selectors.instrument_by_id(tsmc.pk) is not before[1]
    assert selectors.instrument_by_id(tsmc.pk).status == "HALTED"


def test_an_unknown_symbol_is_refused_as_not_found() -> None:
    with pytest.raises(selectors.UnknownInstrumentError) as refusal:
        selectors.instrument("NOPE")

    assert (refusal.value.code, refusal.value.status) == (5001, 404)


def test_states_answer_for_every_id_asked_with_one_statement(django_assert_num_queries) -> None:
    traded, quiet = factories.bitcoin(), factories.tsmc()
    InstrumentState.objects.create(
        instrument=traded,
        last_price=Decimal("60000.5"),
        last_trade_id=7,
        traded_at=NOW,
        mark_price=Decimal(59990),
        marked_at=NOW,
    )

    with django_assert_num_queries(1):
        states = selectors.states([traded.pk, quiet.pk])

    assert states[traded.pk] == selectors.MarketState(Decimal("60000.5"), 7, NOW, Decimal(59990), NOW)
    assert states[quiet.pk] == selectors.MarketState(None, None, None, None, None)


@pytest.mark.parametrize(
    "changes",
    [
        {"tick_size": Decimal(0)},
        {"lot_size": Decimal(-1)},
        {"maker_fee_rate": Decimal(1)},
        {"taker_fee_rate": Decimal("-0.01")},
        {"band_rate": Decimal(1)},
        {"band_rate": Decimal(0)},
        {"reference_price": Decimal(0)},
        {"lot_size": Decimal("0.000000001")},
        {"tick_size": Decimal("0.001"), "lot_size": Decimal("0.0001")},
        {"minor_unit_decimals": 2},
    ],
)
def test_the_database_refuses_an_instrument_whose_fills_could_not_be_exact(changes) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        factories.bitcoin(**changes)

    assert Instrument.objects.exists() is False


def test_the_database_refuses_to_make_a_good_instrument_inexact() -> None:
    factories.bitcoin()

    with (
        pytest.raises(IntegrityError, match="quote quanta"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute("UPDATE marketdata_instrument SET tick_size = 0.001")
