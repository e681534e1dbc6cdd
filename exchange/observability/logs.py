"""Log lines of every process: JSON in production, coloured on a console, always with the trace id."""

import logging.config
from collections.abc import Mapping
from typing import Any

import structlog
from structlog.processors import ExceptionRenderer
from structlog.tracebacks import ExceptionDictTransformer

SHARED_PROCESSORS: tuple[Any, ...] = (
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.PositionalArgumentsFormatter(),
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.StackInfoRenderer(),
)
_TRACEBACKS = ExceptionDictTransformer(show_locals=False)
"""Without local variables: they hold passwords and tokens, and writing them out takes seconds."""

QUIET_LOGGERS = {
    "asyncio": "WARNING",
    "daphne.http_protocol": "WARNING",
    "daphne.ws_protocol": "WARNING",
    "celery.app.trace": "WARNING",
    "django.request": "ERROR",  # each request has its one line already
}


def configure(options: Mapping[str, Any]) -> None:
    """Set up structlog and the standard library's logging, so that both give the same lines.

    Args:
        options: "form" ("json" or "console") and "level".
    """
    renderers: list[Any] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if options["form"] == "json":
        renderers += [ExceptionRenderer(_TRACEBACKS), structlog.processors.JSONRenderer()]
    else:
        renderers.append(structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback))
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "line": {
                    "()": structlog.stdlib.ProcessorFormatter,
                    "foreign_pre_chain": list(SHARED_PROCESSORS),
                    "processors": renderers,
                }
            },
            "handlers": {"stream": {"class": "logging.StreamHandler", "formatter": "line"}},
            "root": {"handlers": ["stream"], "level": options["level"]},
            "loggers": {name: {"level": level} for name, level in QUIET_LOGGERS.items()},
        }
    )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *SHARED_PROCESSORS,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
