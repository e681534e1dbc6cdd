"""The sweeper's judgement, case by case: nothing ahead of the cursor, nothing of what lives, nothing inexplicable."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from trading.sweeping import AGE, Cause, Judgement, Noted, Step, Suspect, SweepState, judge

NOW = datetime(2026, 1, 5, tzinfo=UTC)
PAST = NOW - AGE
LIVES = Suspect(
    status="new",
    time_in_force="gtc",
    sequence=0,
    updated_at=PAST,
    expires_at=None,
    cancel_requested_at=None,
    amend_requested_at=None,
    has_left=True,
    going_since=None,
    waits_for_price=False,
    is_logged=True,
    is_suspended=False,
    disagreement="",
    cursor=10,
    head=20,
)
UNANSWERED = replace(LIVES, cancel_requested_at=PAST)
NOTED = Noted(Cause.CANCEL_UNANSWERED, PAST, SweepState.NOTED, log_head=15)
ASKED = replace(NOTED, state=SweepState.ASKED, command_sequence=18)


def step(order: Suspect, noted: Noted | None = None) -> tuple[Step, Cause | None]:
    return judge(order, noted, now=NOW)[:2]


@pytest.mark.parametrize(
    "order",
    [
        LIVES,
        replace(LIVES, status="partial_filled", sequence=5),
        replace(LIVES, status="untriggered", time_in_force="ioc", waits_for_price=True),
        replace(LIVES, time_in_force="ioc", updated_at=PAST + timedelta(microseconds=1)),
        replace(LIVES, cancel_requested_at=PAST + timedelta(microseconds=1)),
        replace(LIVES, amend_requested_at=NOW),
        replace(LIVES, going_since=NOW),
        replace(LIVES, time_in_force="gtd", expires_at=NOW),
        replace(LIVES, status="pending_review", time_in_force="gtd", expires_at=NOW + timedelta(microseconds=1)),
        replace(LIVES, status="filled", has_left=False, sequence=15),
    ],
)
def test_what_lives_or_has_left_nothing_is_left_alone(order) -> None:
    assert step(order) == (Step.LEAVE, None)


@pytest.mark.parametrize(
    ("order", "cause"),
    [
        (UNANSWERED, Cause.CANCEL_UNANSWERED),
        (replace(LIVES, amend_requested_at=PAST), Cause.AMEND_UNANSWERED),
        (replace(LIVES, going_since=PAST), Cause.LOTS_NOT_TAKEN),
        (replace(LIVES, time_in_force="gtd", expires_at=PAST), Cause.EXPIRY_UNANSWERED),
        (replace(LIVES, time_in_force="fok"), Cause.NEVER_RESTS),
        (replace(LIVES, is_logged=False), Cause.NEVER_LOGGED),
    ],
)
def test_an_open_order_is_first_noted_then_asked_for_then_looked_at(order, cause) -> None:
    noted = replace(NOTED, cause=cause)

    assert step(order) == (Step.NOTE, cause)
    assert step(replace(order, cursor=14), noted) == (Step.WAIT, cause)
    assert step(replace(order, cursor=15), noted) == (Step.ASK, cause)
    assert step(replace(order, cursor=17), replace(ASKED, cause=cause)) == (Step.WAIT, cause)
    ended = step(replace(order, cursor=18), replace(ASKED, cause=cause))
    assert ended == ((Step.VOID if cause == Cause.NEVER_LOGGED else Step.BREAK), cause)


@pytest.mark.parametrize("noted", [NOTED, ASKED, replace(ASKED, state=SweepState.BROKEN, why="x")])
def test_what_is_answered_meanwhile_is_closed(noted) -> None:
    assert step(LIVES, noted) == (Step.CLOSE, Cause.CANCEL_UNANSWERED)
    assert step(replace(LIVES, status="cancelled", has_left=False), noted) == (Step.CLOSE, Cause.CANCEL_UNANSWERED)


@pytest.mark.parametrize("state", [SweepState.CLOSED, SweepState.VOIDED])
def test_what_was_finished_before_is_noted_anew(state) -> None:
    assert step(LIVES, replace(NOTED, state=state)) == (Step.LEAVE, None)
    assert step(replace(UNANSWERED, cursor=99), replace(NOTED, state=state)) == (Step.NOTE, Cause.CANCEL_UNANSWERED)


def test_a_suspicion_of_another_moment_is_another_suspicion() -> None:
    order = replace(UNANSWERED, cancel_requested_at=PAST - timedelta(seconds=1), cursor=99)

    assert step(order, NOTED) == (Step.NOTE, Cause.CANCEL_UNANSWERED)


@pytest.mark.parametrize(("sequence", "expected"), [(0, Step.VOID), (10, Step.VOID), (11, Step.WAIT)])
def test_what_an_ended_order_kept_goes_back_when_its_end_is_settled(sequence, expected) -> None:
    assert step(replace(LIVES, status="cancelled", sequence=sequence)) == (expected, Cause.ENDED)


def test_an_order_in_review_ends_when_its_time_is_over_or_nothing_covers_it() -> None:
    order = replace(LIVES, status="pending_review", cursor=0)

    assert step(replace(order, expires_at=NOW)) == (Step.VOID, Cause.REVIEW_EXPIRED)
    assert step(replace(order, going_since=NOW)) == (Step.VOID, Cause.REVIEW_ROBBED)


@pytest.mark.parametrize(
    "order",
    [
        replace(LIVES, status="filled", sequence=10),
        replace(LIVES, status="pending_review", expires_at=NOW),
    ],
)
def test_what_the_books_do_not_agree_on_is_not_paid_out(order) -> None:
    assert judge(replace(order, disagreement="why"), None, now=NOW)[::3] == (Step.BREAK, "why")
    assert step(replace(order, is_suspended=True))[0] == Step.WAIT


def test_why_is_said_of_an_order_that_its_cancel_did_not_end() -> None:
    said = "it is open, and command 18, which cancelled it, is settled"

    judged = judge(replace(UNANSWERED, cursor=18), ASKED, now=NOW)

    assert judged == Judgement(Step.BREAK, Cause.CANCEL_UNANSWERED, PAST, said)
