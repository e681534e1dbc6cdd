"""Closed periods: what the database refuses, what staff may ask for, what hinders a close."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import psycopg
import pytest
from django.contrib.auth import get_user_model
from django.db import DatabaseError, connection, transaction

from ledger import audit
from ledger.access import NotAllowedError, Role
from ledger.control_models import Period, PeriodAction, PeriodRequest, RequestState
from ledger.models import FinanceLog, JournalEntry
from ledger.posting_rules import FACTS, EventKind
from ledger.services import grants, journal, periods, roles
from ledger.services.journal import InFutureError, PeriodClosedError
from ledger.services.periods import PeriodBoundaryError, ReasonMissingError, RequestPendingError
from ledger.tasks import WORK
from ledger.tests.factories import NOW, event, freeze

pytestmark = pytest.mark.usefixtures("books")
BEGIN = datetime(2000, 1, 1, tzinfo=UTC)
MARCH = datetime(2026, 3, 1, tzinfo=UTC)
APRIL = datetime(2026, 4, 1, tzinfo=UTC)


@pytest.fixture
def approver(db):
    user = get_user_model().objects.create_user("approver", password="x", is_staff=True)
    roles.grant(user.pk, Role.APPROVER)
    return user


@pytest.fixture
def close(approver):
    """Close or reopen as an approver does, and let the back office carry it out."""

    def ask(boundary: datetime, action: PeriodAction = PeriodAction.CLOSE) -> PeriodRequest:
        request = periods.ask(approver, action, boundary, "month end", now=later())
        assert periods.carry_out(later()) == 1
        request.refresh_from_db()
        return request

    return ask


def later() -> datetime:
    """Return a moment at which all the tests' months are over."""
    return datetime(2026, 11, 1, tzinfo=UTC)


def deposit(owner_id: int, at: datetime, key: str = "d"):
    return replace(event(EventKind.DEPOSIT, key, owner_id, 5), effective_at=at)


def test_nothing_is_effective_in_a_closed_period(customer, close) -> None:
    alice = customer("alice", USDT=100)
    assert close(APRIL).state == RequestState.DONE

    with pytest.raises(PeriodClosedError) as caught, transaction.atomic():
        journal.post([deposit(alice.id, APRIL - timedelta(microseconds=1))], later())

    assert caught.value.data["key"] == "d"
    assert alice.balance("USDT") == 100
    journal.post([deposit(alice.id, APRIL)], later())
    assert alice.balance("USDT") == 105


def test_what_happened_elsewhere_posts_at_the_first_open_moment_and_is_flagged_late(customer, close) -> None:
    alice = customer("alice", USDT=100)
    close(APRIL)

    [entry] = journal.post([replace(freeze("f", alice.id, 5), effective_at=MARCH)], later())

    posted = JournalEntry.objects.get(pk=entry.id)
    assert (posted.effective_at, posted.late) == (APRIL, True)


def test_a_fact_moved_to_a_boundary_of_a_moment_ago_is_late_too(customer, close) -> None:
    alice = customer("alice", USDT=100)
    recorded_at = JournalEntry.objects.get().recorded_at
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT ledger_move_period(%s, 'CLOSE', %s, 'test', 1)", [recorded_at, recorded_at - timedelta(seconds=2)]
        )

    [entry] = journal.post(
        [replace(freeze("f", alice.id, 5), effective_at=recorded_at - timedelta(seconds=3))], recorded_at
    )

    posted = JournalEntry.objects.get(pk=entry.id)
    assert (posted.effective_at, posted.late) == (recorded_at - timedelta(seconds=2), True)


def test_a_fact_of_a_clock_that_is_ahead_posts_a_minute_ahead_at_most(customer) -> None:
    alice = customer("alice", USDT=100)
    recorded_at = JournalEntry.objects.get().recorded_at

    [entry] = journal.post(
        [replace(freeze("f", alice.id, 5), effective_at=recorded_at + timedelta(hours=1))], recorded_at
    )

    posted = JournalEntry.objects.get(pk=entry.id)
    assert (posted.effective_at, posted.late) == (recorded_at + timedelta(seconds=60), False)


@pytest.mark.parametrize(
    ("at", "error"),
    [(BEGIN - timedelta(microseconds=1), PeriodClosedError), (datetime(2999, 1, 1, tzinfo=UTC), InFutureError)],
)
def test_nothing_is_effective_before_the_books_began_or_in_the_future(customer, at, error) -> None:
    alice = customer("alice", USDT=100)

    with pytest.raises(error), transaction.atomic():
        journal.post([deposit(alice.id, at)], NOW)

    assert JournalEntry.objects.count() == 1


def test_a_reopened_period_takes_entries_again_and_both_moves_stay_on_record(customer, close, approver) -> None:
    alice = customer("alice", USDT=100)
    head = JournalEntry.objects.get()
    close(MARCH)
    close(APRIL)

    assert close(MARCH, PeriodAction.REOPEN).state == RequestState.DONE
    [entry] = journal.post([deposit(alice.id, MARCH)], later())

    assert JournalEntry.objects.get(pk=entry.id).late is True
    rows = Period.objects.order_by("id").values_list("action", "starts_at", "ends_at", "author_id", "entry_id")
    assert list(rows) == [
        ("CLOSE", BEGIN, MARCH, approver.pk, 1),
        ("CLOSE", MARCH, APRIL, approver.pk, 1),
        ("REOPEN", MARCH, APRIL, approver.pk, 1),
    ]
    assert {bytes(period.hash) for period in Period.objects.all()} == {bytes(head.hash)}
    assert periods.closed_before() == MARCH


def test_the_first_close_can_be_reopened_and_closed_again(customer, close) -> None:
    customer("alice", USDT=100)
    close(APRIL)

    close(BEGIN, PeriodAction.REOPEN)
    close(MARCH)

    assert periods.closed_before() == MARCH


@pytest.mark.parametrize(
    ("action", "boundary"),
    [
        (PeriodAction.CLOSE, MARCH),
        (PeriodAction.CLOSE, MARCH - timedelta(days=1)),
        (PeriodAction.CLOSE, later() - timedelta(minutes=4)),
        (PeriodAction.REOPEN, MARCH),
        (PeriodAction.REOPEN, MARCH - timedelta(days=1)),
        (PeriodAction.REOPEN, APRIL),
    ],
)
def test_a_moment_that_is_no_boundary_is_refused(close, approver, action, boundary) -> None:
    close(MARCH)

    with pytest.raises(PeriodBoundaryError):
        periods.ask(approver, action, boundary, "why", now=later())

    assert PeriodRequest.objects.count() == 1


def test_closing_needs_a_reason_and_the_right(approver, django_user_model) -> None:
    other = django_user_model.objects.create_user("accountant", password="x", is_staff=True)
    roles.grant(other.pk, Role.ACCOUNTANT)

    with pytest.raises(ReasonMissingError):
        periods.ask(approver, PeriodAction.CLOSE, MARCH, "  x ", now=later())
    with pytest.raises(NotAllowedError):
        periods.ask(other, PeriodAction.CLOSE, MARCH, "month end", now=later())

    assert not PeriodRequest.objects.exists()
    assert not FinanceLog.objects.exists()


def test_one_request_waits_at_a_time(approver) -> None:
    periods.ask(approver, PeriodAction.CLOSE, MARCH, "month end", now=later())

    with pytest.raises(RequestPendingError):
        periods.ask(approver, PeriodAction.CLOSE, APRIL, "month end", now=later())


def test_what_is_asked_and_done_is_in_the_finance_log(close, approver) -> None:
    request = close(MARCH)

    rows = FinanceLog.objects.order_by("id").values_list("action", "user_id", "subject")
    assert list(rows) == [
        ("period.ask_close", approver.pk, str(request.pk)),
        ("period.close", approver.pk, str(request.pk)),
    ]
    assert request.period.reason == "month end"


def test_the_back_office_carries_requests_out() -> None:
    assert WORK["periods"] is periods.carry_out


@pytest.mark.django_db
def test_carrying_out_twice_changes_nothing(close) -> None:
    close(MARCH)

    assert periods.carry_out(later()) == 0
    assert Period.objects.count() == 1


def suspend(key: str, amount: str, at: datetime) -> None:
    journal.post([replace(event(EventKind.SUSPENSE_RECEIPT, key, None, amount), effective_at=at)], later())


def test_a_period_with_something_in_suspense_is_not_closed_until_it_is_cleared(customer, close) -> None:
    alice = customer("alice", USDT=1)
    suspend("s", "7", MARCH)
    refused = close(APRIL)
    credit = event(EventKind.SUSPENSE_CREDIT, "c", alice.id, 7)

    journal.post([replace(credit, effective_at=APRIL - timedelta(days=1))], later())

    assert refused.state == RequestState.REFUSED
    assert "suspense is cleared (USDT: -7.0" in refused.refusal
    assert close(APRIL).state == RequestState.DONE


def test_what_is_in_suspense_after_the_period_does_not_hinder_its_close(customer, close) -> None:
    customer("alice", USDT=1)
    suspend("s", "7", APRIL)

    assert close(APRIL).state == RequestState.DONE


def test_a_period_whose_funding_does_not_add_up_is_not_closed(customer, close) -> None:
    alice = customer("alice", USDT=10)
    received = event(EventKind.FUNDING_RECEIVED, "r", alice.id, 3)
    journal.post([replace(received, effective_at=MARCH)], later())

    refused = close(APRIL)

    assert refused.state == RequestState.REFUSED
    assert "funding is settled" in refused.refusal
    assert not Period.objects.exists()


def test_books_that_do_not_add_up_are_not_closed(customer, close) -> None:
    alice = customer("alice", USDT=10)
    journal.post([event(EventKind.DEBT_CHARGE, "c", alice.id, 4)], NOW)

    refused = close(APRIL)

    assert "nobody owes while having something available" in refused.refusal
    journal.post([event(EventKind.DEBT_REPAYMENT, "p", alice.id, 4)], NOW)


def test_the_facts_in_the_database_are_those_in_python(db) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT kind FROM ledger_fact_kind")
        assert {row[0] for row in cursor.fetchall()} == FACTS


def test_whatever_the_worker_posts_is_a_fact_or_asked_for_by_nobody(db) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT kind FROM ledger_posting_right WHERE role = 'exchange_worker'")
        assert {row[0] for row in cursor.fetchall()} <= FACTS


INSERT_PERIOD = (
    "INSERT INTO ledger_period SELECT {id}, '{action}', {starts_at}, {ends_at}, '{reason}', 1,"
    " greatest(recorded_at, now()) + {shift}::interval, entry_id + {entry}, {hash} FROM ledger_head"
)
GOOD = {
    "id": 1,
    "action": "CLOSE",
    "starts_at": "closed_before",
    "ends_at": "'2026-01-01'",
    "reason": "why",
    "shift": "'0'",
    "entry": 0,
    "hash": "hash",
}


@pytest.mark.parametrize(
    ("forged", "constraint"),
    [
        ({"id": 2}, "ledger_period_order"),
        ({"starts_at": "closed_before + interval '1 day'"}, "ledger_period_order"),
        ({"starts_at": "closed_before - interval '1 day'"}, "ledger_period_order"),
        ({"entry": 1}, "ledger_period_order"),
        ({"hash": "sha256('x')"}, "ledger_period_order"),
        ({"shift": "'-100 years'"}, "ledger_period_order"),
        ({"action": "REOPEN", "starts_at": "'1999-01-01'", "ends_at": "closed_before"}, "ledger_period_order"),
        ({"action": "SEAL", "ends_at": "closed_before"}, "ledger_period_action"),
        ({"ends_at": "closed_before"}, "ledger_period_length"),
        ({"ends_at": "'2999-01-01'"}, "ledger_period_past"),
        ({"reason": "  "}, "ledger_period_reason"),
    ],
)
def test_a_forged_period_is_refused_even_from_the_owner(customer, forged, constraint) -> None:
    customer("alice", USDT=1)

    with pytest.raises(DatabaseError) as caught, transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(INSERT_PERIOD.format(**(GOOD | forged)))

    assert isinstance(caught.value.__cause__, psycopg.Error)
    assert caught.value.__cause__.diag.constraint_name == constraint
    assert periods.closed_before() == BEGIN


@pytest.mark.parametrize("role", [grants.WEB_ROLE, grants.WORKER_ROLE])
def test_only_the_back_office_may_move_a_period(customer, role) -> None:
    customer("alice", USDT=1)

    def close_as(name: str) -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL ROLE {name}")
            cursor.execute("SELECT ledger_move_period(now(), 'CLOSE', '2026-01-01', 'why', 1)")
            cursor.execute("RESET ROLE")

    with pytest.raises(DatabaseError) as caught:
        close_as(role)

    assert isinstance(caught.value.__cause__, psycopg.errors.InsufficientPrivilege)
    close_as(grants.BACK_OFFICE_ROLE)
    assert periods.closed_before() == datetime(2026, 1, 1, tzinfo=UTC)


def test_the_audit_finds_an_entry_in_a_closed_period(customer, close) -> None:
    alice = customer("alice", USDT=100)
    close(APRIL)
    [entry] = journal.post([deposit(alice.id, APRIL)], later())
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute("UPDATE ledger_entry SET effective_at = %s WHERE id = %s", [MARCH, entry.id])

    broken = {invariant.name for invariant in audit.invariants() if not invariant.ok}

    assert broken == {"nothing was posted into a closed period", "the hash chain is whole"}
    with connection.cursor() as cursor:
        cursor.execute("UPDATE ledger_entry SET effective_at = %s WHERE id = %s", [APRIL, entry.id])
    assert alice.balance("USDT") == Decimal(105)
