"""Runs the set-based statements of the order's road: server-side parameters, in pipelines."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from django.db import connection, transaction
from psycopg import errors


def cursor() -> Any:
    """Return a cursor that binds on the server (arrays travel once, as arrays) and is counted like Django's own."""
    connection.ensure_connection()
    raw: psycopg.Cursor[Any] = psycopg.Cursor(connection.connection)
    if connection.queries_logged:
        return connection.make_debug_cursor(raw)  # type: ignore[arg-type]
    return connection.make_cursor(raw)  # type: ignore[arg-type]


@contextmanager
def pipelined_transaction() -> Iterator[None]:
    """Open a transaction whose statements are sent without waiting for each other, COMMIT with the last of them.

    A statement is waited for only when its rows are fetched. An error shows at the next fetch or at COMMIT.
    """
    connection.ensure_connection()
    with connection.connection.pipeline(), transaction.atomic():
        yield


def execute(sql: str, *params: Any) -> None:
    """Send a statement whose rows nobody needs."""
    cursor().execute(sql, params)


def fetch(*statements: tuple[str, Sequence[Any]]) -> list[list[tuple[Any, ...]]]:
    """Run statements in order, in one round trip inside a pipeline; return the rows of each."""
    cursors = []
    for sql, params in statements:
        current = cursor()
        current.execute(sql, params)
        cursors.append(current)
    return [current.fetchall() for current in cursors]


def columns(rows: Sequence[Sequence[Any]], width: int) -> list[list[Any]]:
    """Turn rows into columns for unnest, also when there are none."""
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(width)]


_REFUSALS = psycopg.IntegrityError | psycopg.DataError | errors.InsufficientPrivilege | errors.RaiseException


def is_refusal(error: BaseException | None) -> bool:
    """Tell whether the database refused what it was given: a rule, a value, a right.

    Not that it was away, busy, too slow or damaged, and not that it knows no such table or function: these say nothing
    of what was given, and would say the same of anything.

    Args:
        error: Of Django or of psycopg, or one that was raised from such an error.
    """
    while error is not None and not isinstance(error, psycopg.Error):
        error = error.__cause__
    return isinstance(error, _REFUSALS)


def is_undone(error: BaseException) -> bool:
    """Tell whether a lock that did not come in time undid the transaction, so that it may simply be tried again."""
    return isinstance(error.__cause__, errors.LockNotAvailable | errors.DeadlockDetected)
