"""Breaks: one row for each check and subject, what the checks do to it, what people do, and the alarm."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.core import mail
from django.db import DatabaseError, connection, transaction
from structlog.testing import capture_logs

from ledger import tasks
from ledger.access import NotAllowedError, Role
from ledger.models import FinanceLog
from ledger.reconciliation import alerts, checks, runner
from ledger.reconciliation.checks import Severity
from ledger.reconciliation.models import Break, BreakEvent, ReconciliationRun, RunKind
from ledger.reconciliation.runner import RunRequestedError
from ledger.services import breaks, roles
from ledger.services.breaks import (
    BreakNotFoundError,
    BreakOwnerError,
    BreakStateError,
    BreakTextError,
    Looked,
)
from ledger.tests.factories import NOW
from ledger.tests.test_reconciliation_runner import check_of, finding

pytestmark = pytest.mark.django_db
LATER = NOW + timedelta(minutes=30)


@pytest.fixture
def staff(django_user_model):
    def make(name: str, role: Role = Role.ACCOUNTANT, **fields):
        user = django_user_model.objects.create_user(name, password="x", is_staff=True, **fields)
        roles.grant(user.pk, role)
        return user

    return make


def record(found, *, covered=(), now=NOW, **options) -> breaks.Recorded:
    run = ReconciliationRun.objects.first() or runner.start(RunKind.CONTINUOUS, now=NOW)
    check = check_of([], **options)
    return breaks.record([Looked(check, found, set(covered))], run, now=now)


def history(row: Break) -> list[str]:
    return list(BreakEvent.objects.filter(of=row).order_by("id").values_list("kind", flat=True))


def the_break() -> Break:
    return Break.objects.get()


def test_the_same_break_is_one_row_however_often_it_is_seen() -> None:
    record([finding("this", asset="USDT", amount=5)])
    record([finding("this", asset="USDT", amount=5)], covered={"this"}, now=LATER)

    row = the_break()
    assert (row.state, row.first_seen_at, row.last_seen_at) == ("OPEN", NOW, LATER)
    assert row.told == "1 where 2 was due"
    assert history(row) == ["FOUND"]


def test_a_break_resolves_when_its_check_passes_and_opens_again_when_it_comes_back() -> None:
    record([finding("this")])
    assert record([], covered={"this"}).resolved == [the_break()]
    assert the_break().state == "RESOLVED"

    assert record([finding("this")], now=LATER).opened == [the_break()]

    assert (the_break().state, the_break().resolved_at) == ("OPEN", None)
    assert history(the_break()) == ["FOUND", "PASSED", "RETURNED"]


def test_a_break_that_was_not_looked_at_stays() -> None:
    record([finding("this")])

    record([finding("that")], covered={"that"})

    assert set(Break.objects.values_list("subject", "state")) == {("this", "OPEN"), ("that", "OPEN")}


def test_breaks_of_another_check_are_left_alone() -> None:
    record([finding("this")])

    record([], covered={"this"}, name="test.other")

    assert the_break().state == "OPEN"


def test_an_amount_that_moves_is_kept_up_to_date_and_told_now_and_then() -> None:
    record([finding("this", amount=5)])
    record([finding("this", amount=6)], now=NOW + timedelta(seconds=2))
    assert (the_break().amount, history(the_break())) == (Decimal(6), ["FOUND"])

    record([finding("this", amount=7)], now=LATER)

    assert (the_break().amount, history(the_break())) == (Decimal(7), ["FOUND", "CHANGED"])


def test_an_explanation_holds_only_for_what_it_explained(staff) -> None:
    eve = staff("eve")
    record([finding("this", amount=5)])
    breaks.explain(the_break().pk, "on its way from the bank", by=eve.pk, now=NOW)

    assert record([finding("this", amount=5)], covered={"this"}, now=LATER).opened == []
    assert the_break().state == "EXPLAINED"
    assert record([finding("this", amount=6)], covered={"this"}, now=LATER).opened == [the_break()]
    assert (the_break().state, the_break().owner) == ("ASSIGNED", eve)


def test_recording_takes_a_constant_number_of_statements(django_assert_num_queries) -> None:
    record([finding("none")])
    with django_assert_num_queries(6):  # savepoint, rows, breaks, events, release; the test's own look for a run
        record([finding(f"a{number}") for number in range(3)])
    with django_assert_num_queries(6):
        record([finding(f"b{number}") for number in range(100)])


# --- people ---------------------------------------------------------------------------------------------------------
def test_a_break_goes_from_hand_to_hand_and_everything_is_written_down(staff) -> None:
    eve, ann = staff("eve"), staff("ann", Role.APPROVER)
    record([finding("this")])
    number = the_break().pk

    breaks.assign(number, ann.pk, by=eve.pk, now=NOW, text="please")
    breaks.comment(number, "looking", by=ann.pk, now=NOW)
    breaks.explain(number, "known", by=ann.pk, now=NOW)
    breaks.resolve(number, "repaired", by=ann.pk, now=NOW)
    breaks.reopen(number, "not repaired", by=eve.pk, now=NOW)

    assert (the_break().state, the_break().owner, the_break().resolved_at) == ("ASSIGNED", ann, None)
    assert history(the_break()) == ["FOUND", "ASSIGNED", "COMMENT", "EXPLAINED", "RESOLVED", "REOPENED"]
    logged = list(FinanceLog.objects.order_by("id").values_list("action", "user", "subject"))
    actions = ["assigned", "comment", "explained", "resolved", "reopened"]
    people = [eve, ann, ann, ann, eve]
    assert logged == [(f"break.{a}", p.pk, str(number)) for a, p in zip(actions, people, strict=True)]


def test_a_break_resolved_by_hand_is_looked_at_once_more(staff, monkeypatch) -> None:
    eve = staff("eve")
    monkeypatch.setattr(checks, "_REGISTER", {})
    found = [finding("this", place=7)]
    check = check_of(found)
    seen_places: list[list[int]] = []

    def look(scope):
        seen_places.append(list(scope.again))
        return checks.Seen(found if scope.again or not scope.position else [], {"at": 1}, 1)

    checks.register(checks.Check(name="test.check", compares="", causes=check.causes, look=look, full=check.full))
    run = runner.start(RunKind.CONTINUOUS, now=NOW)
    runner.look(run, now=NOW)
    breaks.resolve(the_break().pk, "done", by=eve.pk, now=NOW + timedelta(seconds=1))

    runner.look(run, now=NOW + timedelta(seconds=2))

    assert seen_places == [[], [7]]
    assert the_break().state == "OPEN"
    found.clear()
    runner.look(run, now=NOW + timedelta(seconds=4))
    runner.look(run, now=NOW + timedelta(seconds=6))
    assert seen_places[2:] == [[7], []]


@pytest.mark.parametrize("text", ["", "   ", "x" * 2001])
def test_words_are_needed_and_limited(staff, text) -> None:
    eve = staff("eve")
    record([finding("this")])

    for act in (breaks.explain, breaks.resolve, breaks.comment):
        with pytest.raises(BreakTextError):
            act(the_break().pk, text, by=eve.pk, now=NOW)

    assert history(the_break()) == ["FOUND"]


def test_who_may_not_work_on_breaks_changes_nothing(staff, django_user_model) -> None:
    eve, auditor = staff("eve"), staff("audrey", Role.AUDITOR)
    trader = django_user_model.objects.create_user("trader", password="x")
    record([finding("this")])
    number = the_break().pk

    for person in (auditor, trader):
        with pytest.raises(NotAllowedError):
            breaks.resolve(number, "done", by=person.pk, now=NOW)
        with pytest.raises(BreakOwnerError):
            breaks.assign(number, person.pk, by=eve.pk, now=NOW)

    assert (the_break().state, history(the_break())) == ("OPEN", ["FOUND"])
    assert not FinanceLog.objects.exists()


def test_what_is_resolved_is_not_worked_on_and_what_is_not_there_is_said(staff) -> None:
    eve = staff("eve")
    record([finding("this")])
    number = the_break().pk
    with pytest.raises(BreakStateError):
        breaks.reopen(number, "why", by=eve.pk, now=NOW)
    breaks.resolve(number, "done", by=eve.pk, now=NOW)

    for act in (breaks.explain, breaks.resolve):
        with pytest.raises(BreakStateError):
            act(number, "again", by=eve.pk, now=NOW)
    with pytest.raises(BreakStateError):
        breaks.assign(number, eve.pk, by=eve.pk, now=NOW)
    with pytest.raises(BreakNotFoundError):
        breaks.comment(0, "hello", by=eve.pk, now=NOW)


@pytest.mark.parametrize("role", [None, "exchange_web", "exchange_back_office"])
@pytest.mark.parametrize(
    "attack",
    [
        "UPDATE ledger_breakevent SET text = 'x'",
        "DELETE FROM ledger_breakevent",
        "DELETE FROM ledger_break",
        "UPDATE ledger_hashcheckpoint SET number = 1",
        "DELETE FROM ledger_hashcheckpoint",
    ],
)
def test_nobody_changes_the_history(attack, role) -> None:
    record([finding("this")])

    with transaction.atomic(), connection.cursor() as cursor:
        if role:
            cursor.execute(f"SET LOCAL ROLE {role}")
        with pytest.raises(DatabaseError, match="only ever added to"), transaction.atomic():
            cursor.execute(attack)
        cursor.execute("RESET ROLE")


# --- the alarm ------------------------------------------------------------------------------------------------------
@pytest.fixture
def stops(monkeypatch):
    called: list[str] = []
    monkeypatch.setattr(alerts, "STOPS", [lambda reason, _now: called.append(reason)])
    monkeypatch.setattr(checks, "_REGISTER", {})
    return called


@pytest.mark.parametrize(
    ("severity", "logged", "stopped"),
    [
        (Severity.WATCH, [], []),
        (Severity.ALERT, ["this"], []),
        (Severity.STOP, ["this"], ["test.check: this"]),
    ],
)
def test_a_new_break_does_what_its_severity_says(stops, severity, logged, stopped) -> None:
    checks.register(check_of([finding("this")], severity=severity))
    run = runner.start(RunKind.CONTINUOUS, now=NOW)

    with capture_logs() as logs:
        runner.look(run, now=NOW, due_only=False)
        runner.look(run, now=NOW, due_only=False)

    critical = [line for line in logs if line["log_level"] == "critical"]
    assert [line["subject"] for line in critical] == logged
    assert [line.get("cause") for line in critical] == ["1 where 2 was due"] * len(logged)
    assert stops == stopped


def test_the_severity_of_a_check_can_be_configured(stops, settings) -> None:
    settings.RECONCILIATION_SEVERITY = {"test.check": "stop"}
    checks.register(check_of([finding("this")], severity=Severity.WATCH))

    runner.look(runner.start(RunKind.CONTINUOUS, now=NOW), now=NOW)

    assert stops == ["test.check: this"]


def test_a_stop_that_fails_leaves_the_break(stops, monkeypatch) -> None:
    def fail(_reason, _now):
        raise RuntimeError("no stop today")

    monkeypatch.setattr(alerts, "STOPS", [fail])
    checks.register(check_of([finding("this")], severity=Severity.STOP))

    with capture_logs() as logs:
        runner.look(runner.start(RunKind.CONTINUOUS, now=NOW), now=NOW)

    assert the_break().state == "OPEN"
    assert "reconciliation_stop_failed" in [line["event"] for line in logs]


def test_those_who_work_on_breaks_get_a_mail(staff) -> None:
    staff("eve", email="eve@example.com")
    staff("audrey", Role.AUDITOR, email="audrey@example.com")
    staff("ann", Role.APPROVER)
    record([finding("this"), finding("that", have=7)])

    tasks.mail_breaks(break_ids=list(Break.objects.values_list("pk", flat=True)), argument_of_a_newer_release=1)

    [letter] = mail.outbox
    assert (letter.to, letter.subject) == (["eve@example.com"], "Reconciliation: 2 breaks")
    assert "test.check: that\n  7 where 2 was due" in letter.body


# --- runs that people ask for ---------------------------------------------------------------------------------------
def test_a_full_pass_that_was_asked_for_is_made_once(stops, staff) -> None:
    eve = staff("eve")
    checks.register(check_of([finding("this")]), check_of([finding("other")], "test.other"))
    run = runner.request(by=eve.pk, now=NOW, only="test.check")
    with pytest.raises(RunRequestedError):
        runner.request(by=eve.pk, now=NOW)

    tasks.reconcile(run_id=run.pk)
    tasks.reconcile(run_id=run.pk)

    run.refresh_from_db()
    assert (run.state, run.found, run.requested_by) == ("DONE", 1, eve)
    assert the_break().subject == "this"
    assert ReconciliationRun.objects.count() == 1


def test_the_nightly_pass_runs_every_check(stops) -> None:
    checks.register(check_of([finding("this")]), check_of([finding("other")], "test.other"))

    tasks.reconcile(argument_of_a_newer_release=1)

    [run] = ReconciliationRun.objects.all()
    assert (run.kind, run.state, run.found) == ("FULL", "DONE", 2)
    assert tasks.reconcile.name == "ledger.tasks.reconcile"
