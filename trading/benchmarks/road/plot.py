"""Draws rates over time as an SVG file: what came in beside what was settled, and what waited."""

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Final

from trading.benchmarks.road.figures import Steady

WIDTH, HEIGHT = 900, 420
LEFT, RIGHT, TOP, BOTTOM = 70, 70, 40, 50
COLOURS: Final = {"admitted/s": "#2962ff", "settled/s": "#00897b", "waiting (right)": "#e65100"}
TICKS: Final = 5
FONT: Final = 'font-family="sans-serif" font-size="12"'

Points = Sequence[tuple[float, float]]


def _a_second(moments: Sequence[tuple[float, int]], start: float, seconds: int) -> Points:
    """Return what happened in each whole second."""
    sums = [0] * seconds
    for at, count in moments:
        if 0 <= (place := int(at - start)) < seconds:
            sums[place] += count
    return [(second + 0.5, float(total)) for second, total in enumerate(sums)]


def _line(points: Points, x_most: float, y_most: float, colour: str) -> str:
    """Return a line through points."""
    width, height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    path = " ".join(f"{LEFT + width * x / x_most:.1f},{TOP + height * (1 - y / y_most):.1f}" for x, y in points)
    return f'<polyline fill="none" stroke="{colour}" stroke-width="1.5" points="{path}"/>'


def _axis(most: float, x: int, anchor: str) -> str:
    """Return the numbers of a vertical axis."""
    height = HEIGHT - TOP - BOTTOM
    return "".join(
        f'<text x="{x}" y="{TOP + height * (1 - step / TICKS) + 4:.1f}" text-anchor="{anchor}" {FONT}>'
        f"{most * step / TICKS:,.0f}</text>"
        for step in range(TICKS + 1)
    )


def draw(found: Steady) -> str:
    """Return the picture of a steady phase."""
    start, seconds = found.samples[0].at, max(1, int(found.seconds))
    settled = [
        (now.at, now.settled - before.settled)
        for before, now in zip(found.samples, found.samples[1:], strict=False)
        if now.settled > before.settled
    ]
    rates = _a_second(found.admitted_at, start, seconds), _a_second(settled, start, seconds)
    waiting = [(one.at - start, float(one.head - one.settled)) for one in found.samples]
    most = max([1.0, *(y for points in rates for _, y in points)])
    waiting_most = max([1.0, *(y for _, y in waiting)])
    admitted_name, settled_name, waiting_name = COLOURS
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<path d="M{LEFT} {TOP}V{HEIGHT - BOTTOM}H{WIDTH - RIGHT}V{TOP}" fill="none" stroke="#888"/>',
        _axis(most, LEFT - 8, "end"),
        _axis(waiting_most, WIDTH - RIGHT + 8, "start"),
        _line(waiting, seconds, waiting_most, COLOURS[waiting_name]),
        _line(rates[0], seconds, most, COLOURS[admitted_name]),
        _line(rates[1], seconds, most, COLOURS[settled_name]),
        f'<text x="{WIDTH / 2}" y="{HEIGHT - 15}" text-anchor="middle" {FONT}>seconds, 0 to {seconds}</text>',
    ]
    for place, (name, colour) in enumerate(COLOURS.items()):
        parts.append(f'<text x="{LEFT + 150 * place}" y="24" fill="{colour}" {FONT}>{escape(name)}</text>')
    return "".join([*parts, "</svg>\n"])


def write(found: Steady, file: Path) -> None:
    """Write the picture."""
    file.write_text(draw(found), encoding="utf-8")
