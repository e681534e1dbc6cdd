from django.db import connection
from structlog.testing import capture_logs

from ledger import audit
from ledger.tasks import audit_books


def test_the_nightly_audit_says_that_the_books_are_whole(customer) -> None:
    customer("alice", USDT=100)

    with capture_logs() as logs:
        audit_books(argument_of_a_newer_release=1)

    assert audit_books.name == "ledger.tasks.audit_books"
    assert logs == [{"event": "books_whole", "invariants": len(audit.CHECKS), "log_level": "info"}]


def test_the_nightly_audit_names_what_is_broken(customer) -> None:
    customer("alice", USDT=100)
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute("UPDATE ledger_head SET entry_id = 9")

    with capture_logs() as logs:
        audit_books()

    assert logs == [
        {
            "event": "books_broken",
            "invariant": "the head is the last entry",
            "detail": "head at 9, last entry 1",
            "log_level": "critical",
        }
    ]
