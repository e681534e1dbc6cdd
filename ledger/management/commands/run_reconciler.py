"""`manage.py run_reconciler`: looks at what is new, every few seconds, until it is stopped."""

import signal
import threading
from argparse import ArgumentParser
from typing import Any, Final

import structlog
from django.core.management import BaseCommand
from django.db import DatabaseError, connection

from exchange.kernel.clock import utc_now
from ledger.reconciliation import runner
from ledger.reconciliation.checks import LOOK_SECONDS
from ledger.reconciliation.models import ReconciliationRun, RunKind

logger = structlog.get_logger(__name__)

RETRY_SECONDS: Final = 5.0


class Command(BaseCommand):
    """The continuous reconciliation. A second one waits, and takes over when the first has ended."""

    help = "Reconcile continuously: look at what is new, every few seconds."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare how often."""
        parser.add_argument("--seconds", type=int, default=LOOK_SECONDS, help="from one round to the next")

    def handle(self, *_: Any, **options: Any) -> None:
        """Work until SIGTERM or SIGINT."""
        stopping = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stopping.set())
        memory: dict[str, dict[str, Any]] = {}
        run: ReconciliationRun | None = None
        while not stopping.is_set():
            try:
                run = run or runner.start(RunKind.CONTINUOUS, now=utc_now())
                results = runner.look(run, now=utc_now(), memory=memory)
            except DatabaseError:
                logger.exception("reconciliation_round_failed")
                connection.close()
                stopping.wait(RETRY_SECONDS)
                continue
            is_behind = results is not None and any(result.behind for result in results)
            if not is_behind:
                stopping.wait(options["seconds"])
        if run is not None:
            runner.finish(run, now=utc_now())
