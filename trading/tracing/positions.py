"""What a story's orders reserved and held for contracts, and the steps that its trades made positions take."""

from collections.abc import Sequence

from exchange.kernel.errors import gettext_noop
from exchange.kernel.money import plain
from ledger.tracing.story import FACTS_MAX, Fact, Kind, Words
from marketdata import selectors as instruments
from trading.models import Order, OrderPart, PositionStep, Trade


def parts(orders: Sequence[Order]) -> list[Fact]:
    """Return the two parts of contract orders as they stand: `trading/order_parts.py`."""
    rows = OrderPart.objects.filter(order_id__in=[order.id for order in orders if order.intent is not None])
    return [_part_fact(row) for row in rows.order_by("order_id", "kind")[: FACTS_MAX + 1]]


def _part_fact(row: OrderPart) -> Fact:
    details = {
        "order": row.order_id,
        "part": row.kind,
        "quantity": plain(row.quantity),
        "left": plain(row.quantity_left),
        "held": plain(row.funds_left),
        "state": row.state,
        "version": row.version,
    }
    words = Words(
        gettext_noop("part %(part)s of order %(order)s: %(left)s of %(quantity)s left, holds %(held)s, %(state)s"),
        details,
    )
    return Fact(row.updated_at, words, details, (Kind.ORDER, str(row.order_id)))


def steps(orders: Sequence[Order], trades: Sequence[Trade]) -> list[Fact]:
    """Return what trades did to their traders' positions; of the story's orders alone where there are any."""
    made = [trade for trade in trades if instruments.instrument_by_id(trade.instrument_id).is_contract]
    if not made:
        return []
    wanted = PositionStep.objects.filter(
        user_id__in={user for trade in made for user in (trade.buyer_id, trade.seller_id)},
        instrument_id__in={trade.instrument_id for trade in made},
        trade_id__in=[trade.id for trade in made],
    )
    if orders:
        wanted = wanted.filter(order_id__in=[order.id for order in orders])
    return [_step_fact(row) for row in wanted.order_by("happened_at", "trade_id", "version")[: FACTS_MAX + 1]]


def _step_fact(row: PositionStep) -> Fact:
    details = {
        "user": row.user_id,
        "symbol": instruments.instrument_by_id(row.instrument_id).symbol,
        "step": row.version,
        "change": row.change,
        "quantity": plain(row.quantity),
        "cost": plain(row.open_cost),
        "margin": plain(row.margin),
        "result": plain(row.result),
        "fee": plain(row.fee),
        "leverage": row.leverage,
        "trade": row.trade_id,
        "order": row.order_id,
        "sequence": row.sequence,
    }
    words = Words(
        gettext_noop("%(change)s %(quantity)s %(symbol)s of user %(user)s: margin %(margin)s, result %(result)s"),
        details,
    )
    return Fact(row.happened_at, words, details, (Kind.TRADE, str(row.trade_id)))
