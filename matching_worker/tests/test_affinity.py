import os
import threading

import pytest

from matching_worker import affinity
from matching_worker.affinity import AffinityError
from matching_worker.stages import STAGES

needs_linux = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no sched_setaffinity")


def test_processors_are_read_by_stage() -> None:
    assert affinity.parse("", STAGES) == {}
    assert affinity.parse(" match=1, journal = 0 ", STAGES) == {"match": 1, "journal": 0}
    assert affinity.parse(affinity.describe({"settle": 3}), STAGES) == {"settle": 3}


@pytest.mark.parametrize(
    ("text", "said"),
    [("matching=1", "no stage 'matching'"), ("match", "not stage=processor"), ("match=1,match=2", "named twice")],
)
def test_a_text_that_is_no_wish_for_processors_is_refused_in_words(text: str, said: str) -> None:
    with pytest.raises(AffinityError, match=said):
        affinity.parse(text, STAGES)


@needs_linux
def test_a_thread_is_bound_alone_and_an_impossible_wish_is_told_and_changes_nothing() -> None:
    before = os.sched_getaffinity(0)
    core = min(before)
    found: list[object] = []

    def run() -> None:
        found.extend([affinity.pin(core), os.sched_getaffinity(0), affinity.pin(4095), os.sched_getaffinity(0)])

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()

    assert found[:2] == ["", {core}]
    assert "processor 4095 cannot be had" in str(found[2])
    assert found[3] == {core}
    assert os.sched_getaffinity(0) == before


def test_a_system_without_affinity_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_setaffinity", raising=False)

    assert "cannot bind threads" in affinity.pin(0)
