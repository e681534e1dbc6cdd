from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from marketdata import feed, selectors, tasks
from marketdata.models import Candle
from marketdata.services import candles
from marketdata.services.candles import TradeRow
from marketdata.tests import factories

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)


def trades(*rows) -> list[TradeRow]:
    """Return trades of BTCUSDT: (number, price, quantity, seconds after noon)."""
    return [
        TradeRow(
            "BTCUSDT",
            number,
            Decimal(price),
            Decimal(quantity),
            Decimal(price) * Decimal(quantity),
            NOON + timedelta(seconds=seconds),
        )
        for number, price, quantity, seconds in rows
    ]


def stored() -> list[tuple]:
    return list(
        Candle.objects.order_by("symbol", "timestamp").values_list(
            "symbol", "timestamp", "open", "high", "low", "close", "volume", "turnover", "trade_count"
        )
    )


def test_a_batch_with_repeated_minutes_is_folded_by_trade_number_with_one_statement(
    django_assert_num_queries,
) -> None:
    with django_assert_num_queries(1):
        candles.fold(trades((3, 90, 1, 30), (1, 100, 2, 0), (4, 95, 1, 61), (2, 110, 1, 5)))

    assert stored() == [
        ("BTCUSDT", NOON, 100, 110, 90, 90, 4, 400, 3),
        ("BTCUSDT", NOON + timedelta(minutes=1), 95, 95, 95, 95, 1, 95, 1),
    ]


def test_later_batches_keep_the_open_and_move_the_close() -> None:
    candles.fold(trades((1, 100, 2, 0)))
    candles.fold(trades((2, 110, 1, 5), (3, 90, 1, 30)))

    assert stored() == [("BTCUSDT", NOON, 100, 110, 90, 90, 4, 400, 3)]


def test_an_empty_batch_is_no_statement(django_assert_num_queries) -> None:
    with django_assert_num_queries(0):
        candles.fold([])


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    made=st.lists(st.tuples(st.integers(1, 500), st.integers(1, 9), st.integers(0, 40)), min_size=1),
    cut=st.integers(1, 7),
)
def test_candles_do_not_depend_on_how_trades_are_cut_into_batches(transactional_candles, made, cut) -> None:
    seconds = 0
    rows = []
    for number, (price, quantity, wait) in enumerate(made, start=1):
        seconds += wait
        rows.append((number, price, quantity, seconds))
    Candle.objects.all().delete()
    candles.fold(trades(*rows))
    whole = stored()

    Candle.objects.all().delete()
    for first in range(0, len(rows), cut):
        candles.fold(trades(*rows[first : first + cut]))

    assert stored() == whole
    assert sum(row[8] for row in whole) == len(rows)


@pytest.fixture
def transactional_candles(db) -> None:
    """The test's own transaction, rolled back after all examples."""


def test_klines_of_every_interval_are_aligned_and_aggregated_by_the_database(django_assert_num_queries) -> None:
    candles.fold(trades((1, 100, 1, 0), (2, 120, 1, 240), (3, 80, 1, 299), (4, 90, 1, 300)))

    with django_assert_num_queries(1):
        five = selectors.klines("BTCUSDT", "5m", end=NOON + timedelta(hours=1), limit=100)
    day = selectors.klines("BTCUSDT", "1d", end=NOON + timedelta(hours=1), limit=1)

    assert [tuple(kline) for kline in five] == [
        (NOON, 100, 120, 80, 80, 3, 300, 3),
        (NOON + timedelta(minutes=5), 90, 90, 90, 90, 1, 90, 1),
    ]
    assert [tuple(kline) for kline in day] == [(NOON.replace(hour=0), 100, 120, 80, 90, 4, 390, 4)]
    assert {name: len(selectors.klines("BTCUSDT", name, end=NOON + timedelta(hours=1), limit=1000))
            for name in feed.INTERVALS} == {"1m": 3, "5m": 2, "15m": 1, "1h": 1, "4h": 1, "1d": 1}  # fmt: skip


def test_klines_reach_back_exactly_the_number_of_intervals_asked_for() -> None:
    candles.fold(trades((1, 100, 1, 0), (2, 101, 1, 60), (3, 102, 1, 120)))

    found = selectors.klines("BTCUSDT", "1m", end=NOON + timedelta(seconds=125), limit=2)

    assert [kline.open for kline in found] == [101, 102]


def test_an_unknown_interval_is_refused() -> None:
    with pytest.raises(selectors.UnknownIntervalError) as refusal:
        selectors.klines("BTCUSDT", "2m", end=NOON, limit=10)

    assert refusal.value.code == 5002


def test_the_ticker_sums_the_last_24_hours(django_assert_num_queries) -> None:
    candles.fold(trades((1, 100, 1, 0), (2, 120, 2, 3600), (3, 110, 1, 7200)))

    with django_assert_num_queries(1):
        day = selectors.ticker("BTCUSDT", now=NOON + timedelta(hours=24, minutes=1))

    assert tuple(day) == (None, 120, 120, 110, 3, 350, 2, None, None)
    assert tuple(selectors.ticker("NOPE", now=NOON)) == (None, None, None, None, 0, 0, 0, None, None)


def test_the_publisher_gets_the_last_day_in_ticks_and_lots() -> None:
    row = factories.bitcoin()
    candles.fold(trades((1, "60000.01", "0.0002", 0), (2, "60000.03", "0.0001", 1)))

    found = selectors.minutes(selectors.spec_of(row), NOON + timedelta(hours=1))

    start = int(NOON.timestamp())
    assert found == [feed.Bar(start, 6_000_001, 6_000_003, 6_000_001, 6_000_003, 3, 18_000_005, 2)]


def partitions() -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT relname FROM pg_class JOIN pg_inherits ON inhrelid = pg_class.oid"
                       " WHERE inhparent = 'klines_1m'::regclass")  # fmt: skip
        return {row[0] for row in cursor.fetchall()}


def test_a_new_months_partition_takes_over_the_rows_that_waited_in_the_default_one() -> None:
    far = datetime(2031, 1, 31, 23, 59, tzinfo=UTC)
    candles.fold([TradeRow("BTCUSDT", 1, Decimal(1), Decimal(1), Decimal(1), far)])
    candles.fold([TradeRow("BTCUSDT", 2, Decimal(2), Decimal(1), Decimal(2), far + timedelta(minutes=1))])
    before = stored()

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT make_month_partitions('klines_1m', day, 1), make_month_partitions('klines_1m', day, 1)"
            " FROM (VALUES ('2031-01-15'::date)) AS one (day)"
        )
        assert cursor.fetchone() == (1, 0)
        cursor.execute("SELECT count(*) FROM klines_1m_2031_01")
        assert cursor.fetchone() == (1,)
        cursor.execute("SELECT count(*) FROM klines_1m_default")
        assert cursor.fetchone() == (1,)
    assert stored() == before


def test_the_daily_task_makes_this_month_and_the_next_two_once() -> None:
    tasks.make_partitions()

    assert tasks.make_partitions(unknown_to_this_version=True) == 0
    assert len(partitions()) >= 4
