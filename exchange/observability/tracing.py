"""The trace id of what is being done: from the request's header or new, in every log line under it."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import structlog

from exchange.kernel.clock import now_ns
from exchange.kernel.ids import trace_id

_SAFE = re.compile(r"[0-9a-f]{16,28}")
_current: ContextVar[str] = ContextVar("trace", default="")
"""What the log lines are bound to besides. To ask the log's own variables looks through all that the context has, and
each order of a batch asks."""


@contextmanager
def traced(given: str | None = None) -> Iterator[str]:
    """Work under a trace id: the caller's own when it is one, else a new one.

    Args:
        given: What the caller sent; anything but 16 to 28 hex digits is replaced, since it goes into logs.
    """
    trace = given if given and _SAFE.fullmatch(given) else trace_id(now_ns())
    before = _current.set(trace)
    try:
        with structlog.contextvars.bound_contextvars(trace_id=trace):
            yield trace
    finally:
        _current.reset(before)


def current_trace() -> str:
    """Return the trace id of what is being done, or a new one outside any."""
    return _current.get() or trace_id(now_ns())
