"""Every order of commands and settlements of small scenes: the books hold, and end as what matched says.

In full (`--scenes all`) more than 20,000 orders are tried; the suite tries the smaller scenes.
"""

import time
from collections import defaultdict

import pytest

from trading.order_parts import PartState
from trading.tests.scene_catalogue import LARGE, SMALL, Scene
from trading.tests.scene_checks import endings
from trading.tests.scenes import SPEC, known

SCENES_LEAST = {"some": 5_000, "all": 20_000}


def _try(scene: Scene, seen: dict[str, int]) -> int:
    """Try every order of one scene; return how many there are.

    Args:
        seen: Counts what happened, so that a test can say that it did.
    """
    count = 0
    books: dict[object, dict[object, tuple[int, ...]]] = defaultdict(dict)
    for ending in endings(scene.begin(), scene.scripts):
        count += 1
        world = ending.world
        books[tuple(world.fills)].setdefault(world.worth(whole=scene.is_rich), ending.schedule)
        for kind, times in world.kinds.items():
            seen[kind] += times
        seen["refused"] += world.refusals
        seen["leverage refused"] += world.levers_refused
        seen["system command"] += world.system_commands
        for step, times in world.steps.items():
            seen[f"sweeper: {step}"] += times
        seen["stolen"] += sum(p.state == PartState.STOLEN for parts in world.parts.values() for p in parts.values())
        seen["debt"] += any(world.debts.of(one, SPEC.quote) for one in world.traders)
    for fills, ended in books.items():
        assert len(ended) == 1, f"{scene.name}: {fills} ended as {ended}"
    seen["ways to match"] += len(books)
    return count


def test_every_order_of_commands_and_settlements_keeps_the_books(request: pytest.FixtureRequest) -> None:
    wanted = request.config.getoption("--scenes")
    seen: dict[str, int] = defaultdict(int)
    total, began = 0, time.monotonic()
    with known(SPEC):
        for scene in SMALL if wanted == "some" else [*SMALL, *LARGE]:
            try:
                count = _try(scene, seen)
            except AssertionError as error:
                error.add_note(scene.name)
                raise
            print(f"{count:7,} orders of {scene.actions} actions: {scene.name}")  # noqa: T201
            total += count
    print(f"{total:7,} scenes in {time.monotonic() - began:.1f} s; {dict(sorted(seen.items()))}")  # noqa: T201

    assert total >= SCENES_LEAST[wanted]
    for happened in (
        "FLIP_CLOSE",
        "FLIP_OPEN",
        "CLOSE_TO_OPEN",
        "OPEN_TO_CLOSE",
        "stolen",
        "system command",
        "debt",
        "refused",
        "sweeper: NOTE",
        "sweeper: ASK",
        "sweeper: VOID",
        "sweeper: CLOSE",
        "MARGIN_ADD",
        "leverage refused",
    ):
        assert seen[happened], f"no scene had any {happened}"
