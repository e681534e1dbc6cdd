"""The matching worker of a run: the real one, whose stages also note when they were done with which commands."""

import signal
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import numpy as np
from django.conf import settings
from django.db import connection

from exchange.kernel.clock import now_ns
from matching_worker import monotonic
from matching_worker.outlet import Matched
from matching_worker.process import WorkerProcess
from matching_worker.protocol import Rows
from trading.services import command_log, settlement


class Done(NamedTuple):
    """A stage was done with commands `first` to `last` at a moment."""

    first: int
    last: int
    at_ns: int


class MeasuredWorker(WorkerProcess):
    """Notes times by sequence; what it does is its parent's."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.durable: list[Done] = []
        self.matched: list[Done] = []
        self.settled: list[Done] = []
        self.sent: list[tuple[int, np.ndarray]] = []
        self.backends: dict[str, int] = {}
        self.statements = 0
        self.fills = 0
        settlement.settle = self._noted(settlement.settle)
        command_log.read = self._of_log(command_log.read)

    def _write_ahead(self, commands: Rows, chain_hash: bytes) -> None:
        super()._write_ahead(commands, chain_hash)
        self.durable.append(_done(commands))

    def _publish(self, matched: list[Matched]) -> None:
        since_epoch_ns = now_ns() - monotonic.now_ns()
        for piece in matched:
            first = int(piece.commands["sequence"][0])
            self.sent.append((first, piece.commands["timestamp_ns"].copy()))
            for last, ended_ns in piece.calls[["last", "ended_ns"]].tolist():
                self.matched.append(Done(first, last, ended_ns + since_epoch_ns))
                first = last + 1
        super()._publish(matched)

    def _noted(self, settle: Callable[..., float]) -> Callable[..., float]:
        """Note each settlement's end, its statements and its connection."""

        def noted(shard: int, epoch: int, commands: Rows, events: Rows, **words: Any) -> float:
            if "settle" not in self.backends:
                self.backends["settle"] = _backend()
                connection.execute_wrappers.append(self._count)
            door_seconds = settle(shard, epoch, commands, events, **words)
            self.settled.append(_done(commands))
            self.fills += int(np.count_nonzero(events["maker_order_id"]))
            return door_seconds

        return noted

    def _of_log(self, read: Callable[..., Any]) -> Callable[..., Any]:
        """Note the connection that reads the log."""

        def noted(*words: Any) -> Any:
            if "receive" not in self.backends:
                self.backends["receive"] = _backend()
            return read(*words)

        return noted

    def _count(self, execute: Callable[..., Any], *args: Any) -> Any:
        """Count a statement of settlement."""
        self.statements += 1
        return execute(*args)

    def report(self) -> dict[str, Any]:
        """Return all that was noted."""
        return {
            "durable": list(self.durable),
            "matched": list(self.matched),
            "settled": list(self.settled),
            "sent": list(self.sent),
            "statements": self.statements,
            "settlements": len(self.settled),
            "fills": self.fills,
        }

    def who(self) -> dict[str, dict[str, int]]:
        """Return the threads of the stages, and the database's processes that serve them."""
        threads = {thread.name: thread.native_id or 0 for thread in threading.enumerate()}
        return {"threads": threads, "backends": dict(self.backends)}


def _done(commands: Rows) -> Done:
    """Return that these commands are done now."""
    return Done(int(commands["sequence"][0]), int(commands["sequence"][-1]), now_ns())


def _backend() -> int:
    """Return the database's process behind this thread's connection."""
    connection.ensure_connection()
    return int(connection.connection.info.backend_pid)


def _answer(pipe: Connection, worker: MeasuredWorker) -> None:
    """Answer what is asked, until the end."""
    while True:
        try:
            what, *_ = pipe.recv()
        except EOFError:
            what = "end"
        if what == "end":
            worker.stop()
            return
        pipe.send(worker.who() if what == "who" else worker.report())


def run(pipe: Connection, _lag: Any) -> None:
    """Match and settle until the end."""
    worker = MeasuredWorker(0, wal_dir=settings.WAL_DIR / "shard-0", redis_url=settings.REDIS_URL, http_port=0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_answer, args=(pipe, worker), name="pipe", daemon=True).start()
    worker.run()
