from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange.kernel.money import InexactAmountError
from marketdata.tests.factories import share_spec, spec
from marketdata.units import (
    LOTS_MAX,
    PRODUCT_LIMIT,
    TICKS_MAX,
    NotionalTooLargeError,
    NotPositiveError,
    NumberFormatError,
    NumberTooLargeError,
    PriceOffTickError,
    QuantityOffLotError,
)

BITCOIN = spec()
SHARE = share_spec()


@given(st.integers(1, TICKS_MAX), st.integers(1, LOTS_MAX))
def test_ticks_and_lots_survive_the_way_to_decimals_and_the_wire_and_back(ticks, lots) -> None:
    for instrument in (BITCOIN, SHARE):
        price, quantity = instrument.ticks_to_price(ticks), instrument.lots_to_qty(lots)

        assert instrument.price_to_ticks(price) == ticks
        assert instrument.qty_to_lots(quantity) == lots
        assert instrument.parse_price(instrument.wire_price(price)) == price
        assert instrument.parse_qty(instrument.wire_qty(quantity)) == quantity
        assert instrument.wire_ticks(ticks) == instrument.wire_price(price)
        assert instrument.wire_lots(lots) == instrument.wire_qty(quantity)


@given(st.integers(1, 2**30), st.integers(1, 2**30))
def test_the_notional_in_quanta_is_price_times_quantity_exactly(ticks, lots) -> None:
    notional = BITCOIN.ticks_to_price(ticks) * BITCOIN.lots_to_qty(lots)

    assert BITCOIN.notional_quanta(ticks, lots) == notional * 10**6
    assert BITCOIN.base_quanta(lots) == BITCOIN.lots_to_qty(lots) * 10**8


@given(st.decimals(min_value="0.000001", max_value="1000000", places=6))
def test_a_price_is_whole_ticks_or_refused_and_never_rounded(price) -> None:
    if price % Decimal("0.01") == 0:
        assert BITCOIN.price_to_ticks(price) * Decimal("0.01") == price
    else:
        with pytest.raises(PriceOffTickError):
            BITCOIN.price_to_ticks(price)


def test_a_price_between_two_ticks_is_refused_with_price_and_tick_in_its_data() -> None:
    with pytest.raises(PriceOffTickError) as refusal:
        BITCOIN.price_to_ticks(Decimal("100.005"))

    assert refusal.value.data == {"field": "price", "value": "100.005", "step": "0.01"}
    assert refusal.value.code == 5010
    assert str(refusal.value) == "Price 100.005 is not a multiple of the tick size 0.01."


def test_a_quantity_between_two_lots_is_refused_with_quantity_and_lot_in_its_data() -> None:
    with pytest.raises(QuantityOffLotError) as refusal:
        BITCOIN.qty_to_lots(Decimal("0.00015"))

    assert refusal.value.data == {"field": "quantity", "value": "0.00015", "step": "0.0001"}
    assert refusal.value.code == 5011


@pytest.mark.parametrize("amount", ["0", "-1", "NaN", "sNaN", "Infinity", "-Infinity", "-0"])
def test_zero_negative_and_not_a_number_are_refused(amount) -> None:
    with pytest.raises(NotPositiveError):
        BITCOIN.price_to_ticks(Decimal(amount))
    with pytest.raises(NotPositiveError):
        BITCOIN.qty_to_lots(Decimal(amount))


def test_the_largest_price_passes_and_one_tick_more_is_refused() -> None:
    assert BITCOIN.price_to_ticks(TICKS_MAX * Decimal("0.01")) == TICKS_MAX
    for amount in ((TICKS_MAX + 1) * Decimal("0.01"), Decimal("1E+30000")):
        with pytest.raises(NumberTooLargeError):
            BITCOIN.price_to_ticks(amount)


def test_a_price_with_thousands_of_decimals_is_refused_quickly_as_off_tick() -> None:
    with pytest.raises(PriceOffTickError):
        BITCOIN.price_to_ticks(Decimal("1E-30000"))


def test_a_product_of_two_to_the_sixty_second_is_refused_and_one_lot_less_passes() -> None:
    assert BITCOIN.notional_quanta(2**30, 2**32 - 1) == 2**30 * (2**32 - 1)
    with pytest.raises(NotionalTooLargeError):
        BITCOIN.notional_quanta(2**30, 2**32)


@pytest.mark.parametrize(
    "value",
    [
        *("1e3", "1E3", "+1", "-1", " 1", "1 ", "", ".5", "5.", "1_000", "1,0", "NaN", "inf", "٣", "0x1"),
        *("1" * 40, "0." + "1" * 19, None, True, 1.5, 100, [], {}, b"1"),
    ],
)
def test_what_is_not_a_plain_decimal_string_is_refused(value) -> None:
    with pytest.raises(NumberFormatError):
        BITCOIN.parse_price(value)
    with pytest.raises(NumberFormatError):
        BITCOIN.parse_qty(value)


def test_minor_units_are_read_from_integers_and_major_units_from_strings() -> None:
    assert SHARE.parse_price(60000) == Decimal(600)
    assert SHARE.parse_price("600.5") == Decimal("600.5")
    assert SHARE.parse_qty(1000) == Decimal(1000)
    assert SHARE.wire_price(Decimal("600.50")) == 60050
    assert SHARE.wire_qty(Decimal("1000.000")) == 1000
    assert SHARE.wire_average(Decimal("600.1299")) == 60012
    for value in (-1, 10**20, True, 1.0):
        with pytest.raises(NumberFormatError):
            SHARE.parse_price(value)


def test_amounts_of_the_quote_asset_are_read_like_prices_and_taken_exactly() -> None:
    assert BITCOIN.parse_quote("100.000001") == Decimal("100.000001")
    assert BITCOIN.quote_to_quanta(Decimal("100.000001")) == 100_000_001
    assert (SHARE.parse_quote(150_050), SHARE.parse_quote("1500.5")) == (Decimal("1500.5"), Decimal("1500.5"))
    with pytest.raises(NumberFormatError):
        BITCOIN.parse_quote(100)
    with pytest.raises(InexactAmountError):
        SHARE.parse_quote("1500.505")
    with pytest.raises(InexactAmountError):
        BITCOIN.quote_to_quanta(Decimal("0.0000001"))
    for amount in (Decimal(0), Decimal(-1), Decimal("NaN")):
        with pytest.raises(NotPositiveError):
            BITCOIN.quote_to_quanta(amount)
    most = (PRODUCT_LIMIT - 1) * BITCOIN.unit_quanta
    assert BITCOIN.quote_to_quanta(Decimal(most).scaleb(-6)) == most
    with pytest.raises(NotionalTooLargeError):
        BITCOIN.quote_to_quanta(Decimal(PRODUCT_LIMIT * BITCOIN.unit_quanta).scaleb(-6))


def test_wire_strings_have_no_exponent_and_no_trailing_zeros() -> None:
    tiny = spec(tick_size=Decimal("0.000000010000000000"), lot_size=Decimal("100.000000000000000000"))

    assert tiny.wire_ticks(1) == "0.00000001"
    assert tiny.wire_ticks(250_000_000) == "2.5"
    assert tiny.wire_lots(3) == "300"
    assert BITCOIN.wire_lots(-15) == "-0.0015"
    assert BITCOIN.wire_ticks(6_000_000) == "60000"
    assert BITCOIN.wire_average(Decimal("60000.1234569")) == "60000.123456"
