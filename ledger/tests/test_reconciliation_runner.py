"""Rounds and full passes: marks, what is looked at again, failures, bounds, and what a look costs."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils.translation import override

from ledger.reconciliation import checks, entries, reading, runner
from ledger.reconciliation.checks import FINDINGS_MAX, Check, Finding, Scope, Seen
from ledger.reconciliation.models import Break, CheckMark, HashCheckpoint, ReconciliationRun, RunKind
from ledger.services import journal
from ledger.tests.factories import NOW, freeze, unfreeze
from ledger.tests.reconciling import BOOKS, analyze, damage, full, look, rows_read, unresolved

pytestmark = pytest.mark.django_db


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> dict[str, Check]:
    """An empty register, for checks of the test's own."""
    register: dict[str, Check] = {}
    monkeypatch.setattr(checks, "_REGISTER", register)
    return register


def check_of(found: list[Finding], name: str = "test.check", **options) -> Check:
    """A check that finds what the list says, in looks and in full."""
    return Check(
        name=name,
        compares="this with that",
        causes={"differs": "%(have)s where %(need)s was due"},
        look=lambda scope: Seen(list(found), {"at": scope.position.get("at", 0) + 1}, 1),
        full=lambda _: Seen(list(found), {}, 1),
        **options,
    )


def finding(subject: str, have: int = 1, **more) -> Finding:
    return Finding(subject, "differs", {"have": have, "need": 2}, **more)


def post(owner_id: int, count: int, start: int = 0) -> None:
    for number in range(start, start + count):
        journal.post([freeze(f"f{number}", owner_id, 1), unfreeze(f"u{number}", owner_id, 1)], NOW)


def test_a_look_goes_on_from_its_mark_and_says_what_is_behind(customer, monkeypatch) -> None:
    alice = customer("alice", USDT=100)
    post(alice.id, 5)
    monkeypatch.setattr(entries, "ENTRIES_MAX", 4)

    look("entries.balance")

    mark = CheckMark.objects.get(pk="entries.balance")
    assert (mark.position, mark.items, mark.behind) == ({"entry": 4}, 4, 7)
    look("entries.balance")
    look("entries.balance")
    mark.refresh_from_db()
    assert (mark.position, mark.items, mark.behind) == ({"entry": 11}, 3, 0)


def test_damage_behind_the_mark_is_found_by_the_full_pass_alone_and_then_looked_at_again(customer) -> None:
    alice = customer("alice", USDT=100)
    post(alice.id, 2)
    look()
    damage("UPDATE ledger_line SET amount = amount + 1 WHERE entry_id = 2 AND n = 1")

    assert look("entries.balance") == set()
    assert full("entries.balance") != set()
    assert look("entries.balance") != set()
    damage("UPDATE ledger_line SET amount = amount - 1 WHERE entry_id = 2 AND n = 1")
    assert look("entries.balance") == set()


def test_a_mark_of_a_check_that_fails_stays_and_the_failure_is_a_break_of_its_own(registered) -> None:
    def fail(_scope: Scope) -> Seen:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 / 0")
        raise AssertionError

    failing = Check(name="test.fails", compares="", causes={}, look=fail, full=lambda _: Seen([], {}, 0))
    checks.register(failing, check_of([finding("this")]))
    run = runner.start(RunKind.CONTINUOUS, now=NOW)

    results = runner.look(run, now=NOW)

    assert results is not None
    assert results[0].failure.startswith("DataError: division by zero")
    assert unresolved() == {("test.fails", runner.ITSELF), ("test.check", "this")}
    assert "division by zero" in Break.objects.get(check_name="test.fails").told
    assert CheckMark.objects.get(pk="test.fails").position == {}
    registered["test.fails"] = check_of([], "test.fails")
    assert look("test.fails") == {("test.check", "this")}


def test_checks_look_as_often_as_they_say(registered) -> None:
    checks.register(check_of([], "test.often", every=2), check_of([], "test.seldom", every=60))
    run = runner.start(RunKind.CONTINUOUS, now=NOW)

    rounds = [runner.look(run, now=NOW + timedelta(seconds=seconds)) for seconds in (0, 2, 59, 60)]

    assert [[result.name for result in results or ()] for results in rounds] == [
        ["test.often", "test.seldom"],
        ["test.often"],
        ["test.often"],
        ["test.seldom"],
    ]
    run.refresh_from_db()
    assert (run.rounds, run.finished_at) == (4, NOW + timedelta(seconds=60))


def test_every_check_says_how_soon_it_notices() -> None:
    for check in checks.registered():
        if check.look is None:
            assert check.notices_within == checks.NIGHTLY_SECONDS
        else:
            assert check.every + checks.LOOK_SECONDS < check.notices_within <= 120


def test_more_findings_than_are_recorded_are_said_to_be_more_and_resolve_nothing(registered) -> None:
    found = [finding(f"number {number}") for number in range(FINDINGS_MAX + 5)]
    checks.register(check_of(found))
    look("test.check")
    assert Break.objects.count() == FINDINGS_MAX + 1
    with override("en"):
        assert Break.objects.get(subject=checks.MORE).told == "There are more than 200; the others are not listed."

    del found[: FINDINGS_MAX + 3]
    assert len(look("test.check")) > 2
    assert len(full("test.check")) == 2


def test_rounds_and_full_passes_wait_for_nobody(transactional_db, registered) -> None:
    checks.register(check_of([]))
    run = runner.start(RunKind.CONTINUOUS, now=NOW)
    other = connection.copy()
    try:
        with other.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s, 1), pg_advisory_lock(%s, 2)", [runner.LOCK_SPACE] * 2)

        assert runner.look(run, now=NOW) is None
        assert runner.full(run, clock=lambda: NOW) is None
        with other.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock_all()")
    finally:
        other.close()
    assert runner.look(run, now=NOW) is not None


def test_a_look_only_reads_until_it_writes_down_what_it_found(transactional_db, registered) -> None:
    def write(_scope: Scope) -> Seen:
        ReconciliationRun.objects.all().delete()
        raise AssertionError

    checks.register(Check(name="test.writes", compares="", causes={}, look=write, full=lambda _: Seen([], {}, 0)))
    run = runner.start(RunKind.CONTINUOUS, now=NOW)

    results = runner.look(run, now=NOW)

    assert results is not None
    assert "read-only transaction" in results[0].failure


def test_the_statements_of_a_look_do_not_grow_with_what_is_new_or_broken(customer) -> None:
    alice = customer("alice", USDT=1_000)
    post(alice.id, 1)
    look()

    counts = []
    for new in (1, 40):
        post(alice.id, new, start=10 + new)
        run = runner.start(RunKind.CONTINUOUS, now=NOW)
        with CaptureQueriesContext(
            connection,
        ) as queries:
            runner.look(run, now=NOW, names=BOOKS, due_only=False)
        counts.append(len(queries))

    assert counts[0] == counts[1]


def test_a_look_reads_as_many_rows_after_a_long_history_as_after_a_short_one(customer) -> None:
    alice = customer("alice", USDT=1_000)
    read = []
    for history in (20, 400):
        post(alice.id, history, start=1_000 * history)
        look()
        post(alice.id, 5, start=1_000 * history + history)
        run = runner.start(RunKind.CONTINUOUS, now=NOW)
        analyze()
        before = rows_read()
        runner.look(run, now=NOW, names=BOOKS, due_only=False)
        read.append(rows_read() - before)

    assert read[0] > 100
    assert read[1] < 1.5 * read[0]  # of twenty times the history; small tables are read in one way or another


def test_a_history_that_is_written_anew_hashes_and_all_contradicts_the_mark(customer) -> None:
    alice = customer("alice", USDT=100)
    post(alice.id, 1)
    look("entries.hash")
    rehash(2, "UPDATE ledger_entry SET trace = 'other' WHERE id = 2")

    assert look("entries.hash") == {("entries.hash", "entry 3 as it was checked")}
    assert look("entries.hash") == {("entries.hash", "entry 3 as it was checked")}
    rehash(2, "UPDATE ledger_entry SET trace = 'trace-1' WHERE id = 2")
    assert look("entries.hash") == set()


def test_a_full_pass_holds_kept_hashes_against_a_history_that_was_written_anew(customer) -> None:
    alice = customer("alice", USDT=100)
    post(alice.id, 1)
    full("entries.hash")
    post(alice.id, 1, start=5)
    look("entries.hash")
    CheckMark.objects.all().delete()
    rehash(2, "UPDATE ledger_entry SET trace = 'other' WHERE id = 2")

    assert full("entries.hash") == {("entries.hash", "entry 3 as it was checked")}
    assert HashCheckpoint.objects.order_by("number").values_list("number", flat=True).first() == 3


def rehash(first: int, statement: str) -> None:
    """Change an entry, and hash all from it on again, as somebody with every right could."""
    damage(
        statement,
        f"""DO $$
        DECLARE e record; v bytea := (SELECT hash FROM ledger_entry WHERE id = {first - 1});
        BEGIN
            FOR e IN SELECT * FROM ledger_entry WHERE id >= {first} ORDER BY id LOOP
                v := sha256(v || ledger_payload(e.id, e.kind, e.key, e.effective_at, e.late, e.recorded_at, e.trace,
                    e.reverses, (SELECT string_agg(n || ':' || account_id || ':' || amount || ':' || balance_after, ','
                    ORDER BY n) FROM ledger_line WHERE entry_id = e.id)));
                UPDATE ledger_entry SET hash = v WHERE id = e.id;
            END LOOP;
            UPDATE ledger_head SET hash = v;
        END $$""",
    )


def test_books_that_went_back_in_time_are_noticed(customer) -> None:
    alice = customer("alice", USDT=100)
    post(alice.id, 2)
    look()
    damage(
        "DELETE FROM ledger_line WHERE entry_id > 3",
        "DELETE FROM ledger_entry WHERE id > 3",
        "UPDATE ledger_head SET (entry_id, hash, recorded_at) ="
        " (SELECT id, hash, recorded_at FROM ledger_entry WHERE id = 3)",
        "UPDATE ledger_account a SET last_entry_id ="
        " coalesce((SELECT max(entry_id) FROM ledger_line WHERE account_id = a.id), 0)",
    )

    assert look("entries.whole") == {("entries.whole", "books")}
    assert ("entries.hash", "entry 5 as it was checked") in look("entries.hash")
    full()
    assert CheckMark.objects.get(pk="entries.whole").position == {"entry": 3}
    assert look("entries.whole") == {("entries.hash", "entry 5 as it was checked")}


def test_what_is_reported_is_what_was_done(customer) -> None:
    customer("alice", USDT=100)
    look()

    [report] = [item for item in reading.reports(now=NOW + timedelta(seconds=3)) if item.check.name == "lines.chain"]

    assert (report.seconds_ago, report.behind, report.breaks, report.is_late) == (3, 0, 0, False)
    late = reading.reports(now=NOW + timedelta(seconds=13))
    assert {item.check.name for item in late if item.is_late} >= {"lines.chain", "entries.hash"}
    summary = reading.summary()
    assert (summary.last_look_at, summary.behind, summary.breaks) == (NOW, 0, 0)
