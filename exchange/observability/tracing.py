"""The trace id of what is being done: from the request's header or new, in every log line under it."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from exchange.kernel.clock import now_ns
from exchange.kernel.ids import trace_id

_SAFE = re.compile(r"[0-9a-f]{16,28}")


@contextmanager
def traced(given: str | None = None) -> Iterator[str]:
    """Work under a trace id: the caller's own when it is one, else a new one.

    Args:
        given: What the caller sent; anything but 16 to 28 hex digits is replaced, since it goes into logs.
    """
    trace = given if given and _SAFE.fullmatch(given) else trace_id(now_ns())
    with structlog.contextvars.bound_contextvars(trace_id=trace):
        yield trace


def current_trace() -> str:
    """Return the trace id of what is being done, or a new one outside any."""
    bound: str | None = structlog.contextvars.get_contextvars().get("trace_id")
    return bound or trace_id(now_ns())
