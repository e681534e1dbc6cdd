"""The processes of a run: each is started fresh, with its own database role, and answers over a pipe."""

import contextlib
import importlib
import multiprocessing
import os
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

ANSWER_SECONDS_MAX = 300.0
END_SECONDS_MAX = 30.0


class ChildEndedError(Exception):
    """A process of the run ended, or said nothing in time."""


@dataclass(frozen=True, slots=True)
class Child:
    """A process and the way to it."""

    name: str
    pid: int
    pipe: Connection

    def ask(self, *words: Any, seconds_max: float = ANSWER_SECONDS_MAX) -> Any:
        """Send a request and return the answer.

        Raises:
            ChildEndedError: There is none.
        """
        self.pipe.send(words)
        return self.answer(seconds_max)

    def answer(self, seconds_max: float = ANSWER_SECONDS_MAX) -> Any:
        """Return the answer to what was sent.

        Raises:
            ChildEndedError: There is none.
        """
        try:
            if self.pipe.poll(seconds_max):
                return self.pipe.recv()
        except EOFError as error:
            raise ChildEndedError(f"{self.name} has ended") from error
        raise ChildEndedError(f"{self.name} did not answer within {seconds_max:.0f} s")


def _enter(module: str, role: str, pipe: Connection, lag: Any) -> None:
    """Set Django up in a new process, under its role, and do the module's work."""
    os.environ["EXCHANGE_DB_ROLE"] = role
    import django

    django.setup()
    importlib.import_module(module).run(pipe, lag)


@contextlib.contextmanager
def child(name: str, role: str, lag: Any) -> Iterator[Child]:
    """Run a module of this package as a process, asked to end when the body is left.

    Args:
        name: The module's, with a function `run(pipe, lag)`.
        role: The database role under which it works.
        lag: The shared number of commands that wait for settlement.
    """
    ours, theirs = multiprocessing.Pipe()
    module = f"{__package__}.{name}"
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=_enter, args=(module, role, theirs, lag), name=name, daemon=True)
    process.start()
    theirs.close()
    try:
        yield Child(name, process.pid or 0, ours)
    finally:
        with contextlib.suppress(OSError):
            ours.send(("end",))
        process.join(END_SECONDS_MAX)
        if process.is_alive():
            process.kill()
            process.join()
