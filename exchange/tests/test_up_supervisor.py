import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from exchange.embedded import process
from exchange.embedded.errors import EmbeddedServerError
from exchange.management import supervisor as supervision
from exchange.management.supervisor import Child, Supervisor


def script(text: str):
    """A launcher of a shell script."""
    return lambda output: process.spawn(["/bin/sh", "-c", text], output=output)


class Watched:
    """A supervisor whose every word is kept; it stops when `until` says so, or after a minute."""

    def __init__(self, *children: Child, until=lambda _: False) -> None:
        self.lines: list[tuple[str, str]] = []
        self.notes: list[tuple[str, str]] = []
        self.until = until
        self.ready = 0
        self.stopping = False
        self.act = lambda: None
        self.supervisor = Supervisor(children, show=self._show, tell=self._tell, changed=lambda: None)

    def _show(self, name: str, line: str) -> None:
        self.lines.append((name, line))
        self.act()
        self._look()

    def _tell(self, name: str, note: str) -> None:
        self.notes.append((name, note))
        self._look()

    def _all_ready(self) -> None:
        self.ready += 1
        self._look()

    def _look(self) -> None:
        if not self.stopping and self.until(self):
            self.stopping = True
            self.supervisor.request_stop()

    def run(self) -> "Watched":
        signal.signal(signal.SIGALRM, lambda *_: pytest.fail("the supervisor did not stop"))
        signal.alarm(60)
        try:
            self.supervisor.run(all_ready=self._all_ready)
        finally:
            signal.alarm(0)
        return self


def test_every_line_of_a_child_is_shown_under_its_name_also_the_last_without_an_end() -> None:
    watched = Watched(Child("one", script("echo first; echo oops >&2; printf 'no end'")), until=lambda w: w.notes).run()

    assert watched.lines == [("one", "first"), ("one", "oops"), ("one", "no end")]


def test_a_child_that_dies_is_started_again_after_growing_pauses(monkeypatch) -> None:
    monkeypatch.setattr(supervision, "PAUSE_SECONDS_FIRST", 0.01)

    watched = Watched(Child("weak", script("exit 3")), until=lambda w: len(w.notes) == 4).run()

    assert watched.notes == [
        ("weak", f"ended with exit code 3; starts again in {pause:g} s") for pause in (0.01, 0.02, 0.04, 0.08)
    ]
    assert watched.supervisor.children[0].restarts == 4


def test_the_pause_has_an_upper_bound_and_shrinks_again_after_a_steady_run() -> None:
    watched = Watched()
    child = Child("weak", script("exit 0"))
    for _ in range(20):
        watched.supervisor._plan_restart(child, "ended")
    assert watched.notes[-1] == ("weak", "ended; starts again in 30 s")

    child.started_at = time.monotonic() - supervision.STEADY_SECONDS - 1
    child.process = subprocess.Popen(["/bin/true"], start_new_session=True)
    child.process.wait()
    watched.supervisor.children = [child]
    watched.supervisor._reap()

    assert watched.notes[-1] == ("weak", "ended with exit code 0; starts again in 0.5 s")


def test_a_child_killed_by_a_signal_is_named_so() -> None:
    watched = Watched(Child("shot", script("kill -9 $$")), until=lambda w: w.notes).run()

    assert watched.notes[0] == ("shot", "was ended by signal 9; starts again in 0.5 s")


def test_a_child_that_cannot_be_launched_is_tried_again() -> None:
    def broken(_: int) -> subprocess.Popen[bytes]:
        raise EmbeddedServerError("the disk is full.")

    watched = Watched(Child("broken", broken), until=lambda w: w.notes).run()

    assert watched.notes[0] == ("broken", "cannot start: the disk is full.; starts again in 0.5 s")


def test_children_stop_in_reverse_order_and_politely() -> None:
    polite = "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done"
    children = [Child(name, script(polite)) for name in ("first", "second", "third")]

    watched = Watched(*children, until=lambda w: [line for _, line in w.lines].count("up") == 3).run()

    assert [name for name, line in watched.lines if line == "bye"] == ["third", "second", "first"]
    assert [child.exit_code for child in children] == [0, 0, 0]
    assert {child.state for child in children} == {"stopped"}


def test_a_child_that_ignores_the_request_is_killed_with_its_own_children(tmp_path: Path) -> None:
    stubborn = f"trap '' TERM; sleep 60 & echo $! > {tmp_path}/pid; echo up; wait; sleep 60"

    watched = Watched(Child("stubborn", script(stubborn), stop_seconds_max=0.3), until=lambda w: w.lines).run()

    assert watched.supervisor.children[0].exit_code == -signal.SIGKILL
    deadline = time.monotonic() + 20
    while process.alive(int((tmp_path / "pid").read_text())) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not process.alive(int((tmp_path / "pid").read_text()))


def test_a_child_waits_until_the_one_before_it_is_ready(tmp_path: Path) -> None:
    gate = tmp_path / "open"
    first = Child("first", script(f"sleep 0.3; touch {gate}; exec sleep 60"), is_ready=gate.exists)
    second = Child("second", script(f"test -e {gate} && echo after; exec sleep 60"), after="first")

    watched = Watched(first, second, until=lambda w: w.lines).run()

    assert watched.lines == [("second", "after")]
    assert watched.notes[0][0] == "first"
    assert watched.notes[0][1].startswith("ready after")


def test_readiness_of_all_is_announced_once() -> None:
    watched = Watched(
        Child("one", script("exec sleep 60")), Child("two", script("exec sleep 60")), until=lambda w: w.ready
    ).run()

    assert watched.ready == 1


def test_a_signal_stops_the_loop_at_once() -> None:
    watched = Watched(Child("one", script("echo up; exec sleep 60")))
    watched.act = lambda: os.kill(os.getpid(), signal.SIGTERM)
    began = time.monotonic()

    watched.run()

    assert time.monotonic() - began < watched.supervisor.children[0].stop_seconds_max  # nobody waited for that
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_log_of_its_own_is_followed_from_its_end(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    log.write_text("from yesterday\n")
    child = Child("server", script(f"sleep 0.1; echo today >> {log}; exec sleep 60"), log=log)

    watched = Watched(child, until=lambda w: w.lines).run()

    assert watched.lines == [("server", "today")]


def test_an_endless_line_is_cut_rather_than_kept_for_ever(monkeypatch) -> None:
    monkeypatch.setattr(supervision, "LINE_BYTES_MAX", 100)

    watched = Watched(Child("wide", script("printf '%0200d' 7; exec sleep 60")), until=lambda w: w.lines).run()

    assert watched.lines == [("wide", "0" * 199 + "7")]
