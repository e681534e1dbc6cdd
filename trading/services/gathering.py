"""Gathers what many threads of a process submit at once into one transaction: the way in of every web request.

Note [One writer]
    Orders that arrive together would otherwise wait for each other inside their transactions: at the trader's gate,
    at the ledger's door, at the log's head. Here they wait outside. Whoever gets the turn takes everything that waits,
    its own request included, and writes it as one batch; the others find their results. No timer and no thread of its
    own: alone, a request goes straight through; under load, batches grow by themselves, up to what one transaction may
    take. What does not fit stays for the next turn, and what only takes orders off goes first: however many orders
    wait, a cancel waits for one transaction at most before its own. How much one may take is learnt: on a machine that
    has much else to do a batch as large as otherwise would last longer than a transaction may, and be lost.

    A request whose trader's gate somebody else keeps does not hold up the others: it is put off (Note [Put off] in
    `trading.services.orders`), is the first of the next batch, and after PUT_OFF_MAX times waits for the gate.
"""

import threading
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from django.db import InterfaceError, OperationalError, connection

from exchange import database
from exchange.kernel.errors import DomainError, require
from trading.models import Order
from trading.services import orders
from trading.services.requests import CancelOrder, Group, PlaceOrder, ReduceOrder, Submission

Result = Order | DomainError

SLOW_SECONDS: Final = 0.5
"""A transaction that takes longer makes the next ones smaller. Far below settings.TRANSACTION_TIMEOUT_MS."""
ORDERS_MIN: Final = 50
"""How small they may become."""
PUT_OFF_MAX: Final = 2
"""How often a ticket is put off before it waits for its traders' gates. By turns on busy processors, batches of up to
500 waited for gates in 35% of all samples with 0, 18% with 1, 10% with 2 and 10% with 4."""


class Ticket:
    """What one thread submitted, and what became of it."""

    def __init__(self, submissions: Sequence[Submission], now: datetime) -> None:
        self.submissions = submissions
        self.now = now
        self.goes_first = all(_takes_off(item) for item in submissions)
        self.times_put_off = 0
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
        orders_max: In one transaction, by what was learnt; a ticket alone is taken whatever its size.
    """

    def __init__(self) -> None:
        self.waiting: list[Ticket] = []
        self.orders_max = orders.BATCH_MAX
        self._list_lock = threading.Lock()
        self._turn = threading.Lock()

    def submit(self, submissions: Sequence[Submission], *, now: datetime) -> list[Result]:
        """Decide submissions as `orders.submit` does, in one transaction with whatever else waits.

        Args:
            submissions: At most `orders.BATCH_MAX`.
        """
        ticket = Ticket(submissions, now)
        self.add([ticket])
        if not self._turn.acquire(blocking=False):
            _lend_connection()
            self._turn.acquire()
        try:
            while not ticket.is_done:
                self.write_next()
        finally:
            self._turn.release()
        if ticket.error is not None:
            raise ticket.error
        return ticket.results or []

    def add(self, tickets: Sequence[Ticket]) -> None:
        """Let tickets wait for the next batch that has room."""
        with self._list_lock:
            self.waiting += tickets

    def write_next(self) -> list[Ticket]:
        """Write what waits, as much as fits, and return what is done; the rest of it is first in the next batch.

        The caller has the turn.
        """
        taken = self._taken()
        started = time.perf_counter()
        _write(taken)
        done = [ticket for ticket in taken if ticket.is_done]
        self.learn(sum(len(ticket.submissions) for ticket in taken), time.perf_counter() - started)
        if len(done) < len(taken):
            with self._list_lock:
                self.waiting[:0] = [ticket for ticket in taken if not ticket.is_done]
        return done

    def learn(self, count: int, seconds: float) -> None:
        """Take fewer orders at once after a transaction of so many that was slow, more after a quick one."""
        if seconds > SLOW_SECONDS:
            self.orders_max = max(ORDERS_MIN, min(self.orders_max, count) // 2)
        elif seconds < SLOW_SECONDS / 2:
            self.orders_max = min(orders.BATCH_MAX, max(self.orders_max, 2 * count))

    def _taken(self) -> list[Ticket]:
        """Take what waits, as much as fits into one transaction; the caller has the turn, and its own ticket waits."""
        with self._list_lock:
            self.waiting.sort(key=_place)
            size = count = 0
            for ticket in self.waiting:
                size += len(ticket.submissions)
                if count and size > min(self.orders_max, orders.BATCH_MAX):
                    break
                count += 1
            taken, self.waiting = self.waiting[:count], self.waiting[count:]
        require(taken, "a ticket was taken and has no outcome")
        return taken


def _place(ticket: Ticket) -> bool:
    """Return what sorts tickets, whose order otherwise stays."""
    return not ticket.goes_first


def _takes_off(item: Submission) -> bool:
    """Tell whether a request takes an order off, or only makes an order or a position smaller."""
    request = item.request
    if isinstance(request, PlaceOrder):
        return request.reduce_only or request.close_position
    return isinstance(request, CancelOrder | ReduceOrder)


def _lend_connection() -> None:
    """Give the thread's database connection back to the pool while it waits, unless it is inside a transaction."""
    if not connection.in_atomic_block:
        connection.close()


def _write(batch: Sequence[Ticket], *, waits: bool = False) -> None:
    """Write tickets in one transaction and hand each its results; those that are put off have none.

    A fault that undid the transaction is tried again ticket by ticket, so that it stays with the one that caused it: so
    is a trader's gate that somebody else keeps.
    After a lost connection nobody knows whether COMMIT arrived: every ticket is told so, and a client's retry by
    `client_order_id` finds out.

    Args:
        waits: For all gates.
    """
    groups = [Group(ticket.submissions, waits or ticket.times_put_off >= PUT_OFF_MAX) for ticket in batch]
    try:
        results = orders.submit_groups(groups, now=max(ticket.now for ticket in batch))
    except Exception as error:  # noqa: BLE001 -- raised again in the thread whose ticket it is
        is_unknown = isinstance(error, OperationalError | InterfaceError) and not database.is_undone(error)
        if len(batch) > 1 and not is_unknown:
            for ticket in batch:
                _write([ticket], waits=True)
            return
        for ticket in batch:
            ticket.error = error
    else:
        for ticket, given in zip(batch, results, strict=True):
            ticket.results = given
            ticket.times_put_off += given is None


GATHERER = Gatherer()


def submit(submissions: Sequence[Submission], *, now: datetime) -> list[Result]:
    """Decide submissions through this process' one writer."""
    return GATHERER.submit(submissions, now=now) if submissions else []
