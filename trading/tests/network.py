"""A network between a process and PostgreSQL that tests can slow down, cut and silence."""

import contextlib
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from django.db import connection

READ_BYTES = 64 * 1024
TURN_SECONDS = 0.01
PATIENT_SECONDS = 60.0


@dataclass(eq=False)
class _Way:
    """One direction of one connection: what was read and is not delivered yet, each piece with its moment."""

    source: socket.socket
    target: socket.socket
    pieces: deque[tuple[float, bytes]] = field(default_factory=deque)


class Network:
    """Carries connections from a port of this machine to the test's PostgreSQL, on a thread of its own.

    Attributes:
        delay_seconds: How long each piece is on its way, in each direction.
        is_silent: Whether nothing is delivered while no connection ends: a cable that was pulled out.
    """

    def __init__(self) -> None:
        found = connection.settings_dict
        self._socket_path = str(Path(found["HOST"]) / f".s.PGSQL.{found['PORT'] or 5432}")
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.delay_seconds, self.is_silent = 0.0, False
        self._is_cut = self._is_closing = False
        self._has_ended = threading.Event()
        self._ways: list[_Way] = []
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listening, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, name="network", daemon=True)
        self._thread.start()

    def cut(self) -> None:
        """End every connection, and refuse new ones until it is mended; return when that is so."""
        self._has_ended.clear()
        self._is_cut = True
        assert self._has_ended.wait(PATIENT_SECONDS)

    def mend(self) -> None:
        """Carry everything again, without delay."""
        self._is_cut, self.is_silent, self.delay_seconds = False, False, 0.0

    def close(self) -> None:
        """End everything."""
        self._is_closing = True
        self._thread.join()

    def _run(self) -> None:
        while not self._is_closing:
            for key, _ in self._selector.select(TURN_SECONDS):
                if key.fileobj is self._listening:
                    self._accept()
                elif key.data in self._ways:
                    self._read(key.data)
            if self._is_cut:
                self._end(list(self._ways))
                self._has_ended.set()
            self._deliver(time.monotonic())
        self._end(list(self._ways))
        self._listening.close()

    def _accept(self) -> None:
        near, _ = self._listening.accept()
        if self._is_cut:
            near.close()
            return
        far = socket.socket(socket.AF_UNIX)
        far.connect(self._socket_path)
        for one, other in ((near, far), (far, near)):
            way = _Way(one, other)
            self._ways.append(way)
            self._selector.register(one, selectors.EVENT_READ, way)

    def _read(self, way: _Way) -> None:
        data = b""
        with contextlib.suppress(OSError):
            data = way.source.recv(READ_BYTES)
        if not data:
            self._end([way])
            return
        way.pieces.append((time.monotonic() + self.delay_seconds, data))

    def _deliver(self, now: float) -> None:
        if self.is_silent:
            return
        for way in list(self._ways):
            try:
                while way.pieces and way.pieces[0][0] <= now:
                    way.target.sendall(way.pieces.popleft()[1])
            except OSError:
                self._end([way])

    def _end(self, ways: list[_Way]) -> None:
        """End connections, both directions of each."""
        gone = {one for way in ways for one in (way.source, way.target)}
        self._ways = [way for way in self._ways if way.source not in gone]
        for one in gone:
            with contextlib.suppress(KeyError):
                self._selector.unregister(one)
            one.close()


@contextlib.contextmanager
def between() -> Iterator[Network]:
    """Carry connections while the body runs."""
    network = Network()
    try:
        yield network
    finally:
        network.close()
