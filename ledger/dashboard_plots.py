"""Draws the small plots of the administration's first page as SVG: lines and bars, no script, no inline style."""

from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final, NamedTuple

WIDTH: Final = 600
HEIGHT: Final = 160
INSET: Final = 8
_PLACE: Final = Decimal("0.1")


class Bar(NamedTuple):
    """A bar from the zero line up, or down where the amount is negative; in units of the drawing."""

    x: str
    y: str
    width: str
    height: str


class Scale(NamedTuple):
    """Which amounts lie at the bottom and at the top of a plot."""

    low: Decimal
    high: Decimal

    def y(self, amount: Decimal) -> Decimal:
        """Return where an amount lies, from the top; the middle when all amounts are one."""
        span = self.high - self.low
        if not span:
            return Decimal(HEIGHT) / 2
        return INSET + (self.high - amount) / span * (HEIGHT - 2 * INSET)


def scale(*series: Sequence[Decimal], zero: bool = False) -> Scale:
    """Return a scale that holds all series, and zero where it is asked for; drawing only, so it may round."""
    amounts = [amount for one in series for amount in one] + ([Decimal(0)] if zero else [])
    return Scale(min(amounts, default=Decimal(0)), max(amounts, default=Decimal(0)))


def line(amounts: Sequence[Decimal], to: Scale) -> str:
    """Return the points of a polyline, spread over the width."""
    steps = max(len(amounts) - 1, 1)
    return " ".join(
        f"{_number(Decimal(WIDTH * n) / steps)},{_number(to.y(amount))}" for n, amount in enumerate(amounts)
    )


def bars(amounts: Sequence[Decimal], to: Scale) -> list[Bar]:
    """Return one bar an amount; the scale must hold zero."""
    step = Decimal(WIDTH) / max(len(amounts), 1)
    found = []
    for n, amount in enumerate(amounts):
        top, bottom = sorted((to.y(amount), to.y(Decimal(0))))
        found.append(Bar(_number(step * n + 1), _number(top), _number(step - 2), _number(bottom - top)))
    return found


def _number(value: Decimal) -> str:
    """Write a coordinate; a tenth of a pixel is finer than a screen shows."""
    return str(value.quantize(_PLACE, rounding=ROUND_HALF_EVEN))
