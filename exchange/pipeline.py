"""Sends the statements of a pipeline without a cursor each: what the order's road needs of a cursor, and no more.

Note [Without cursors]
    An order that comes alone is admitted and settled by some forty statements. A cursor of Django's around one of
    psycopg's takes 60 microseconds of Python for each, twice that on a processor that has had other work meanwhile, and
    psycopg sends each by itself. Here a statement is written into the connection's buffer, and what was written goes
    out together: when rows are waited for, at the transaction's end, or when there is enough of it that the database
    should begin. psycopg keeps what matters: its pipeline hands out the results and raises errors, its manager knows
    which statements the connection has prepared, its transformer reads the rows.

    This is the only module that knows psycopg's inside, whose version is pinned. What cannot be sent this way goes by a
    cursor: `exchange.database` decides.
"""

import functools
from collections.abc import Callable, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final, NamedTuple

import psycopg
from psycopg import adapt, errors, pq
from psycopg._preparing import Prepare

SENT_AT_ONCE_BYTES: Final = 4096
"""So much is not kept for what follows: the database shall work on it meanwhile."""

_READER: Final = "_exchange_reader"
_GOOD = (pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK)
_TEXT, _BINARY = pq.Format.TEXT, pq.Format.BINARY
_SMALL, _MIDDLE, _BIG = 1 << 15, 1 << 31, 1 << 63

Written = tuple[bytes | memoryview | None, int, pq.Format]
"""A parameter as it is sent: its bytes, the number of its type, its format."""


def _whole(value: int) -> Written:
    """Write a whole number as psycopg does: in the smallest type that holds it."""
    if -_SMALL <= value < _SMALL:
        kind = 21
    elif -_MIDDLE <= value < _MIDDLE:
        kind = 23
    else:
        kind = 20 if -_BIG <= value < _BIG else 1700
    return b"%d" % value, kind, _TEXT


_WRITERS: Final[dict[type, Callable[[Any], Written]]] = {
    str: lambda value: (value.encode(), 0, _TEXT),
    int: _whole,
    type(None): lambda _: (None, 0, _TEXT),
    bool: lambda value: (b"t" if value else b"f", 16, _TEXT),
    bytes: lambda value: (value, 17, _BINARY),
    datetime: lambda value: (value.isoformat().encode(), 1184, _TEXT),
    date: lambda value: (value.isoformat().encode(), 1082, _TEXT),
    Decimal: lambda value: (str(value).encode(), 1700, _TEXT),
}
"""By type. Types as in pg_type: a text has none of its own, so that the statement says what it is."""


class _Query(NamedTuple):
    """A statement as the connection's manager of prepared statements wants to know it."""

    query: bytes
    types: tuple[int, ...]


@functools.lru_cache(maxsize=1_000)
def _query(sql: str, types: tuple[int, ...]) -> _Query:
    """Return a statement with numbered parameters."""
    first, *others = sql.split("%s")
    numbered = first + "".join(f"${number}{text}" for number, text in enumerate(others, start=1))
    return _Query(numbered.replace("%%", "%").encode(), types)


def written(params: Sequence[Any]) -> list[Written] | None:
    """Write parameters; None when a cursor must write, or refuse, one: of another type, a time without zone, NUL."""
    found = []
    for value in params:
        write = _WRITERS.get(type(value))
        if write is None or (type(value) is datetime and value.tzinfo is None):
            return None
        if type(value) is str and "\0" in value:  # libpq would send what stands before it
            return None
        found.append(write(value))
    return found


class Sent:
    """A statement that was sent; the pipeline hands it its results as it does to a cursor."""

    __slots__ = ("_conn", "_result")

    def __init__(self, connection: "psycopg.Connection[Any]") -> None:
        self._conn = connection
        self._result: Any = None

    def rows(self) -> list[tuple[Any, ...]]:
        """Return the statement's rows, waiting for them if the pipeline still stands."""
        connection = self._conn
        pipeline = connection._pipeline  # noqa: SLF001 -- Note [Without cursors]
        if self._result is None and pipeline is not None:
            with connection.lock:
                if pipeline.command_queue:
                    connection.wait(pipeline._communicate_gen())  # noqa: SLF001 -- as above
                connection.wait(pipeline._fetch_gen(flush=True))  # noqa: SLF001 -- as above
        reader = getattr(connection, _READER, None)
        if reader is None:  # it knows its connection: kept anywhere else, it would keep that for ever
            reader = adapt.Transformer(connection)
            setattr(connection, _READER, reader)
        reader.set_pgresult(self._result)
        return reader.load_rows(0, self._result.ntuples, tuple)

    def _check_results(self, results: "Sequence[pq.abc.PGresult]") -> None:
        """Raise what the database answered, if it is an error."""
        for result in results:
            if result.status in _GOOD:
                continue
            if result.status == pq.ExecStatus.PIPELINE_ABORTED:
                raise errors.PipelineAborted("pipeline aborted")
            raise errors.error_from_result(result)

    def _set_results(self, results: "Sequence[pq.abc.PGresult]") -> None:
        """Keep the result."""
        [self._result] = results


def send(connection: "psycopg.Connection[Any]", sql: str, params: Sequence[Written], *, prepare: bool = True) -> Sent:
    """Send a statement of the connection's pipeline, prepared at its first use where the connection prepares any.

    Args:
        connection: With a pipeline, inside a transaction or about to begin one.
    """
    query = _query(sql, tuple([kind for _, kind, _ in params]))
    values = [value for value, _, _ in params]
    formats = [form for _, _, form in params]
    sent = Sent(connection)
    with connection.lock:
        pipeline: Any = connection._pipeline  # noqa: SLF001 -- Note [Without cursors]
        driver, prepared, waiting = connection.pgconn, connection._prepared, pipeline.result_queue  # noqa: SLF001
        if prepared._to_flush:  # noqa: SLF001 -- a rollback or a full cache; before any name is used again
            connection.wait(prepared.maintain_gen(connection))
        if pipeline.command_queue:  # of cursors: first what came first
            connection.wait(pipeline._communicate_gen())  # noqa: SLF001
        how, name = prepared.get(query, prepare if connection.prepare_threshold is not None else False)  # type: ignore[arg-type]
        if how is Prepare.NO:
            driver.send_query_params(query.query, values, query.types, formats, _TEXT)
        else:
            if how is Prepare.SHOULD:
                driver.send_prepare(name, query.query, query.types)
                waiting.append(None)
            driver.send_query_prepared(name, values, formats, _TEXT)
        key = prepared.maybe_add_to_cache(query, how, name)  # type: ignore[arg-type]
        waiting.append((sent, None if key is None else (key, how, name)))
        if sum([len(value) for value in values if value is not None]) >= SENT_AT_ONCE_BYTES:
            driver.flush()
    return sent
