"""Parts of contract orders: what fills, reductions and stolen lots leave of their funds."""

from trading.order_parts import Part, PartKind, PartState, split


def test_lots_that_nothing_covers_take_no_hold_from_those_that_were_to_open() -> None:
    part = Part(PartKind.INCREASE, lots=5, left=5, funds=70, version=1)
    part.grow(10, 0, stolen=10)
    part.ask_for(10)

    given_back = part.shrink(10, keep=70)

    assert (given_back, part.left, part.funds, part.going, part.stolen) == (0, 5, 70, 0, 0)


def test_a_fill_that_overtakes_the_cancel_of_stolen_lots_uses_the_hold_of_its_own_lots_first() -> None:
    part = Part(PartKind.INCREASE, lots=5, left=5, funds=70, version=1)
    part.grow(10, 0, stolen=10)

    share = part.fill(5, at_least=70)

    assert (share, part.left, part.funds, part.stolen, part.state) == (70, 10, 0, 10, PartState.TRIED)


def test_of_what_opens_those_lots_are_compensation_that_were_meant_to_close() -> None:
    falls = split(12, closable=2, reduce_left=2, increase_left=15, stolen=10)

    assert falls == (2, 10, 2, 5)
    assert (falls.open_to_close, falls.close_to_open) == (0, 5)


def test_stolen_lots_that_fill_or_end_are_stolen_no_more() -> None:
    part = Part(PartKind.INCREASE, version=0)
    part.grow(10, 40, stolen=10)

    assert part.fill(4) == 16
    assert part.stolen == 6
    assert part.end() == 24
    assert (part.left, part.stolen, part.state) == (0, 0, PartState.CANCELLED)
