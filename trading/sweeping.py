"""Decides what becomes of a hold or a reservation that may have been left behind. Pure: rows in, a step out.

Note [Sweeping]
    Funds in hold and reserved quantity belong to an order, and go when the order's end is settled (T2), or when an
    order ends that never reached the log (T1). Whoever gives them back at another moment may give back what a fill
    still needs. The sweeper therefore never acts ahead of the settlement cursor:

    * What never went into the log is ended here: an order in review whose time is over (nobody else looks at the clock
      for it), or whose reservation was stolen while it waited (the CANCEL that settlement asked for finds no order in
      the engine). So is what is left of an order whose final event is at or before the cursor.
    * Everything else goes the ordinary road. An order that should have ended, or been answered, is NOTED first, with
      the head of its shard's log. Who asked for what it waits for did so before, so that the answer is settled when the
      cursor has passed that head; until then nothing is done. If the order is suspect still, a CANCEL is appended
      (ASKED), and what is in hold goes when that is settled. For an order whose time is over a TIME comes before it.
    * An order that is open still when its CANCEL is settled is one that the engine does not know. If the log has no
      PLACE of it either, it never got there: its CANCEL's refusal was its final event, and it is ended here. If the log
      has one, books and engine disagree, and nothing is paid out: the row is BROKEN, which is a break of
      reconciliation, and people look at it. Likewise where wallet, parts and position do not agree on what is left.

    Every step is taken under the trader's gate, over rows read under it, and by compare-and-set on the row's version:
    two sweepers, or one that died anywhere and began again, take it once. An order with an entry in suspense is left
    to those who repost it.

        suspect ──▶ NOTED ──cursor passes head──▶ ASKED ──its CANCEL is settled, order open──▶ BROKEN
           │          │                             │                                           │
           │          └── answered meanwhile ──▶ CLOSED ◀── ended ────────────────── ended ─────┘
           └── never in the log, or its end is settled ──▶ VOIDED
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, NamedTuple

from trading.order_parts import Part, PartKind, PartState

AGE: Final = timedelta(seconds=60)
"""How long an answer may take before an order is suspect: far longer than any that was ever measured."""

NOT_RESTING: Final = frozenset({"ioc", "fok"})
REVIEW: Final = "pending_review"
UNTRIGGERED: Final = "untriggered"
OPEN: Final = frozenset({"new", "partial_filled", UNTRIGGERED})


class Cause(StrEnum):
    """Why an order is suspect."""

    REVIEW_EXPIRED = "REVIEW_EXPIRED"
    REVIEW_ROBBED = "REVIEW_ROBBED"
    ENDED = "ENDED"
    NEVER_LOGGED = "NEVER_LOGGED"
    CANCEL_UNANSWERED = "CANCEL_UNANSWERED"
    AMEND_UNANSWERED = "AMEND_UNANSWERED"
    EXPIRY_UNANSWERED = "EXPIRY_UNANSWERED"
    NEVER_RESTS = "NEVER_RESTS"
    LOTS_NOT_TAKEN = "LOTS_NOT_TAKEN"


class SweepState(StrEnum):
    """Where the sweep of an order stands: Note [Sweeping]."""

    NOTED = "NOTED"
    ASKED = "ASKED"
    VOIDED = "VOIDED"
    CLOSED = "CLOSED"
    BROKEN = "BROKEN"


UNFINISHED: Final = frozenset({SweepState.NOTED, SweepState.ASKED, SweepState.BROKEN})


class Step(StrEnum):
    """What is to be done with an order now."""

    LEAVE = "LEAVE"
    WAIT = "WAIT"
    NOTE = "NOTE"
    ASK = "ASK"
    VOID = "VOID"
    CLOSE = "CLOSE"
    BREAK = "BREAK"


@dataclass(frozen=True, slots=True)
class Noted:
    """What the sweeper wrote down of an order before."""

    cause: Cause
    since: datetime
    state: SweepState
    log_head: int
    command_sequence: int | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Suspect:
    """An order as it stands under its trader's gate, and where log and settlement are.

    Attributes:
        sequence: The last command that changed it; 0 before the first.
        has_left: Whether it holds funds, or a part of it is live.
        waits_for_price: Whether it waits for its trigger, by what the books know.
        is_logged: Whether the log has its PLACE; only asked where no command has changed it.
        is_suspended: Whether an entry of its trader stands in suspense.
        disagreement: Why wallet, parts and position do not agree on what is left of it; empty if they do.
        cursor: How far the shard is settled; `head` how far its log reaches.
    """

    status: str
    time_in_force: str
    sequence: int
    updated_at: datetime
    expires_at: datetime | None
    cancel_requested_at: datetime | None
    amend_requested_at: datetime | None
    has_left: bool
    going_since: datetime | None
    waits_for_price: bool
    is_logged: bool
    is_suspended: bool
    disagreement: str
    cursor: int
    head: int

    @property
    def is_open(self) -> bool:
        """Whether it may still trade."""
        return self.status in OPEN


class Judgement(NamedTuple):
    """What is to be done with an order, why, and since when it is suspect."""

    step: Step
    cause: Cause | None = None
    since: datetime | None = None
    why: str = ""


def is_live(parts: Mapping[PartKind, Part]) -> bool:
    """Tell whether a part of an order has not ended."""
    return any(part.state == PartState.TRIED and part.version for part in parts.values())


def cause_of(order: Suspect, *, now: datetime) -> tuple[Cause, datetime] | None:
    """Return why an order is suspect, and since when; None if it is not."""
    if order.status == REVIEW:
        return _in_review(order, now)
    if not order.is_open:
        return (Cause.ENDED, order.updated_at) if order.has_left else None
    moments = {
        Cause.NEVER_LOGGED: None if order.is_logged else order.updated_at,
        Cause.CANCEL_UNANSWERED: order.cancel_requested_at,
        Cause.EXPIRY_UNANSWERED: order.expires_at,
        Cause.NEVER_RESTS: order.updated_at if _should_have_ended(order) else None,
        Cause.AMEND_UNANSWERED: order.amend_requested_at,
        Cause.LOTS_NOT_TAKEN: order.going_since,
    }
    for cause, since in moments.items():
        if since is not None and now - since >= AGE:
            return cause, since
    return None


def _in_review(order: Suspect, now: datetime) -> tuple[Cause, datetime] | None:
    """Return why an order that waits for a person need wait no longer."""
    if order.going_since is not None:
        return Cause.REVIEW_ROBBED, order.going_since
    if order.expires_at is not None and order.expires_at <= now:
        return Cause.REVIEW_EXPIRED, order.expires_at
    return None


def _should_have_ended(order: Suspect) -> bool:
    """Tell whether an order never stands in a book, and does not wait for its price."""
    return order.time_in_force in NOT_RESTING and not order.waits_for_price


def judge(order: Suspect, noted: Noted | None, *, now: datetime) -> Judgement:
    """Say what is to be done with an order: Note [Sweeping]."""
    found = cause_of(order, now=now)
    unfinished = noted if noted is not None and noted.state in UNFINISHED else None
    if found is None:
        return Judgement(Step.LEAVE) if unfinished is None else Judgement(Step.CLOSE, noted.cause, noted.since)  # type: ignore[union-attr]
    cause, since = found
    if order.is_suspended:
        return Judgement(Step.WAIT, cause, since)
    if not order.is_open:
        is_settled = order.status == REVIEW or order.sequence <= order.cursor
        return _void(order, cause, since) if is_settled else Judgement(Step.WAIT, cause, since)
    if unfinished is None or (unfinished.cause, unfinished.since) != found:
        return Judgement(Step.NOTE, cause, since)
    return _of_open(order, unfinished)


def _of_open(order: Suspect, noted: Noted) -> Judgement:
    """Say what is to be done with an order that was noted before, and is suspect for the same reason."""
    cause, since = noted.cause, noted.since
    if noted.state == SweepState.NOTED:
        return Judgement(Step.ASK if order.cursor >= noted.log_head else Step.WAIT, cause, since)
    if noted.command_sequence is not None and order.cursor < noted.command_sequence:
        return Judgement(Step.WAIT, cause, since)
    if cause == Cause.NEVER_LOGGED:
        return _void(order, cause, since)
    why = f"it is open, and command {noted.command_sequence}, which cancelled it, is settled"
    return Judgement(Step.BREAK, cause, since, why)


def _void(order: Suspect, cause: Cause, since: datetime) -> Judgement:
    """Give back what is left, if the books agree on what that is."""
    if order.disagreement:
        return Judgement(Step.BREAK, cause, since, order.disagreement)
    return Judgement(Step.VOID, cause, since)
