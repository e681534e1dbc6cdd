"""What every process of the exchange does before it loads anything."""

import gc
import sys
from collections.abc import Iterator

import pytest

import manage
from exchange.kernel import garbage
from exchange.management import launch

RARELY = (garbage.YOUNG_MAX, garbage.ROUNDS, garbage.ROUNDS)


@pytest.fixture
def found() -> Iterator[list[tuple[int, int, int]]]:
    """How often cycles are searched for, as what is started finds it."""
    before = gc.get_threshold()
    yield []
    gc.set_threshold(*before)


def test_a_command_loads_without_searching_for_cycles_all_the_time(monkeypatch, found) -> None:
    monkeypatch.setattr(sys, "argv", ["manage.py", "check"])
    monkeypatch.setattr("django.core.management.execute_from_command_line", lambda _: found.append(gc.get_threshold()))

    manage.main()

    assert found == [RARELY]


def test_so_does_a_process_that_up_starts(monkeypatch, found) -> None:
    monkeypatch.setattr(sys, "argv", sys.argv)
    monkeypatch.setattr(launch, "setproctitle", lambda _: None)
    monkeypatch.setattr("runpy.run_module", lambda *_, **__: found.append(gc.get_threshold()))

    launch.main(["beat", "celery", "beat"])

    assert found == [RARELY]
