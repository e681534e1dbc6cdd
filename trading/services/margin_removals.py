"""Takes margin out of positions for traders who asked, in the back office's role: Note [Margin waits for the logs].

Each request has a transaction of its own, so that a faulty one holds up no other. A request's end and its entry commit
together, and a request that has ended is not looked at again, so that a run that died is simply repeated.
"""

import time
from collections.abc import Sequence
from datetime import datetime
from typing import Final

import structlog
from django.db import IntegrityError, OperationalError, transaction

from exchange.kernel.errors import DomainError
from exchange.kernel.money import to_quanta
from marketdata import selectors as instruments
from trading.margin_models import MarginRequest, MarginState
from trading.position_state import Change
from trading.services import log_heads, position_desk

logger = structlog.get_logger(__name__)

BATCH_MAX: Final = 500
WAIT_SECONDS: Final = 1.0
"""How long a run waits for settlement, which mostly follows within milliseconds; later runs look again."""
POLL_SECONDS: Final = 0.02


def carry_out(now: datetime) -> int:
    """Carry out what may be carried out, oldest first; return how many requests ended."""
    waiting = list(MarginRequest.objects.filter(state=MarginState.WAITING).order_by("id")[:BATCH_MAX])
    if not waiting:
        return 0
    ready = _settled(waiting)
    done = 0
    for request in ready:
        try:
            with transaction.atomic():
                done += _carry_out(request, now)
        except (DomainError, IntegrityError, OperationalError) as error:
            logger.exception("margin_request_stuck", request_id=request.id, error=str(error))
    return done


def waiting() -> int:
    """Count the requests that have not ended."""
    return MarginRequest.objects.filter(state=MarginState.WAITING).count()


def _settled(waiting: Sequence[MarginRequest]) -> list[MarginRequest]:
    """Return the requests whose log heads settlement has passed, after waiting a little for all of them."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        ready = [request for request in waiting if log_heads.have_settled(request.log_heads)]
        if len(ready) == len(waiting) or time.monotonic() >= deadline:
            return ready
        time.sleep(POLL_SECONDS)


def _carry_out(request: MarginRequest, now: datetime) -> bool:
    """Take the margin out if the position may give it now, or say why not; tell whether this call did either."""
    spec = instruments.instrument_by_id(request.instrument_id)
    desk = position_desk.open_desk(request.user_id, spec, now=now, trace=request.trace)
    if not MarginRequest.objects.filter(id=request.id, state=MarginState.WAITING).exists():
        return False
    state, reason = MarginState.DONE, ""
    amount = to_quanta(request.amount, spec.quote_decimals)
    try:
        desk.limits.require_active()
        desk.require_open()
        desk.require_removable(amount)
        desk.move(Change.MARGIN_REMOVE, amount)
    except DomainError as refusal:
        state, reason = MarginState.REFUSED, refusal.name
        desk.tell("PositionMarginRefused", request_id=request.id, amount=desk.money(amount), reason=reason)
    MarginRequest.objects.filter(id=request.id).update(state=state, reason=reason, ended_at=now)
    desk.write()
    return True
