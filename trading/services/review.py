"""What a person decides about orders above the review limit: they hold their funds and wait outside the log."""

from collections.abc import Callable, Sequence
from datetime import datetime

from exchange import database
from marketdata import selectors as instruments
from matching_worker.protocol import Reason
from risk.services import checks
from trading.models import Order, OrderStatus, PrivateChannel
from trading.services import orders
from trading.services.admission import Admission
from trading.wire import order_fields

_APPROVED = "UPDATE orders SET status = %s, reason = '', updated_at = %s WHERE id = ANY(%s) AND created_at = ANY(%s)"


def approve(order_ids: Sequence[int], *, now: datetime) -> list[Order]:
    """Let waiting orders onto the book; return the approved ones.

    Those that no longer wait are left alone, and those of an instrument that accepts no orders now go on waiting.
    """

    def decide(admission: Admission, order: Order) -> None:
        spec = instruments.instrument_by_id(order.instrument_id)
        order.status, order.updated_at = OrderStatus.NEW, now
        admission.queue_place(order, spec)
        admission.decisions.private.append((order.user_id, PrivateChannel.ORDERS, order_fields(order, spec)))

    return _decide(order_ids, decide, now=now, approving=True)


def refuse(order_ids: Sequence[int], *, now: datetime) -> list[Order]:
    """Reject waiting orders and give their holds back; those that no longer wait are left alone."""

    def decide(admission: Admission, order: Order) -> None:
        spec = instruments.instrument_by_id(order.instrument_id)
        admission.release(order, spec, status=OrderStatus.REJECTED, reason="REFUSED_IN_REVIEW")

    return _decide(order_ids, decide, now=now, approving=False)


def withdraw(order_ids: Sequence[int], *, reason: str, now: datetime) -> int:
    """Cancel waiting orders and give their holds back; return how many still waited.

    Args:
        reason: USER if their owners want it, which counts as their cancels; OPERATOR if not.
    """

    def decide(admission: Admission, order: Order) -> None:
        spec = instruments.instrument_by_id(order.instrument_id)
        order.cancel_requested_at = now
        if reason == Reason.USER.name:
            admission.book.limits[order.user_id].count_cancels(1, now.date())
        admission.release(order, spec, status=OrderStatus.CANCELLED, reason=reason)

    parts = [order_ids[start : start + orders.BATCH_MAX] for start in range(0, len(order_ids), orders.BATCH_MAX)]
    return sum(len(_decide(part, decide, now=now, approving=False)) for part in parts)


def _decide(
    order_ids: Sequence[int], decide: Callable[[Admission, Order], None], *, now: datetime, approving: bool
) -> list[Order]:
    """Apply a decision to those of the orders that wait, under their traders' gates, in one transaction."""
    owners = Order.objects.filter(id__in=order_ids).values_list("user_id", flat=True)
    with database.pipelined_transaction():
        book = orders.load_orders(sorted(set(owners)), order_ids)
        admission = Admission(book, now)
        waiting = [order for order in book.orders.values() if order.status == OrderStatus.PENDING_REVIEW]
        if approving:
            waiting = [
                order for order in waiting if checks.is_trading(instruments.instrument_by_id(order.instrument_id))
            ]
        for order in waiting:
            decide(admission, order)
        if approving and waiting:
            keys = [(order.id, order.created_at) for order in waiting]
            database.execute(_APPROVED, OrderStatus.NEW.value, now, *database.columns(keys, 2))
        orders.write(admission.decisions, book, now)
    return waiting
