"""Decides a batch of suspect orders under their traders' gates, and collects what that changes: Note [Sweeping].

No SQL but in `write`, which sends everything in the order of locks: rows first, then the ledger's door, the streams'
heads, and the head of the domain events.
"""

from collections import defaultdict
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, NamedTuple

from exchange.kernel.clock import to_ns
from exchange.kernel.money import plain
from ledger.posting_rules import EventKind
from ledger.services import finance_log
from marketdata import selectors as instruments
from marketdata.units import InstrumentSpec
from matching_worker.protocol import CommandKind, Reason
from trading.models import Order, OrderStatus
from trading.order_parts import PartKind
from trading.reasons import NEVER_LOGGED, STOLEN
from trading.services import orders, sweep_books
from trading.services.command_log import CommandRow
from trading.services.desk import SIDES, Desk
from trading.services.sweep_books import SweepBook, SweepRow
from trading.sweeping import Cause, Judgement, Noted, Step, SweepState, judge

STATES: Final = {
    Step.NOTE: SweepState.NOTED,
    Step.ASK: SweepState.ASKED,
    Step.VOID: SweepState.VOIDED,
    Step.CLOSE: SweepState.CLOSED,
    Step.BREAK: SweepState.BROKEN,
}
"""The steps that are written down."""

ENDINGS: Final[dict[Cause, tuple[OrderStatus, str]]] = {
    Cause.REVIEW_EXPIRED: (OrderStatus.EXPIRED, Reason.EXPIRED.name),
    Cause.REVIEW_ROBBED: (OrderStatus.CANCELLED, STOLEN),
    Cause.NEVER_LOGGED: (OrderStatus.REJECTED, NEVER_LOGGED),
}
"""What orders become that end here; one that has ended before stays what it is."""

AUDITED: Final = frozenset({Step.ASK, Step.VOID, Step.BREAK})


class Swept(NamedTuple):
    """What was done with an order, or would be.

    Attributes:
        hold: What went back to available, or is in hold; `quantity` likewise of its reservation.
    """

    order_id: int
    user_id: int
    symbol: str
    cause: str
    step: Step
    hold: Decimal
    asset: str
    quantity: Decimal
    why: str


class SweepDesk(Desk):
    """Judges orders in turn; what one gives back, the next one sees."""

    def __init__(self, book: SweepBook, now: datetime) -> None:
        super().__init__(book.orders, now)
        self.sweeps = book
        self.done: list[Swept] = []
        self.rows: list[SweepRow] = []
        self.asked: dict[int, list[CommandRow]] = defaultdict(list)
        """Commands by shard; `places` where the CANCEL of each order stands among them."""
        self.places: dict[int, dict[int, int]] = defaultdict(dict)

    def decide(self, order: Order) -> None:
        """Judge an order, and do what is to be done."""
        noted, version = self.sweeps.noted.get(order.id, (None, 0))
        judged = judge(self.sweeps.suspect(order), noted, now=self.now)
        if judged.step == Step.LEAVE:
            return
        spec = instruments.instrument_by_id(order.instrument_id)
        what = self._what(order, spec, judged)
        is_known = judged.step == Step.BREAK and noted is not None and noted.why == judged.why
        self.done.append(what)
        if judged.step == Step.WAIT or is_known:
            return
        if judged.step == Step.ASK:
            self._ask(order, spec, judged)
        elif judged.step == Step.VOID:
            self._void(order, spec, judged, what)
        self.rows.append(self._row(order, spec, judged, what, noted, version))

    def _what(self, order: Order, spec: InstrumentSpec, judged: Judgement) -> Swept:
        """Say what is done with an order."""
        reduce = self.book.parts.get(order.id, {}).get(PartKind.REDUCE)
        return Swept(
            order_id=order.id,
            user_id=order.user_id,
            symbol=spec.symbol,
            cause=str(judged.cause),
            step=judged.step,
            hold=order.hold_remaining,
            asset=order.hold_asset,
            quantity=Decimal(0) if reduce is None else spec.lots_to_qty(reduce.left),
            why=judged.why,
        )

    def _row(
        self, order: Order, spec: InstrumentSpec, judged: Judgement, what: Swept, noted: Noted | None, version: int
    ) -> SweepRow:
        """Return what is written down of an order."""
        head, _ = self.sweeps.shards[spec.shard]
        is_voided = judged.step == Step.VOID
        return SweepRow(
            order_id=order.id,
            user_id=order.user_id,
            instrument_id=spec.id,
            symbol=spec.symbol,
            shard=spec.shard,
            cause=str(judged.cause),
            since=judged.since or self.now,
            state=str(STATES[judged.step]),
            log_head=head if noted is None or judged.step == Step.NOTE else noted.log_head,
            hold_asset=order.hold_asset,
            hold_voided=what.hold if is_voided else Decimal(0),
            quantity_voided=what.quantity if is_voided else Decimal(0),
            why=judged.why,
            trace=order.trace,
            before=version,
        )

    def _ask(self, order: Order, spec: InstrumentSpec, judged: Judgement) -> None:
        """Ask the engine to end an order; first tell it the time where the order's is over, so that it ends by that."""
        rows = self.asked[spec.shard]
        if judged.cause == Cause.EXPIRY_UNANSWERED:
            rows.append(self._command(CommandKind.TIME))
        self.places[spec.shard][order.id] = len(rows)
        rows.append(
            self._command(CommandKind.CANCEL, order_id=order.id, instrument_id=spec.id, side=int(SIDES[order.side]))
        )
        self._tell(order, spec, "HoldSweepRequested", cause=str(judged.cause))

    def _command(self, kind: CommandKind, *, order_id: int = 0, instrument_id: int = 0, side: int = 0) -> CommandRow:
        """Return a command that is nobody's, so that no trader's cancels are counted."""
        return CommandRow(kind, instrument_id, order_id, 0, to_ns(self.now), side, order_type=0, time_in_force=0)

    def _void(self, order: Order, spec: InstrumentSpec, judged: Judgement, what: Swept) -> None:
        """Give back what is left of an order, and end it if it has not ended."""
        ending = ENDINGS.get(judged.cause) if judged.cause is not None else None
        if ending is None:
            self._void_rest(order, spec)
        else:
            status, reason = ending
            self.release(order, spec, status=status, reason=reason)
        self.sweeps.held[order.user_id, order.hold_asset] = (
            self.sweeps.held.get((order.user_id, order.hold_asset), Decimal(0)) - what.hold
        )
        if what.quantity:
            self.sweeps.reserved[order.user_id, spec.id] -= what.quantity
        amounts = {"amount": plain(what.hold), "quantity": plain(what.quantity)}
        self._tell(order, spec, "HoldVoided", cause=str(judged.cause), **amounts)

    def _void_rest(self, order: Order, spec: InstrumentSpec) -> None:
        """Give back what an order has kept beyond its end."""
        if spec.is_contract:
            self.release_parts(order, spec)
        if order.hold_remaining:
            self._move_hold(EventKind.ORDER_UNFREEZE, order, order.hold_remaining, key=f"order:{order.id}:swept")
        order.hold_remaining = order.amend_hold = Decimal(0)
        self.decisions.released.append(order)
        self.tell_order(order, spec)
        self.tell_balance(order.user_id, order.hold_asset)

    def _tell(self, order: Order, spec: InstrumentSpec, event: str, **details: object) -> None:
        """Add a domain event about an order."""
        about: dict[str, object] = {
            "order_id": order.id,
            "user_id": order.user_id,
            "symbol": spec.symbol,
            "asset": order.hold_asset,
            "trace": order.trace,
        }
        self.decisions.outbox.append(("order", str(order.id), event, about | details))

    def write(self) -> None:
        """Send everything, in the order of locks; the caller commits at once. Statements: the same, however many."""
        if not self.rows:
            return
        sweep_books.save(self.rows, self.now)
        finance_log.record_all(
            "hold.sweep",
            [(f"order {item.order_id}", _detail(item)) for item in self.done if item.step in AUDITED],
            now=self.now,
            user_id=None,
        )
        orders.write(self.decisions, self.book, self.now, append=self._append)

    def _append(self) -> None:
        """Append the commands, each shard's with the sequences that they get written down."""
        for shard, rows in sorted(self.asked.items()):
            sweep_books.ask(shard, rows, self.places[shard], self.now)


def _detail(item: Swept) -> dict[str, Any]:
    """Return what a later reader of the finance log needs."""
    amounts = {"hold": plain(item.hold), "asset": item.asset, "quantity": plain(item.quantity)}
    return {"step": str(item.step), "cause": item.cause, "symbol": item.symbol, "why": item.why} | amounts
