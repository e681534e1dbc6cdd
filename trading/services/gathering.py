"""Gathers what many threads of a process submit at once into one transaction: the way in of every web request.

Note [One writer]
    Orders that arrive together would otherwise wait for each other inside their transactions: at the trader's gate,
    at the ledger's door, at the log's head. Here they wait outside. Whoever gets the turn takes everything that waits,
    its own request included, and writes it as one batch; the others find their results. No timer and no thread of its
    own: alone, a request goes straight through; under load, batches grow by themselves.
"""

import threading
from collections.abc import Sequence
from datetime import datetime

from django.db import InterfaceError, OperationalError, connection

from exchange import database
from exchange.kernel.errors import DomainError
from trading.models import Order
from trading.services import orders
from trading.services.requests import Submission

Result = Order | DomainError


class Ticket:
    """What one thread submitted, and what became of it."""

    def __init__(self, submissions: Sequence[Submission], now: datetime) -> None:
        self.submissions = submissions
        self.now = now
        self.results: list[Result] | None = None
        self.error: Exception | None = None

    @property
    def is_done(self) -> bool:
        """Whether somebody has written it."""
        return self.results is not None or self.error is not None


class Gatherer:
    """The one writer of a process.

    Attributes:
        waiting: Tickets that no batch has taken yet, oldest first.
    """

    def __init__(self) -> None:
        self.waiting: list[Ticket] = []
        self._list_lock = threading.Lock()
        self._turn = threading.Lock()

    def submit(self, submissions: Sequence[Submission], *, now: datetime) -> list[Result]:
        """Decide submissions as `orders.submit` does, in one transaction with whatever else waits.

        Args:
            submissions: At most `orders.BATCH_MAX`.
        """
        ticket = Ticket(submissions, now)
        with self._list_lock:
            self.waiting.append(ticket)
        if not self._turn.acquire(blocking=False):
            _lend_connection()
            self._turn.acquire()
        try:
            if not ticket.is_done:
                self._write_round()
        finally:
            self._turn.release()
        if ticket.error is not None:
            raise ticket.error
        return ticket.results or []

    def _write_round(self) -> None:
        """Write all that waits; the caller has the turn, and its own ticket is among them."""
        with self._list_lock:
            taken, self.waiting = self.waiting, []
        batch: list[Ticket] = []
        size = 0
        for ticket in taken:
            if batch and size + len(ticket.submissions) > orders.BATCH_MAX:
                _write(batch)
                batch, size = [], 0
            batch.append(ticket)
            size += len(ticket.submissions)
        _write(batch)


def _lend_connection() -> None:
    """Give the thread's database connection back to the pool while it waits, unless it is inside a transaction."""
    if not connection.in_atomic_block:
        connection.close()


def _write(batch: Sequence[Ticket]) -> None:
    """Write tickets in one transaction and hand each its results.

    A fault that undid the transaction is tried again ticket by ticket, so that it stays with the one that caused it: so
    is a trader's gate that somebody else keeps.
    After a lost connection nobody knows whether COMMIT arrived: every ticket is told so, and a client's retry by
    `client_order_id` finds out.
    """
    try:
        results = orders.submit(
            [item for ticket in batch for item in ticket.submissions], now=max(ticket.now for ticket in batch)
        )
    except Exception as error:  # noqa: BLE001 -- raised again in the thread whose ticket it is
        is_unknown = isinstance(error, OperationalError | InterfaceError) and not database.is_undone(error)
        if len(batch) > 1 and not is_unknown:
            for ticket in batch:
                _write([ticket])
            return
        for ticket in batch:
            ticket.error = error
    else:
        given = iter(results)
        for ticket in batch:
            ticket.results = [next(given) for _ in ticket.submissions]


GATHERER = Gatherer()


def submit(submissions: Sequence[Submission], *, now: datetime) -> list[Result]:
    """Decide submissions through this process' one writer."""
    return GATHERER.submit(submissions, now=now) if submissions else []
