"""Finds holds and reservations that were left behind, and puts them right: Note [Sweeping] in `trading/sweeping.py`.

Runs in the back office's role, by Celery and by `manage.py sweep_holds`, any number of times and at the same time.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import structlog
from django.db import OperationalError

from exchange import database
from exchange.kernel.money import plain
from trading.services import orders, sweep_books
from trading.services.sweep_books import Found
from trading.services.sweep_desk import SweepDesk, Swept
from trading.sweeping import Step

logger = structlog.get_logger(__name__)

BATCH_MAX: Final = 200
"""Orders in one transaction: their traders wait for it."""
REFUSAL_LENGTH_MAX: Final = 400


def sweep(*, now: datetime, whole: bool = False, dry_run: bool = False) -> list[Swept]:
    """Look at every order that may have left something behind; return what was done, by order id.

    A batch of up to BATCH_MAX orders is one transaction and a constant number of statements. One that waits too long
    for a gate is left to the next run; one that the database refuses is halved until the refused order is alone,
    which is then written down as BROKEN, and the others stand.

    Args:
        whole: Look for orders that never came into the log as well: each that stands as it came is looked for there.
        dry_run: Only say what would be done. No lock is taken.
    """
    found = sweep_books.find(now=now)
    if whole:
        found = sorted({*found, *sweep_books.find_unlogged(now=now, batch=BATCH_MAX)})
    done: list[Swept] = []
    for start in range(0, len(found), BATCH_MAX):
        part = found[start : start + BATCH_MAX]
        done += _judged(part, now).done if dry_run else _sweep(part, now)
    return done


def _judged(part: Sequence[Found], now: datetime, *, locks: bool = False, refusal: str = "") -> SweepDesk:
    """Read and judge a batch; nothing is written yet.

    Args:
        refusal: Why the database refused what was judged before: the orders are broken.
    """
    owners = sorted({item.owner_id for item in part})
    book = orders.load_orders(owners, [item.order_id for item in part], locks=locks)
    desk = SweepDesk(sweep_books.load(book, owners, refusal=refusal), now)
    for _, order in sorted(book.orders.items()):
        desk.decide(order)
    return desk


def _sweep(part: Sequence[Found], now: datetime, *, refusal: str = "") -> list[Swept]:
    """Sweep a batch in a transaction of its own; halve it where the database refuses something."""
    try:
        with database.pipelined_transaction():
            desk = _judged(part, now, locks=True, refusal=refusal)
            desk.write()
    except OperationalError as error:
        if not database.is_undone(error):
            raise
        logger.info("holds_swept_later", orders=len(part), error=str(error).strip())
        return []
    except Exception as error:
        if not database.is_refusal(error) or refusal:
            raise
        if len(part) == 1:
            return _sweep(part, now, refusal=f"{type(error).__name__}: {error}"[:REFUSAL_LENGTH_MAX])
        middle = len(part) // 2
        return _sweep(part[:middle], now) + _sweep(part[middle:], now)
    _log(desk)
    return desk.done


def _log(desk: SweepDesk) -> None:
    """Tell operators, once it is committed."""
    written = {row.order_id for row in desk.rows}
    for item in desk.done:
        if item.order_id in written:
            log = logger.error if item.step == Step.BREAK else logger.info
            log(
                "hold_swept",
                order_id=item.order_id,
                step=str(item.step),
                cause=item.cause,
                hold=plain(item.hold),
                quantity=plain(item.quantity),
                why=item.why,
            )
