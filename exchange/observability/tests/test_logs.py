import io
import json
import logging
import logging.config
import secrets
from collections.abc import Iterator

import pytest
import structlog
from django.conf import settings

from exchange.observability import logs
from exchange.observability.tracing import current_trace, traced


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """Log as production does, into memory; afterwards as the tests do again."""
    logs.configure({"form": "json", "level": "INFO"})
    [handler] = [found for found in logging.getLogger().handlers if type(found) is logging.StreamHandler]
    stream = io.StringIO()
    handler.setStream(stream)
    yield stream
    logs.configure(settings.LOGGING)


def test_production_lines_are_json_with_the_trace_id(lines: io.StringIO) -> None:
    with traced("0123456789abcdef"):
        structlog.get_logger("exchange.test").info("order_placed", order_id=7)
        logging.getLogger("library").warning("from a library, %s", "too")

    first, second = (json.loads(line) for line in lines.getvalue().splitlines())
    assert (first["event"], first["order_id"], first["level"], first["logger"]) == (
        "order_placed",
        7,
        "info",
        "exchange.test",
    )
    assert (second["event"], second["level"]) == ("from a library, too", "warning")
    assert first["trace_id"] == second["trace_id"] == "0123456789abcdef"


def test_an_exception_is_one_line_with_its_traceback(lines: io.StringIO) -> None:
    try:
        int("wrong")
    except ValueError:
        structlog.get_logger("exchange.test").exception("failed")

    [line] = lines.getvalue().splitlines()
    assert json.loads(line)["exception"][0]["exc_type"] == "ValueError"


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_traceback_tells_no_local_variables(lines: io.StringIO, form: str) -> None:
    logs.configure({"form": form, "level": "INFO"})
    [handler] = [found for found in logging.getLogger().handlers if type(found) is logging.StreamHandler]
    handler.setStream(lines)
    password = secrets.token_hex(8)
    try:
        int("x" * len(password))
    except ValueError:
        structlog.get_logger("exchange.test").exception("failed")

    assert "ValueError" in lines.getvalue()
    assert password not in lines.getvalue()


@pytest.mark.parametrize("given", ["", None, "short", "x" * 20, "0" * 29, "0123456789abcdef\n", "0123456789ABCDEF"])
def test_a_trace_id_that_is_none_is_replaced(given: str | None) -> None:
    with traced(given) as trace:
        assert trace != given
        assert len(trace) == 28
        assert current_trace() == trace


def test_a_trace_inside_another_ends_with_what_it_was_for() -> None:
    with traced() as outer:
        with traced() as inner:
            assert current_trace() == inner != outer
        assert current_trace() == outer


def test_outside_any_request_each_trace_is_new() -> None:
    assert current_trace() != current_trace()
