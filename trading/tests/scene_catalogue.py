"""The small scenes whose every order of commands and settlements is tried: what traders begin with and what they do."""

from typing import NamedTuple

from trading.tests.scene_actions import Action
from trading.tests.scene_checks import Scripts
from trading.tests.scenes import MARK, World

ALICE, BOB, CAROL = 1, 2, 3
OPERATOR = 0
"""Whose script has the mark prices."""

RICH, POOR, BARE = 1_000, 6, 3
"""Funds: enough for everything, hardly enough, not enough. Ten lots at 100 are worth 10, their margin is 1.42."""


class Scene(NamedTuple):
    """What is there, and what each trader does.

    Attributes:
        start: Trades before the scene begins: buyer, seller, lots, price.
        review_above: The value above which orders wait for a person.
    """

    name: str
    funds: dict[int, int]
    start: list[tuple[int, int, int, int]]
    scripts: Scripts
    mark: int = MARK
    review_above: int | None = None

    @property
    def is_rich(self) -> bool:
        """Whether funds reach for everything, so that the ending books depend on nothing but what matched."""
        return min(self.funds.values()) >= RICH

    @property
    def actions(self) -> int:
        """Return how much its traders do."""
        return sum(len(script) for script in self.scripts.values())

    def begin(self) -> World:
        """Return the world in which it begins."""
        world = World(self.funds, review_above=self.review_above)
        world.act(OPERATOR, mark(self.mark))
        world.settle(world.pending)
        for buyer, seller, lots, price in self.start:
            world.act(seller, sell(lots, price))
            world.act(buyer, buy(lots, price))
            world.settle(world.pending)
        world.placed.clear()
        return world


def buy(lots: int, price: int, kind: str = "limit") -> Action:
    """Return an order to buy."""
    return Action(kind, "buy", lots, price)


def sell(lots: int, price: int, kind: str = "limit") -> Action:
    """Return an order to sell."""
    return Action(kind, "sell", lots, price)


def cancel(target: int) -> Action:
    """Return the cancel of an own order, counted from 0."""
    return Action("cancel", target=target)


def amend(target: int, *, lots: int = 0, price: int = 0) -> Action:
    """Return an amend of an own order."""
    return Action("amend", lots=lots, price=price, target=target)


def take_off(target: int, lots: int) -> Action:
    """Return the reduction of an own order."""
    return Action("reduce", lots=lots, target=target)


def mark(price: int) -> Action:
    """Return a new mark price."""
    return Action("mark", price=price)


def lever(leverage: int) -> Action:
    """Return the choice of another leverage."""
    return Action("lever", lots=leverage)


def close(side: str) -> Action:
    """Return an order that closes the whole position at the market's price."""
    return Action("close", side)


def sweep() -> Action:
    """Return the sweeper's turn."""
    return Action("sweep")


LONG = [(ALICE, BOB, 10, 100)]
SHORT = [(BOB, ALICE, 10, 100)]


def _both(name: str, start: list[tuple[int, int, int, int]], scripts: Scripts) -> list[Scene]:
    """Return a scene twice: with funds for everything, and with hardly any for Alice."""
    traders = sorted({ALICE, BOB, *scripts} - {OPERATOR})
    return [
        Scene(f"{name}, rich", dict.fromkeys(traders, RICH), start, scripts),
        Scene(f"{name}, poor", {**dict.fromkeys(traders, RICH), ALICE: BARE}, start, scripts),
    ]


SMALL: list[Scene] = [
    *_both("open, and open more", [], {ALICE: [buy(7, 101), buy(5, 100)], BOB: [sell(6, 100), sell(9, 99), cancel(1)]}),
    *_both(
        "two closes of one position, one of them far away",
        LONG,
        {ALICE: [sell(10, 130), sell(10, 99)], BOB: [buy(7, 99), buy(5, 100), buy(8, 130)]},
    ),
    *_both(
        "a reversal beside a close",
        LONG,
        {ALICE: [sell(15, 101), sell(6, 100), cancel(0)], BOB: [buy(9, 101), buy(8, 100)]},
    ),
    *_both(
        "a resting order that opens when it was to close",
        SHORT,
        {ALICE: [buy(3, 100), buy(13, 101), cancel(1)], BOB: [sell(11, 101), sell(5, 100)]},
    ),
    *_both(
        "a resting order that closes when it was to open",
        LONG,
        {ALICE: [buy(13, 90), sell(14, 100), sell(7, 95)], BOB: [buy(20, 95), sell(12, 90)]},
    ),
    *_both(
        "amends up and down around a close",
        LONG,
        {ALICE: [sell(8, 102), amend(0, lots=14), amend(0, price=101)], BOB: [buy(5, 102), buy(7, 101)]},
    ),
    *_both(
        "a lower leverage draws margin while fills wait",
        LONG,
        {ALICE: [lever(3), sell(4, 100), lever(2)], BOB: [buy(4, 100), sell(3, 99)]},
    ),
    Scene(
        "a robbed order whose hold cannot be had",
        {ALICE: 45, BOB: RICH},
        [(ALICE, BOB, 100, 100)],
        {ALICE: [sell(100, 190), sell(100, 82)], BOB: [buy(100, 82), buy(60, 190), buy(50, 190)]},
    ),
    Scene(
        "a loss larger than margin",
        {ALICE: 3, BOB: RICH},
        [],
        {OPERATOR: [mark(95)], ALICE: [sell(12, 60), buy(13, 95)], BOB: [buy(12, 60), sell(13, 95)]},
        mark=60,
    ),
    Scene(
        "an order in review is robbed, its time is over, and it is swept",
        {ALICE: 45, BOB: RICH},
        [(ALICE, BOB, 100, 100)],
        {ALICE: [sell(100, 190, "gtd"), sell(100, 82)], BOB: [buy(100, 82)], OPERATOR: [sweep(), sweep()]},
        review_above=150,
    ),
    Scene(
        "an order that never came into the log is cancelled by its owner, and swept",
        {ALICE: RICH, BOB: RICH},
        LONG,
        {ALICE: [buy(5, 101, "lost"), cancel(0)], BOB: [sell(5, 101)], OPERATOR: [sweep(), sweep(), sweep()]},
    ),
]
"""Five actions each: 420 orders with two traders, more where settlement asks for cancels of its own."""

LARGE: list[Scene] = [
    *_both(
        "both sides reverse",
        LONG,
        {ALICE: [sell(17, 100), buy(9, 103)], BOB: [buy(23, 100), sell(4, 103), cancel(0)]},
    ),
    *_both(
        "the mark price runs away from orders",
        LONG,
        {OPERATOR: [mark(113)], ALICE: [sell(16, 98), buy(4, 104)], BOB: [buy(11, 99), sell(6, 104)]},
    ),
    *_both(
        "a ladder of closes is overtaken by a reversal",
        LONG,
        {ALICE: [sell(4, 104), sell(5, 103), sell(14, 100)], BOB: [buy(13, 100), buy(6, 103), buy(7, 104)]},
    ),
    *_both(
        "leverage changes between orders",
        LONG,
        {ALICE: [lever(3), buy(6, 101), lever(20), sell(9, 100)], BOB: [sell(9, 101), buy(12, 100)]},
    ),
    *_both(
        "reduce-only orders, a close of everything and a reversal",
        LONG,
        {
            ALICE: [sell(6, 101, "reduce_only"), close("sell"), buy(5, 102)],
            BOB: [buy(7, 100), buy(9, 101), sell(4, 99)],
        },
    ),
    *_both(
        "reductions and amends of an order that is robbed",
        LONG,
        {ALICE: [sell(9, 120), sell(10, 99), take_off(0, 3), amend(0, lots=11)], BOB: [buy(10, 99), buy(8, 120)]},
    ),
    *_both(
        "three traders, and a position that everybody wants",
        LONG,
        {ALICE: [sell(12, 100), sell(3, 101)], BOB: [buy(8, 100), cancel(0)], CAROL: [buy(9, 101)]},
    ),
    *_both(
        "a trader trades with oneself",
        LONG,
        {ALICE: [sell(13, 100), buy(8, 100), cancel(0)], BOB: [buy(6, 100), sell(5, 100, "ioc"), buy(4, 101)]},
    ),
]
"""Up to six actions each: thousands of orders."""
