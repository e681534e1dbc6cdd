"""Runs the set-based statements of the order's road: server-side parameters, in pipelines.

Note [By the keys]
    The plan of a statement of the road is made once for each connection, by what its tables held then: often nothing
    yet. To join the rows that were given with a table looks cheap by reading the whole table as long as that is small,
    and the plan stays while it grows, until the table is next analysed. So a statement says that it wants rows by their
    keys. One that reads looks each up: LATERAL, with OFFSET 0, which the planner does not take apart. One that updates
    names its keys twice, in the join and in `= ANY`, by which the index is read.
"""

import functools
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from decimal import Decimal
from typing import Any, TypeVar

import orjson
import psycopg
from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connection, connections, transaction
from psycopg import errors, pq

from exchange import pipeline

T = TypeVar("T")
Statement = tuple[str, Sequence[Any]]
Reading = Generator[Sequence[Statement | None], list[list[tuple[Any, ...]]], T]
"""Yields its statements, once; is sent their rows, none for None; and returns what they mean. `read` runs it."""


def cursor() -> Any:
    """Return a cursor that binds on the server (arrays travel once, as arrays) and is counted like Django's own.

    Its rows come as texts: of the binary form a number with decimals takes several times as long to read, and rows on
    the road have more of these than of what is read faster from there.
    """
    current = connections[DEFAULT_DB_ALIAS]  # `connection` asks for it anew with each of its attributes
    current.ensure_connection()
    raw: psycopg.Cursor[Any] = psycopg.Cursor(current.connection)
    if current.queries_logged:
        return current.make_debug_cursor(raw)  # type: ignore[arg-type]
    return current.make_cursor(raw)  # type: ignore[arg-type]


@contextmanager
def pipelined_transaction() -> Iterator[None]:
    """Open a transaction whose statements are sent without waiting for each other, BEGIN and COMMIT with them.

    A statement is waited for only when its rows are fetched. An error shows at the next fetch or at COMMIT. The
    pipeline stands inside of Django's transaction and not around it, and sends BEGIN and COMMIT itself: within a
    pipeline the driver waits for the database when it begins a transaction, at each change of autocommit, and once
    more at the pipeline's end. What is left to Django finds the transaction committed.
    """
    connection.ensure_connection()
    is_outermost = not connection.in_atomic_block
    with transaction.atomic(), connection.wrap_database_errors:
        driver = connection.connection
        if is_outermost:
            driver.autocommit = True  # as far as the driver knows: then it leaves BEGIN to us
        with driver.pipeline():
            if is_outermost:
                pipeline.send(driver, "BEGIN", (), prepare=False)
            yield
            if is_outermost and not connection.needs_rollback:
                pipeline.send(driver, "COMMIT", (), prepare=False)


class Answer:
    """A statement that was sent, and whose rows can be asked for: within its pipeline, or after it."""

    __slots__ = ("_found", "_read")

    def __init__(self, read: Callable[[], list[tuple[Any, ...]]]) -> None:
        self._read = read
        self._found: list[tuple[Any, ...]] | None = None

    def rows(self) -> list[tuple[Any, ...]]:
        """Return the rows, waiting for them if they have not come."""
        if self._found is None:
            with connection.wrap_database_errors:
                self._found = self._read()
        return self._found


def send(sql: str, *params: Any) -> Answer:
    """Send a statement; within a pipeline nothing is waited for, and what is sent together goes out together.

    Where every statement is recorded or a parameter is of a rare type it goes by a cursor: Note [Without cursors] in
    `exchange.pipeline`.
    """
    current = connections[DEFAULT_DB_ALIAS]  # `connection` asks for it anew with each of its attributes
    driver = current.connection
    if driver is not None and driver._pipeline is not None and not current.queries_logged:  # noqa: SLF001
        written = pipeline.written(params)
        begun = driver.autocommit or driver.pgconn.transaction_status != pq.TransactionStatus.IDLE
        if written is not None and begun and not current.needs_rollback:
            if current.execute_wrappers:
                return Answer(_watched(current, sql, params, written).rows)
            with current.wrap_database_errors:
                return Answer(pipeline.send(driver, sql, written).rows)
    used = cursor()
    used.execute(sql, params)
    return Answer(used.cursor.fetchall)


def _watched(current: Any, sql: str, params: Sequence[Any], written: Sequence[pipeline.Written]) -> pipeline.Sent:
    """Send a statement through those who watch what is executed, as Django's cursors do."""

    def sent(sql: str, *_: Any) -> pipeline.Sent:
        with current.wrap_database_errors:
            return pipeline.send(current.connection, sql, written)

    for wrapper in reversed(current.execute_wrappers):
        sent = functools.partial(wrapper, sent)
    return sent(sql, params, False, {"connection": current, "cursor": None})


def execute(sql: str, *params: Any) -> None:
    """Send a statement whose rows nobody needs."""
    send(sql, *params)


def fetch(*statements: Statement) -> list[list[tuple[Any, ...]]]:
    """Run statements in order, in one round trip inside a pipeline; return the rows of each."""
    sent = [send(sql, *params) for sql, params in statements]
    return [answer.rows() for answer in sent]


def fetch_those(*statements: Statement | None) -> list[list[tuple[Any, ...]]]:
    """Run the statements that there are, as `fetch`; what is None has no rows."""
    answers = iter(fetch(*(statement for statement in statements if statement is not None)))
    return [[] if statement is None else next(answers) for statement in statements]


def read(*readings: Reading[Any]) -> list[Any]:
    """Run the statements of several readings, in one round trip inside a pipeline; return what each has found.

    So who reads for a batch need not know by which statements others find theirs, nor wait for each.
    """
    asked = [next(one) for one in readings]
    rows = iter(fetch_those(*(statement for statements in asked for statement in statements)))
    found = []
    for one, statements in zip(readings, asked, strict=True):
        try:
            one.send([next(rows) for _ in statements])
        except StopIteration as end:
            found.append(end.value)
    return found


def columns(rows: Sequence[Sequence[Any]], width: int) -> list[str]:
    """Turn rows into columns for unnest, also when there are none: each an `array`."""
    return [array(column) for column in zip(*rows, strict=True)] if rows else ["{}"] * width


def array(values: Sequence[Any]) -> str:
    """Write values as PostgreSQL's text of an array; the statement says of what, or compares with a column.

    The driver writes arrays item by item, and each quotation mark inside an item by a regular expression: for a batch
    of JSON texts that took half of all the time that an order's admission and settlement need, measured.

    Raises:
        TypeError: A value is of a type that the order's road has no use for, such as float, or a whole number that no
            bigint holds.
    """
    kinds = set(map(type, values))
    if kinds == {str}:
        return _texts(values)
    if kinds <= _WHOLE_OR_NULL:  # in a third of the time of `str`
        return "{" + orjson.dumps(values)[1:-1].decode() + "}"
    if kinds <= _PLAIN_OR_NULL:
        has_null = type(None) in kinds
        texts = ["NULL" if value is None else str(value) for value in values] if has_null else map(str, values)
        return "{" + ",".join(texts) + "}"
    if kinds == {bytes}:
        return '{"\\\\x' + '","\\\\x'.join(map(bytes.hex, values)) + '"}'
    if all(kind in _REPEATED or issubclass(kind, str) for kind in kinds):  # few different ones: each is written once
        written = {value: _item(value) for value in set(values)}
        return "{" + ",".join(map(written.__getitem__, values)) + "}"
    return "{" + ",".join([_item(value) for value in values]) + "}"


_WHOLE_OR_NULL = {int, type(None)}
"""Written by JSON as PostgreSQL reads them, in whatever case NULL is."""

_PLAIN_OR_NULL = {*_WHOLE_OR_NULL, Decimal}
"""Written as they are."""

_REPEATED = {datetime, type(None), bool}
"""Of which a batch has the same ones again and again; not mixed with numbers, of which 0 and 1 equal flags."""


def documents(values: Iterable[Any]) -> str:
    """Write values as JSON texts for DOCUMENTS: what JSON never has stands between them, so nothing is escaped."""
    return joined(map(orjson.dumps, values))


def joined(texts: Iterable[bytes]) -> str:
    """Write JSON texts for DOCUMENTS."""
    return _BETWEEN.encode().join(texts).decode()


DOCUMENTS = "string_to_array(%s, chr(31))"
"""The array of texts that `documents` has written."""


def _texts(values: Sequence[str]) -> str:
    """Write an array of texts, all of them escaped at once."""
    joined = _BETWEEN.join(values)
    if joined.count(_BETWEEN) != len(values) - 1:
        return "{" + ",".join(map(_text, values)) + "}"
    return '{"' + joined.replace("\\", "\\\\").replace('"', '\\"').replace(_BETWEEN, '","') + '"}'


_BETWEEN = "\x1f"


def _text(value: str) -> str:
    """Write one text."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _item(value: Any) -> str:
    """Write one value."""
    write = _WRITERS.get(type(value))
    if write is None:  # words and numbers of enumerations
        write = next((found for kind, found in _WRITERS.items() if isinstance(value, kind)), None)
    if write is None:
        raise TypeError(f"no {type(value).__name__} in an array")
    return write(value)


_WRITERS: dict[type, Callable[[Any], str]] = {
    str: lambda value: _text(str(value)),
    type(None): lambda _: "NULL",
    Decimal: str,
    bool: lambda value: "t" if value else "f",
    int: lambda value: str(int(value)),
    datetime: lambda value: f'"{value.isoformat()}"',
    date: date.isoformat,
    bytes: lambda value: f'"\\\\x{value.hex()}"',
}


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


def was_too_slow(error: BaseException, seconds: float) -> bool:
    """Tell whether the database ended a transaction, and its connection, because it took longer than it may.

    Mostly the driver finds nothing but a connection that is closed; then the time tells it from other losses. Whether
    COMMIT came through first is not known.

    Args:
        seconds: For how long the transaction and its preparation lasted.
    """
    cause = error.__cause__
    if isinstance(cause, errors.TransactionTimeout | errors.IdleInTransactionSessionTimeout):
        return True
    is_lost = isinstance(cause, psycopg.OperationalError) and cause.sqlstate is None
    return is_lost and seconds >= settings.TRANSACTION_TIMEOUT_MS / 1000


def is_stale(error: BaseException) -> bool:
    """Tell whether the transaction was undone because what it had read before has changed: read anew, try again."""
    return isinstance(error.__cause__, errors.SerializationFailure)
