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

    While settlement is behind, the one with the turn first waits for its step (Note [Lockstep] in
    `trading.services.turnstile`). Who was put off often is then written apart, in a small batch that waits for its
    gates while the settlement ends that keeps them: so large a batch that waited there would make the next one wait.
    Then a cancel waits for one settlement besides.
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
from trading.services.turnstile import Pace

Result = Order | DomainError

SLOW_SECONDS: Final = 0.5
"""A transaction that takes longer makes the next ones smaller. Far below settings.TRANSACTION_TIMEOUT_MS."""
ORDERS_MIN: Final = 50
"""How small they may become."""
PUT_OFF_MAX: Final = 2
"""How often a ticket is put off before it waits for its traders' gates. By turns on busy processors, batches of up to
500 waited for gates in 35% of all samples with 0, 18% with 1, 10% with 2 and 10% with 4."""
LATE_MAX: Final = 6
"""The same in step with settlement, which never has the gate of such a trader free; PUT_OFF_MAX when to wait for it is
no more than the wait for the next step."""
IN_STEP_MAX: Final = 500
"""Orders in a batch in step: about as many as are settled beside it, so that it ends first."""


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
        self._pace = Pace()

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
        is_kept = self._pace.is_kept
        is_for_late = is_kept and self._keep_step()
        if is_for_late:
            taken, patience = self._taken(put_off_min=PUT_OFF_MAX), 0
        elif is_kept:
            taken, patience = self._taken(orders_max=IN_STEP_MAX), LATE_MAX
        else:
            taken, patience = self._taken(), PUT_OFF_MAX
        started = time.perf_counter()
        _write(taken, self._pace, patience=patience)
        done = [ticket for ticket in taken if ticket.is_done]
        if not is_for_late:  # those waited for others: what they took says nothing of their number
            self._pace.wrote(len(taken), len(taken) - len(done))
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

    def _keep_step(self) -> bool:
        """Wait until the next settlement has its gates, or tell that those who were put off often have their turn."""
        is_beside = self._pace.is_beside()
        most = max(ticket.times_put_off for ticket in tuple(self.waiting))
        if most >= (PUT_OFF_MAX if is_beside else LATE_MAX):
            return True
        self._pace.wait(beside=is_beside)
        return False

    def _taken(self, *, put_off_min: int = 0, orders_max: int | None = None) -> list[Ticket]:
        """Take what waits, as much as fits into one transaction; the caller has the turn, and its own ticket waits.

        Args:
            put_off_min: Only tickets that were put off so often. Nobody is overtaken: of one trader's, none that came
                earlier was put off less often.
            orders_max: A limit besides what a transaction may take.
        """
        orders_max = min(self.orders_max, orders.BATCH_MAX, orders_max or orders.BATCH_MAX)
        with self._list_lock:
            self.waiting.sort(key=_place)
            size = 0
            taken: list[Ticket] = []
            for ticket in self.waiting:
                if ticket.times_put_off < put_off_min:
                    continue
                size += len(ticket.submissions)
                if taken and size > orders_max:
                    break
                taken.append(ticket)
            chosen = set(map(id, taken))
            self.waiting = [ticket for ticket in self.waiting if id(ticket) not in chosen]
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


def _write(batch: Sequence[Ticket], pace: Pace, *, patience: int) -> None:
    """Write tickets in one transaction and hand each its results; those that are put off have none.

    A fault that undid the transaction is tried again ticket by ticket, so that it stays with the one that caused it: so
    is a trader's gate that somebody else keeps.
    After a lost connection nobody knows whether COMMIT arrived: every ticket is told so, and a client's retry by
    `client_order_id` finds out.

    Args:
        pace: Is told what waits for settlement.
        patience: How often a ticket is put off before it waits for its traders' gates.
    """
    groups = [Group(ticket.submissions, ticket.times_put_off >= patience) for ticket in batch]
    try:
        results = orders.submit_groups(groups, now=max(ticket.now for ticket in batch), told=pace.learn)
    except Exception as error:  # noqa: BLE001 -- raised again in the thread whose ticket it is
        is_unknown = isinstance(error, OperationalError | InterfaceError) and not database.is_undone(error)
        if len(batch) > 1 and not is_unknown:
            for ticket in batch:
                _write([ticket], pace, patience=0)
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
