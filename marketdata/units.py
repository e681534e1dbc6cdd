"""The one door between decimals and the engine's integers; refuses what does not fit, never rounds it.

Prices become whole ticks, quantities whole lots. Pure: no database, no clock.
"""

import functools
import re
from dataclasses import dataclass
from decimal import Decimal, Inexact
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

from exchange.kernel.errors import DomainError, InvariantViolationError, gettext_noop, require
from exchange.kernel.money import EXACT, plain, plain_quanta, round_down, to_quanta
from marketdata import states
from matching_worker.protocol import TradingState

TICKS_MAX = 2**40
"""The highest price the engine's ladder knows."""
LOTS_MAX = 2**40
"""The largest order: 2^22 of them on one level still sum below 2^62."""
PRODUCT_LIMIT = 2**62
"""Ticks times lots stay below this, so that int64 arithmetic cannot overflow."""
REMEMBERED_MAX = 2_000
"""Prices, and quantities, that an instrument remembers each way; then it begins anew, for markets move on."""
RATE_DECIMALS = 8
RATE_SCALE: int = 10**RATE_DECIMALS
"""Rates of fees and margin are integers of 1/RATE_SCALE."""
CONTRACT_KIND = "PERP"
"""`marketdata.models.InstrumentKind.PERPETUAL`, without its model."""
DECIMAL_TEXT_MAX = 39
"""38 digits and a point: NUMERIC(38, 18)."""

_PLAIN_DECIMAL = re.compile(r"[0-9]{1,20}(\.[0-9]{1,18})?", re.ASCII)


class FieldRefusedError(DomainError):
    """Base of the refusals below: `data` names the field and, cut short, the value."""

    code: ClassVar[int] = 5009
    name: ClassVar[str] = "FIELD_REFUSED"
    message: ClassVar[str] = gettext_noop("%(field)s is refused.")


class PriceOffTickError(FieldRefusedError):
    """A price between two ticks."""

    code = 5010
    name = "PRICE_OFF_TICK"
    message = gettext_noop("Price %(value)s is not a multiple of the tick size %(step)s.")


class QuantityOffLotError(FieldRefusedError):
    """A quantity between two lots."""

    code = 5011
    name = "QUANTITY_OFF_LOT"
    message = gettext_noop("Quantity %(value)s is not a multiple of the lot size %(step)s.")


class NumberFormatError(FieldRefusedError):
    """Something else than the instrument's number format: an exponent, a sign, a JSON float, 40 digits."""

    code = 5012
    name = "NUMBER_FORMAT"
    status = 400
    message = gettext_noop("%(field)s must be a plain decimal string such as 12.5, without sign or exponent.")


class NotPositiveError(FieldRefusedError):
    """Zero, negative or not a number."""

    code = 5013
    name = "NOT_POSITIVE"
    message = gettext_noop("%(field)s must be above zero.")


class NumberTooLargeError(FieldRefusedError):
    """More ticks or lots than the engine can hold."""

    code = 5014
    name = "NUMBER_TOO_LARGE"
    message = gettext_noop("%(field)s is too large: at most %(maximum)s.")


class NotionalTooLargeError(FieldRefusedError):
    """Price times quantity does not fit the engine's integers."""

    code = 5015
    name = "NOTIONAL_TOO_LARGE"
    message = gettext_noop("Price times quantity is too large.")


class Bracket(NamedTuple):
    """What a contract asks of positions from a value on, amounts in quanta: `marketdata.models.LeverageBracket`."""

    notional_floor: int
    leverage_max: int
    maintenance_rate: int
    """In 1/RATE_SCALE."""
    maintenance_amount: int


@dataclass(frozen=True)
class InstrumentSpec:
    """What a market trades in and under which rules; a value, safe to share between threads."""

    id: int
    symbol: str
    name: str
    kind: str
    base: str
    quote: str
    base_decimals: int
    quote_decimals: int
    tick_size: Decimal
    lot_size: Decimal
    min_notional: Decimal
    band_rate: Decimal
    market_slippage_rate: Decimal
    maker_fee_rate: Decimal
    taker_fee_rate: Decimal
    reference_price: Decimal
    minor_unit_decimals: int | None = None
    status: str = "TRADING"
    shard: int = 0
    is_demo: bool = False
    contract_size: Decimal = Decimal(1)
    brackets: tuple[Bracket, ...] = ()

    @cached_property
    def is_contract(self) -> bool:
        """Whether its trades make positions instead of moving the base asset."""
        return self.kind == CONTRACT_KIND

    @property
    def leverage_max(self) -> int | None:
        """Return the highest leverage of a contract's smallest positions; None where nothing bounds it."""
        return self.brackets[0].leverage_max if self.brackets else None

    @property
    def engine_state(self) -> TradingState:
        """Return what it allows, as the engine says it."""
        return states.ENGINE_STATES[self.status]

    @property
    def state(self) -> str:
        """Return what it allows, as the wire says it."""
        return states.word(self.engine_state)

    @cached_property
    def unit_quanta(self) -> int:
        """Return what one tick times one lot is worth, in quote quanta: whole by the table's trigger."""
        return to_quanta(self.step_worth, self.quote_decimals)

    @cached_property
    def step_worth(self) -> Decimal:
        """Return what one tick times one lot is worth."""
        return EXACT.multiply(EXACT.multiply(self.tick_size, self.lot_size), self.contract_size)

    @cached_property
    def lot_quanta(self) -> int:
        """Return one lot in base quanta."""
        return to_quanta(self.lot_size, self.base_decimals)

    @cached_property
    def fee_rate_max(self) -> int:
        """Return the higher of its two fee rates, in 1/RATE_SCALE."""
        return max(rate_units(self.maker_fee_rate), rate_units(self.taker_fee_rate))

    def price_to_ticks(self, price: Decimal) -> int:
        """Turn a price in major units into ticks, exactly.

        Raises:
            NotPositiveError, PriceOffTickError, NumberTooLargeError: The price is refused, not rounded.
        """
        steps = self._ticks.get(price) if isinstance(price, Decimal) and price.is_finite() else None
        if steps is None:
            steps = _steps("price", price, self.tick_size, TICKS_MAX)
            if steps is None:
                raise PriceOffTickError(field="price", value=_shown(price), step=plain(self.tick_size))
            _remember(self._ticks, price, steps)
        return steps

    def qty_to_lots(self, quantity: Decimal) -> int:
        """Turn a quantity into lots, exactly.

        Raises:
            NotPositiveError, QuantityOffLotError, NumberTooLargeError: The quantity is refused.
        """
        steps = self._lots.get(quantity) if isinstance(quantity, Decimal) and quantity.is_finite() else None
        if steps is None:
            steps = _steps("quantity", quantity, self.lot_size, LOTS_MAX)
            if steps is None:
                raise QuantityOffLotError(field="quantity", value=_shown(quantity), step=plain(self.lot_size))
            _remember(self._lots, quantity, steps)
        return steps

    def quote_to_quanta(self, amount: Decimal) -> int:
        """Turn an amount of the quote asset into quanta, exactly.

        Raises:
            NotPositiveError, InexactAmountError, NotionalTooLargeError: The amount is refused, not rounded.
        """
        if not amount.is_finite() or amount <= 0:
            raise NotPositiveError(field="quote_quantity", value=_shown(amount))
        quanta = to_quanta(amount, self.quote_decimals)
        if quanta >= PRODUCT_LIMIT * self.unit_quanta:
            raise NotionalTooLargeError(field="quote_quantity")
        return quanta

    def signed_lots(self, quantity: Decimal) -> int:
        """Turn a stored quantity of either sign, or none, into lots."""
        if not quantity:
            return 0
        lots = int(quantity / self.lot_size)
        if self.lots_to_qty(lots) != quantity:
            raise InvariantViolationError(f"{quantity} is no whole number of lots of {self.symbol}")
        return lots

    def ticks_to_price(self, ticks: int) -> Decimal:
        """Turn ticks into a price in major units."""
        found = self._prices.get(ticks)
        if found is None:
            found = EXACT.multiply(Decimal(int(ticks)), self.tick_size)
            _remember(self._prices, int(ticks), found)
        return found

    def lots_to_qty(self, lots: int) -> Decimal:
        """Turn lots into a quantity."""
        found = self._quantities.get(lots)
        if found is None:
            found = EXACT.multiply(Decimal(int(lots)), self.lot_size)
            _remember(self._quantities, int(lots), found)
        return found

    @cached_property
    def _prices(self) -> dict[int, Decimal]:
        """Return prices that were computed before: the same few come again and again."""
        return {}

    @cached_property
    def _quantities(self) -> dict[int, Decimal]:
        """Return quantities that were computed before."""
        return {}

    @cached_property
    def _ticks(self) -> dict[Decimal, int]:
        """Return the ticks of prices that were turned into them before: an order's are asked for several times."""
        return {}

    @cached_property
    def _lots(self) -> dict[Decimal, int]:
        """Return the lots of quantities that were turned into them before."""
        return {}

    def notional_quanta(self, ticks: int, lots: int) -> int:
        """Return what `lots` at `ticks` cost, in quote quanta, exactly.

        Raises:
            NotionalTooLargeError: The product leaves the range in which the engine counts.
        """
        product = int(ticks) * int(lots)
        if product >= PRODUCT_LIMIT:
            raise NotionalTooLargeError(field="quantity")
        return product * self.unit_quanta

    def base_quanta(self, lots: int) -> int:
        """Return `lots` in base quanta."""
        return int(lots) * self.lot_quanta

    def parse_price(self, value: object) -> Decimal:
        """Read a price from the wire: a decimal string in major units, or minor units as a JSON integer.

        Raises:
            NumberFormatError: A float, a bool, a sign, an exponent, too many digits, or a JSON integer
                where the instrument does not quote in minor units.
        """
        if type(value) is int and self.minor_unit_decimals is not None:
            return EXACT.scaleb(Decimal(_bounded("price", value)), -self.minor_unit_decimals)
        return parse_decimal("price", value)

    def parse_qty(self, value: object) -> Decimal:
        """Read a quantity from the wire: a decimal string, or a JSON integer where prices are in minor units.

        Raises:
            NumberFormatError: As for `parse_price`.
        """
        if type(value) is int and self.minor_unit_decimals is not None:
            return Decimal(_bounded("quantity", value))
        return parse_decimal("quantity", value)

    def parse_quote(self, value: object) -> Decimal:
        """Read an amount of the quote asset from the wire, in the form of a price.

        Raises:
            NumberFormatError: As for `parse_price`.
            InexactAmountError: It has more decimals than the wire could show again.
        """
        if type(value) is int and self.minor_unit_decimals is not None:
            return EXACT.scaleb(Decimal(_bounded("quote_quantity", value)), -self.minor_unit_decimals)
        amount = parse_decimal("quote_quantity", value)
        if self.minor_unit_decimals is not None:
            to_quanta(amount, self.minor_unit_decimals)
        return amount

    def wire_price(self, price: Decimal) -> int | str:
        """Write a price for the wire: a JSON integer of minor units, or a plain decimal string."""
        written = self._written_prices.get(price)
        if written is None:
            decimals = self.minor_unit_decimals
            written = plain(price) if decimals is None else to_quanta(price, decimals)
            _remember(self._written_prices, price, written)
        return written

    def wire_average(self, price: Decimal) -> int | str:
        """Write a computed price, such as an average cost, cut toward zero to what the wire can show."""
        if self.minor_unit_decimals is None:
            return plain(round_down(price, self.quote_decimals))
        return to_quanta(round_down(price, self.minor_unit_decimals), self.minor_unit_decimals)

    def wire_qty(self, quantity: Decimal) -> int | str:
        """Write a quantity for the wire: a JSON integer where prices are in minor units, else a string."""
        written = self._written_quantities.get(quantity)
        if written is None:
            written = plain(quantity) if self.minor_unit_decimals is None else to_quanta(quantity, 0)
            _remember(self._written_quantities, quantity, written)
        return written

    def wire_ticks(self, ticks: int) -> int | str:
        """Write ticks for the wire as `wire_price` would, by integer arithmetic: the feed's fast path."""
        return _written(ticks * self._tick_scale[0], self._tick_scale[1])

    def wire_lots(self, lots: int) -> int | str:
        """Write lots, of either sign, for the wire as `wire_qty` would, by integer arithmetic."""
        return _written(lots * self._lot_scale[0], self._lot_scale[1])

    def wire_turnover(self, tick_lots: int) -> int | str:
        """Write a sum of ticks times lots as an amount of quote: minor units as an integer, else a string."""
        scale, decimals = self._turnover_scale
        return _written(tick_lots * scale, decimals)

    @cached_property
    def _written_prices(self) -> dict[Decimal, int | str]:
        """Return prices as the wire carries them: an order is written again whenever it changes."""
        return {}

    @cached_property
    def _written_quantities(self) -> dict[Decimal, int | str]:
        """Return quantities as the wire carries them."""
        return {}

    @cached_property
    def _turnover_scale(self) -> tuple[int, int | None]:
        """Return (integer, decimals) of one tick times one lot."""
        size = self.step_worth
        if self.minor_unit_decimals is not None:
            return to_quanta(size, self.minor_unit_decimals), None
        return _integer_and_decimals(size)

    @cached_property
    def _tick_scale(self) -> tuple[int, int | None]:
        """Return (integer, decimals) of one tick; decimals None where the wire carries minor units."""
        if self.minor_unit_decimals is not None:
            return to_quanta(self.tick_size, self.minor_unit_decimals), None
        return _integer_and_decimals(self.tick_size)

    @cached_property
    def _lot_scale(self) -> tuple[int, int | None]:
        """Return (integer, decimals) of one lot; decimals None where the wire carries integers."""
        if self.minor_unit_decimals is not None:
            return to_quanta(self.lot_size, 0), None
        return _integer_and_decimals(self.lot_size)


@functools.lru_cache(maxsize=10_000)
def rate_units(rate: Decimal) -> int:
    """Turn a rate into units of 1/RATE_SCALE, exactly: there are few different ones."""
    return to_quanta(rate, RATE_DECIMALS)


def parse_decimal(field: str, value: object) -> Decimal:
    """Read a plain decimal string: digits, at most one point, at most 20 before it and 18 after.

    Raises:
        NumberFormatError: Anything else, a JSON number included.
    """
    if not isinstance(value, str) or len(value) > DECIMAL_TEXT_MAX or not _PLAIN_DECIMAL.fullmatch(value):
        raise NumberFormatError(field=field, value=str(value)[:DECIMAL_TEXT_MAX])
    return Decimal(value)


def _bounded(field: str, value: int) -> int:
    """Pass a JSON integer on unless it has more digits than the tables hold, or a sign."""
    if value < 0 or value >= 10**20:
        raise NumberFormatError(field=field, value=str(value)[:DECIMAL_TEXT_MAX])
    return value


def _steps(field: str, amount: Decimal, step: Decimal, steps_max: int) -> int | None:
    """Return `amount / step` if it is a whole number in range, None if it lies between two steps."""
    require(isinstance(amount, Decimal), f"{field} must be a Decimal")
    if not amount.is_finite() or amount <= 0:
        raise NotPositiveError(field=field, value=_shown(amount))
    if amount > _most(step, steps_max):
        raise NumberTooLargeError(field=field, value=_shown(amount), maximum=plain(_most(step, steps_max)))
    try:
        steps, rest = EXACT.divmod(amount, step)
    except Inexact:  # more decimals than anything has
        return None
    return None if rest else int(steps)


def _remember(known: dict[Any, Any], key: Decimal | int, value: Decimal | int | str) -> None:
    """Keep what was computed, at most REMEMBERED_MAX of a kind."""
    if len(known) >= REMEMBERED_MAX:
        known.clear()
    known[key] = value


@functools.cache
def _most(step: Decimal, steps_max: int) -> Decimal:
    """Return the largest amount that is allowed."""
    return EXACT.multiply(step, Decimal(steps_max))


def _decimals(amount: Decimal) -> int:
    """Return how many decimals an amount is written with."""
    return max(0, -int(amount.as_tuple().exponent))


def _integer_and_decimals(size: Decimal) -> tuple[int, int]:
    """Return 0.0500 as (5, 2)."""
    decimals = _decimals(Decimal(plain(size)))
    return to_quanta(size, decimals), decimals


@functools.lru_cache(maxsize=1 << 16)  # the feed writes the top of each book ten times a second, and little is new
def _written(units: int, decimals: int | None) -> int | str:
    """Write units of 10^-decimals without trailing zeros; None passes the integer itself."""
    return int(units) if decimals is None else plain_quanta(int(units), decimals)


def _shown(amount: Decimal) -> str:
    """Write a refused amount for the message, cut to a readable length."""
    if not amount.is_finite() or abs(amount.adjusted()) > DECIMAL_TEXT_MAX:
        return str(amount)[:DECIMAL_TEXT_MAX]
    return plain(amount)[:DECIMAL_TEXT_MAX]
