"""What a person decides about orders above the review limit: they hold their funds and wait outside the log."""

from collections.abc import Callable, Sequence
from datetime import datetime

from exchange import database
from marketdata import selectors as instruments
from matching_worker.protocol import Reason
from risk.services import checks
from trading.models import Order, OrderStatus, PrivateChannel
from trading.reasons import STOLEN
from trading.services import orders
from trading.services.admission import Admission
from trading.services.desk import AdmissionBook
from trading.wire import order_fields

_APPROVED = "UPDATE orders SET status = %s, reason = '', updated_at = %s WHERE id = ANY(%s) AND created_at = ANY(%s)"


def approve(order_ids: Sequence[int], *, now: datetime) -> list[Order]:
    """Let waiting orders onto the book; return the approved ones.

    Those that no longer wait are left alone, and those of an instrument that accepts no orders now go on waiting. One
    whose reservation was stolen while it waited, and that available does not cover, ends instead: the CANCEL that
    settlement asked for found no order in the engine.
    """

    def decide(admission: Admission, order: Order) -> None:
        spec = instruments.instrument_by_id(order.instrument_id)
        order.status, order.updated_at = OrderStatus.NEW, now
        admission.queue_place(order, spec)
        admission.decisions.private.append((order.user_id, PrivateChannel.ORDERS, order_fields(order, spec)))

    def take_off(admission: Admission, order: Order) -> None:
        spec = instruments.instrument_by_id(order.instrument_id)
        admission.release(order, spec, status=OrderStatus.CANCELLED, reason=STOLEN)

    return _decide(order_ids, decide, now=now, take_off=take_off)


def refuse(order_ids: Sequence[int], *, now: datetime) -> list[Order]:
    """Reject waiting orders and give their holds back; those that no longer wait are left alone."""

    def decide(admission: Admission, order: Order) -> None:
        spec = instruments.instrument_by_id(order.instrument_id)
        admission.release(order, spec, status=OrderStatus.REJECTED, reason="REFUSED_IN_REVIEW")

    return _decide(order_ids, decide, now=now)


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
    return sum(len(_decide(part, decide, now=now)) for part in parts)


Decision = Callable[[Admission, Order], None]


def _decide(
    order_ids: Sequence[int], decide: Decision, *, now: datetime, take_off: Decision | None = None
) -> list[Order]:
    """Apply a decision to those of the orders that wait, under their traders' gates, in one transaction.

    Args:
        take_off: What becomes of those that nothing covers, where the decision is to let the others onto the book.
    """
    owners = Order.objects.filter(id__in=order_ids).values_list("user_id", flat=True)
    with database.pipelined_transaction():
        book = orders.load_orders(sorted(set(owners)), order_ids)
        admission = Admission(book, now)
        waiting = [order for order in book.orders.values() if order.status == OrderStatus.PENDING_REVIEW]
        if take_off is not None:
            waiting = [
                order for order in waiting if checks.is_trading(instruments.instrument_by_id(order.instrument_id))
            ]
            for order in (order for order in waiting if _is_robbed(book, order)):
                take_off(admission, order)
            waiting = [order for order in waiting if order.status == OrderStatus.PENDING_REVIEW]
        for order in waiting:
            decide(admission, order)
        if take_off is not None and waiting:
            keys = [(order.id, order.created_at) for order in waiting]
            database.execute(_APPROVED, OrderStatus.NEW.value, now, *database.columns(keys, 2))
        orders.write(admission.decisions, book, now)
    return waiting


def _is_robbed(book: AdmissionBook, order: Order) -> bool:
    """Tell whether settlement has asked for lots of an order to be taken off, which then waited outside the log."""
    return any(part.going for part in book.parts.get(order.id, {}).values())
