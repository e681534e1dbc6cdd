"""Draws figures as plain shapes for SVG, in whole numbers: bars of an asset, and lines of ratios over time."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Final, NamedTuple

from ledger.reserves.statements import AssetFigures, Published

BAR_LENGTH: Final = 1000
PLOT_WIDTH: Final = 1000
PLOT_HEIGHT: Final = 240
RATIO_SHOWN_MAX: Final = Decimal(3)
"""A ratio beyond this is drawn at the top edge: an asset that hardly anybody owns would flatten all others."""


class Bars(NamedTuple):
    """Lengths of two bars, in thousandths of the longer one."""

    liabilities: int
    custody: int


class RatioLine(NamedTuple):
    """One asset's ratios over time.

    Args:
        points: As SVG's polyline has them.
        last: The newest ratio.
    """

    asset: str
    points: str
    last: Decimal


class RatioPlot(NamedTuple):
    """Ratios over time, oldest on the left; `whole` is the height of 1, all that is owed."""

    lines: list[RatioLine]
    whole: int


def bars(figures: AssetFigures) -> Bars:
    """Return the bars of what is owed and what is held."""
    longest = max(figures.liabilities, figures.custody_total) or Decimal(1)
    return Bars(*(int(BAR_LENGTH * amount / longest) for amount in (figures.liabilities, figures.custody_total)))


def ratios(newest_first: Sequence[Published]) -> RatioPlot | None:
    """Return the lines of all assets; None while there are fewer than two publications to compare."""
    if len(newest_first) < 2:  # noqa: PLR2004 -- a line has two ends
        return None
    known: dict[str, list[tuple[int, Decimal]]] = {}
    last = len(newest_first) - 1
    for place, published in enumerate(reversed(newest_first)):
        for figures in published.assets:
            if figures.ratio is not None:
                known.setdefault(figures.asset, []).append((PLOT_WIDTH * place // last, figures.ratio))
    top = min(max((ratio for points in known.values() for _, ratio in points), default=Decimal(1)), RATIO_SHOWN_MAX)
    scale = max(top, Decimal(1)) * Decimal("1.1")
    lines = [
        RatioLine(asset, " ".join(f"{x},{_height(ratio, scale)}" for x, ratio in points), points[-1][1])
        for asset, points in sorted(known.items())
    ]
    return RatioPlot(lines, _height(Decimal(1), scale))


def _height(ratio: Decimal, scale: Decimal) -> int:
    """Return where a ratio is drawn, from the top."""
    return PLOT_HEIGHT - int(PLOT_HEIGHT * min(ratio, RATIO_SHOWN_MAX) / scale)
