import random
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from exchange.demo.ladder import BUY, SELL, Market, Quote, changes, ladder, wander

BITCOIN = Market.of(
    {
        "symbol": "BTCUSDT", "tick_size": "0.01", "lot_size": "0.0001", "minor_unit_decimals": None,
        "reference_price": "65000", "band_rate": "0.2",
    },
    lots=1000,
)  # fmt: skip
TSMC = Market.of(
    {
        "symbol": "2330.TW", "tick_size": "1", "lot_size": "1", "minor_unit_decimals": 2,
        "reference_price": "600", "band_rate": "0.2",
    },
    lots=1000,
)  # fmt: skip


def open_order(market: Market, order_id: int, side: str, ticks: int) -> dict[str, object]:
    price = market.price(ticks) if market.minor_unit_decimals is None else ticks * 100
    return {"order_id": order_id, "side": side, "price": price}


def test_a_market_is_read_in_ticks_and_lots() -> None:
    assert (BITCOIN.reference_ticks, BITCOIN.band_ticks, BITCOIN.half_tooth) == (6_500_000, 1_300_000, 1300)
    assert (TSMC.reference_ticks, TSMC.band_ticks, TSMC.half_tooth) == (600, 120, 1)


def test_prices_and_quantities_are_written_as_the_api_takes_them() -> None:
    assert (BITCOIN.price(6_500_001), BITCOIN.quantity(15)) == ("65000.01", "0.0015")
    assert (TSMC.price(601), TSMC.quantity(15)) == ("601", 15)
    assert (BITCOIN.ticks("65000.01"), TSMC.ticks(60_100), TSMC.ticks("601")) == (6_500_001, 601, 601)


@given(fair=st.integers(5_300_000, 7_700_000), seed=st.integers(0, 2**32))
def test_no_maker_can_trade_with_itself_and_the_two_never_share_a_price(fair: int, seed: int) -> None:
    books = [ladder(BITCOIN, maker, fair, 8, random.Random(seed)) for maker in (0, 1)]

    for quotes in books:
        bids = [quote.ticks for quote in quotes if quote.side == BUY]
        asks = [quote.ticks for quote in quotes if quote.side == SELL]
        assert (len(bids), len(asks)) == (8, 8)
        assert max(bids) < fair <= min(asks)
        assert all(quote.lots > 0 for quote in quotes)
    assert not {quote.ticks for quote in books[0]} & {quote.ticks for quote in books[1]}


@given(seed=st.integers(0, 2**32))
def test_the_fair_price_wanders_only_inside_the_band(seed: int) -> None:
    chance, fair = random.Random(seed), TSMC.reference_ticks

    walked = [fair := wander(TSMC, fair, chance) for _ in range(500)]

    assert min(walked) >= 600 - 96
    assert max(walked) <= 600 + 96
    assert len(set(walked)) > 1


def test_a_price_outside_the_band_returns_into_it_at_once() -> None:
    assert wander(TSMC, 10_000, random.Random(1)) == 600 + 96


def test_orders_on_the_ladder_stay_and_only_the_edges_change() -> None:
    wanted = [Quote(BUY, 6_400_000, 5), Quote(SELL, 6_600_000, 5)]
    listed = [open_order(BITCOIN, 1, BUY, 6_400_000), open_order(BITCOIN, 2, SELL, 6_500_000)]

    stale, missing = changes(BITCOIN, listed, wanted)

    assert (stale, missing) == ([2], [Quote(SELL, 6_600_000, 5)])


def test_of_two_orders_at_one_price_the_second_goes() -> None:
    listed = [open_order(TSMC, 1, BUY, 590), open_order(TSMC, 2, BUY, 590)]

    assert changes(TSMC, listed, [Quote(BUY, 590, 5)]) == ([2], [])


def test_a_step_of_the_price_changes_few_orders() -> None:
    chance = random.Random(7)
    before = ladder(BITCOIN, 0, 6_500_000, 8, chance)
    listed = [open_order(BITCOIN, number, quote.side, quote.ticks) for number, quote in enumerate(before)]

    stale, missing = changes(BITCOIN, listed, ladder(BITCOIN, 0, 6_502_600, 8, chance))

    assert (len(stale), len(missing)) == (2, 2)


def test_reference_prices_between_ticks_are_cut_to_a_tick() -> None:
    data = {
        "symbol": "X", "tick_size": "0.5", "lot_size": "1", "minor_unit_decimals": None,
        "reference_price": str(Decimal("10.7")), "band_rate": "0.1",
    }  # fmt: skip

    assert Market.of(data, lots=1).reference_ticks == 21
