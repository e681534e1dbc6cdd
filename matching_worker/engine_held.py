"""The engine belongs to the match stage; another thread may have it between two calls."""

import threading
from types import TracebackType

import numpy as np

from matching_worker.ring import write_word


class EngineHeld:
    """A lock: while it is held, nobody else applies commands. It is handed over in the order in which it was asked for.

    Note [Asking the loop]
        The compiled loop of the match stage (`match_loop.py`) holds the lock as long as commands come, perhaps for
        hours. Who wants the engine therefore says so in a word that the loop reads between two calls. The loop then
        gives the lock back and asks for it again, behind the other at the turnstile: without that it would have it
        again before the other had woken up.

    Attributes:
        asked_address: Where the word stands, an int64: not 0 while somebody asks.
    """

    def __init__(self) -> None:
        """Make a lock that nobody holds."""
        self._lock = threading.Lock()
        self._turnstile = threading.Lock()
        self._word = np.zeros(1, np.int64)
        self.asked_address = int(self._word.ctypes.data)

    def __enter__(self) -> None:
        """Have the engine, as soon as the call that is running has ended."""
        with self._turnstile:
            write_word(self.asked_address, 1)
            self._lock.acquire()
            write_word(self.asked_address, 0)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Give it back."""
        self._lock.release()
