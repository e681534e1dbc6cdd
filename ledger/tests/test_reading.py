"""Statements may take longer than the web's transactions, and can write nothing meanwhile."""

import pytest
from django.db import InternalError, connection

from ledger.models import FinanceLog
from ledger.reports import reading
from ledger.reports.fees import Step
from ledger.reports.scopes import Scope
from ledger.services import finance_log
from ledger.statement_catalogue import CATALOGUE
from ledger.tests.history import march


@pytest.mark.django_db(transaction=True)
def test_a_statement_outlasts_the_limit_of_those_who_hold_locks() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET transaction_timeout = '200ms'")
        try:
            with reading.patiently():
                cursor.execute("SELECT pg_sleep(0.5), current_setting('transaction_timeout')")
                assert cursor.fetchone()[1] == f"{reading.SECONDS_MAX}s"
            cursor.execute("SELECT current_setting('transaction_timeout')")
            assert cursor.fetchone()[0] == "200ms"
        finally:
            cursor.execute("RESET transaction_timeout")


@pytest.mark.django_db(transaction=True)
def test_a_statement_may_read_whole_tables_and_an_order_s_statements_may_not() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET enable_seqscan = off")  # as the online roles have it
        try:
            with reading.patiently():
                cursor.execute("SELECT current_setting('enable_seqscan')")
                assert cursor.fetchone()[0] == "on"
            cursor.execute("SELECT current_setting('enable_seqscan')")
            assert cursor.fetchone()[0] == "off"
        finally:
            cursor.execute("RESET enable_seqscan")


@pytest.mark.django_db
def test_nothing_is_written_while_a_statement_is_read() -> None:
    with pytest.raises(InternalError), reading.patiently():
        finance_log.record("test.done", now=march(1))

    finance_log.record("test.done", now=march(1))
    assert FinanceLog.objects.count() == 1


@pytest.mark.django_db
@pytest.mark.parametrize("role", ["exchange_web", "exchange_back_office"])
def test_the_roles_of_the_processes_may_read_every_statement(people, role) -> None:
    asked: dict[str, object] = {
        "from": None,
        "to": None,
        "at": None,
        "asset": None,
        "zeros": False,
        "holds": False,
        "step": Step.MONTH,
    }
    asked |= {"scope": Scope.USERS, "owner": people[0].id, "compare": None, "code": "", "sub": None, "account": None}
    with connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL ROLE {role}")
        found = {name: list(statement.document(asked).rows) for name, statement in CATALOGUE.items()}
        cursor.execute("RESET ROLE")

    assert [name for name, rows in found.items() if not rows] == []
