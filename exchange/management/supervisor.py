"""Keeps the processes of the exchange running: starts, restarts with growing pauses, stops in reverse order.

One thread, one loop: it reads what the children print, notices who died, and asks who is ready.
Nothing here knows what the children are.
"""

import contextlib
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exchange.embedded import process
from exchange.embedded.errors import EmbeddedServerError

if TYPE_CHECKING:
    import subprocess

PAUSE_SECONDS_FIRST = 0.5
PAUSE_SECONDS_MAX = 30.0
STEADY_SECONDS = 10.0
"""A child that ran this long starts again with the first, short pause: it did not fail at starting."""
TURN_SECONDS_MAX = 0.5
PROBE_SECONDS = 0.3
PREREQUISITE_SECONDS_MAX = 120.0
LINE_BYTES_MAX = 16 * 1024
READ_BYTES = 64 * 1024

STARTING, RUNNING, WAITING, STOPPED = "starting", "running", "waiting", "stopped"


@dataclass
class Child:
    """One process to keep running.

    `launch` gets the file descriptor for the child's output. `log`, when the child writes a log of its
    own instead, is followed from its end. `is_ready` is asked until it says yes; without one a child
    is ready at once. `after` names a child that must be ready first.
    """

    name: str
    launch: Callable[[int], "subprocess.Popen[bytes]"]
    stop_signal: int = signal.SIGTERM
    stop_seconds_max: float = 10.0
    log: Path | None = None
    is_ready: Callable[[], bool] | None = None
    after: str | None = None

    process: "subprocess.Popen[bytes] | None" = None
    state: str = WAITING
    started_at: float = 0.0
    restarts: int = 0
    failures: int = 0
    exit_code: int | None = None
    due_at: float = 0.0
    output: int = -1
    buffered: bytearray = field(default_factory=bytearray)
    log_offset: int = 0


class Supervisor:
    """Runs children until it is told to stop.

    Args:
        children: In starting order; they are stopped in the reverse order.
        show: Called with a child's name and one line that it printed.
        tell: Called with a child's name and a sentence about it.
        changed: Called whenever a child's state changes.
    """

    def __init__(
        self,
        children: Sequence[Child],
        *,
        show: Callable[[str, str], None],
        tell: Callable[[str, str], None],
        changed: Callable[[], None],
    ) -> None:
        self.children = list(children)
        self._by_name = {child.name: child for child in self.children}
        self._show, self._tell, self._changed = show, tell, changed
        self._selector = selectors.DefaultSelector()
        self._began_at = time.monotonic()
        self._stop_requests = 0
        self._probe_at = 0.0

    def adopt(self, name: str, running: "subprocess.Popen[bytes]") -> None:
        """Take over a child that was started before the loop."""
        child = self._by_name[name]
        child.process, child.state, child.started_at = running, RUNNING, time.monotonic()
        child.log_offset = _size(child.log)

    def request_stop(self, *_: Any) -> None:
        """Make `run` return, or, asked again while it stops, kill what still runs. A signal handler."""
        self._stop_requests += 1

    def run(self, *, all_ready: Callable[[], None]) -> None:
        """Keep the children running until SIGINT, SIGTERM or SIGHUP; then stop them.

        Calls `all_ready` once, when every child that can tell is ready.
        """
        with self._signals():
            try:
                announced = False
                while not self._stop_requests:
                    self._begin_due()
                    self._turn(TURN_SECONDS_MAX)
                    self._reap()
                    self._ask_readiness()
                    if not announced and all(child.state == RUNNING for child in self.children):
                        announced = True
                        all_ready()
            finally:
                self.stop()

    def stop(self) -> None:
        """Stop every child, the last started first, each politely and then for good."""
        for child in reversed(self.children):
            if child.process is None:
                child.state = STOPPED
                continue
            if child.process.poll() is None:
                self._tell(child.name, "stopping")
                child.process.send_signal(child.stop_signal)
            deadline = time.monotonic() + child.stop_seconds_max
            while child.process.poll() is None and time.monotonic() < deadline and self._stop_requests < 2:  # noqa: PLR2004
                self._turn(0.05)
            process.signal_group(child.process, signal.SIGKILL)
            child.process.wait()
            self._turn(0)
            self._close(child)
            child.state, child.exit_code, child.process = STOPPED, child.process.returncode, None
            self._changed()

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Turn signals into wake-ups of the loop."""
        reader, writer = socket.socketpair()
        reader.setblocking(False)
        writer.setblocking(False)
        self._selector.register(reader, selectors.EVENT_READ)
        before_fd = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        before = {
            number: signal.signal(number, self.request_stop)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        }
        before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda *_: None)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(before_fd)
            self._selector.unregister(reader)
            reader.close()
            writer.close()

    def _begin_due(self) -> None:
        """Start every child whose time has come."""
        now = time.monotonic()
        for child in self.children:
            if child.process is not None or child.due_at > now:
                continue
            first = self._by_name.get(child.after or "")
            waited = now - self._began_at > PREREQUISITE_SECONDS_MAX
            if first is not None and first.state != RUNNING and child.restarts == 0 and not waited:
                continue
            self._begin(child)

    def _begin(self, child: Child) -> None:
        reader, writer = os.pipe()
        child.log_offset = _size(child.log)  # before it can write
        try:
            child.process = child.launch(writer)
        except (OSError, EmbeddedServerError) as error:
            os.close(reader)
            self._plan_restart(child, f"cannot start: {error}")
            return
        finally:
            os.close(writer)
        os.set_blocking(reader, False)
        child.output, child.started_at = reader, time.monotonic()
        child.state = RUNNING if child.is_ready is None else STARTING
        self._selector.register(reader, selectors.EVENT_READ, child)
        self._changed()

    def _plan_restart(self, child: Child, reason: str) -> None:
        """Set when a child starts again: soon at first, ever later while it keeps failing."""
        pause = min(PAUSE_SECONDS_FIRST * 2**child.failures, PAUSE_SECONDS_MAX)
        child.failures = min(child.failures + 1, 16)
        child.restarts += 1
        child.due_at, child.state = time.monotonic() + pause, WAITING
        self._tell(child.name, f"{reason}; starts again in {pause:g} s")
        self._changed()

    def _reap(self) -> None:
        """Notice the children that ended and plan their return."""
        for child in self.children:
            if child.process is None or (code := child.process.poll()) is None:
                continue
            self._turn(0)
            process.signal_group(child.process, signal.SIGKILL)
            self._close(child)
            if time.monotonic() - child.started_at > STEADY_SECONDS:
                child.failures = 0
            child.process, child.exit_code = None, code
            how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
            self._plan_restart(child, how)

    def _ask_readiness(self) -> None:
        """Ask the children that are not ready yet, a few times a second."""
        if time.monotonic() < self._probe_at:
            return
        self._probe_at = time.monotonic() + PROBE_SECONDS
        for child in self.children:
            if child.state == STARTING and child.is_ready is not None and child.is_ready():
                child.state = RUNNING
                self._tell(child.name, f"ready after {time.monotonic() - child.started_at:.1f} s")
                self._changed()

    def _turn(self, seconds_max: float) -> None:
        """Wait for output or a signal, and pass on what came."""
        for key, _ in self._selector.select(seconds_max):
            if key.data is None:
                with contextlib.suppress(BlockingIOError):
                    key.fileobj.recv(4096)  # type: ignore[union-attr]
            else:
                self._read(key.data)
        for child in self.children:
            self._follow(child)

    def _read(self, child: Child) -> None:
        with contextlib.suppress(BlockingIOError):
            data = os.read(child.output, READ_BYTES)
            if not data:
                self._close(child)
                return
            self._pass_on(child, data)

    def _pass_on(self, child: Child, data: bytes) -> None:
        """Show whole lines; keep the rest until its end comes, or until it is too long to wait for."""
        child.buffered += data
        *lines, rest = child.buffered.split(b"\n")
        if len(rest) > LINE_BYTES_MAX:
            lines.append(rest)
            rest = bytearray()
        child.buffered = bytearray(rest)
        for line in lines:
            self._show(child.name, line.decode(errors="replace").rstrip("\r"))

    def _follow(self, child: Child) -> None:
        """Pass on what was added to a child's own log."""
        if child.log is None or child.state == STOPPED:
            return
        with contextlib.suppress(OSError):
            size = child.log.stat().st_size
            if size > child.log_offset:
                with child.log.open("rb") as file:
                    file.seek(child.log_offset)
                    data = file.read(READ_BYTES)
                child.log_offset += len(data)
                self._pass_on(child, data)
            elif size < child.log_offset:
                child.log_offset = size

    def _close(self, child: Child) -> None:
        """Show what is left of a child's output and close our end of it."""
        if child.buffered:
            self._pass_on(child, b"\n")
        if child.output >= 0:
            self._selector.unregister(child.output)
            os.close(child.output)
            child.output = -1


def _size(log: Path | None) -> int:
    """Return where a log ends now; 0 while there is none."""
    return log.stat().st_size if log is not None and log.exists() else 0
