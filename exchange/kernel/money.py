"""Exact decimal arithmetic: every rounding names its direction, and nothing else rounds.

Amounts inside settlement are integers of an asset's quantum (10^-decimals); `Decimal` at the edges.
"""

import functools
from decimal import (
    ROUND_FLOOR,
    Context,
    Decimal,
    DivisionByZero,
    Inexact,
    InvalidOperation,
    Overflow,
)

from exchange.kernel.errors import DomainError, gettext_noop

MONEY_DIGITS = 38
MONEY_DECIMALS = 18

EXACT = Context(prec=200, traps=[Inexact, InvalidOperation, Overflow, DivisionByZero])
"""A context in which an operation that would lose a digit raises instead."""

_ZERO = Decimal(0)
_WIDE = Context(prec=200, traps=[InvalidOperation, Overflow, DivisionByZero])


class InexactAmountError(DomainError):
    """An amount has more decimals than its asset."""

    code = 1010
    name = "TOO_MANY_DECIMALS"
    message = gettext_noop("%(amount)s has more than %(decimals)s decimals.")


def from_quanta(quanta: int, decimals: int) -> Decimal:
    """Turn an integer number of quanta into an amount, exactly: (12345, 2) -> 123.45."""
    return EXACT.multiply(quanta, _unit(decimals)) if quanta else _ZERO


@functools.cache
def _unit(decimals: int) -> Decimal:
    """Return one quantum."""
    return EXACT.scaleb(Decimal(1), -decimals)


def to_quanta(amount: Decimal, decimals: int) -> int:
    """Turn an amount into quanta, exactly.

    Raises:
        InexactAmountError: The amount is not a whole number of quanta.
    """
    if not amount:
        return 0
    scaled = EXACT.scaleb(amount, decimals)
    quanta = int(scaled)
    if quanta != scaled:
        raise InexactAmountError(amount=plain(amount), decimals=decimals)
    return quanta


def round_down(amount: Decimal, decimals: int) -> Decimal:
    """Round toward minus infinity: credits, which the user receives."""
    return amount.quantize(Decimal(1).scaleb(-decimals), rounding=ROUND_FLOOR, context=_WIDE)


def ceil_div(numerator: int, denominator: int) -> int:
    """Divide integers, rounding toward plus infinity."""
    return -(-numerator // denominator)


def plain(amount: Decimal) -> str:
    """Write an amount without exponent, trailing zeros or a negative zero: the wire format."""
    if not amount:
        return "0"
    text = format(amount, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def plain_quanta(quanta: int, decimals: int) -> str:
    """Write an integer number of quanta as `plain` writes its amount, without making that: (12340, 2) -> "123.4"."""
    if not quanta or not decimals:
        return str(quanta)
    digits = str(abs(quanta)).zfill(decimals + 1)
    text = f"{digits[:-decimals]}.{digits[-decimals:]}".rstrip("0").rstrip(".")
    return f"-{text}" if quanta < 0 else text
