"""`manage.py run_matching_worker`: the process that holds one shard's books in memory."""

import errno
import os
import signal
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management import BaseCommand, CommandError
from setproctitle import setproctitle

from matching_worker import affinity
from matching_worker.book import compiled
from matching_worker.process import WorkerProcess
from matching_worker.protocol import SHARD_MAX
from matching_worker.shard import LogMismatchError
from matching_worker.stages import STAGES
from matching_worker.wal import WalError
from trading.services.lease import LeaseHeldError


class Command(BaseCommand):
    """Match one shard's orders until told to stop."""

    help = "Run the matching worker of one shard until SIGTERM or Ctrl-C."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--shard", type=int, default=0)
        parser.add_argument(
            "--http-port",
            type=int,
            help="/health and /metrics (default: $EXCHANGE_WORKER_PORT or 8080, plus the shard)",
        )
        parser.add_argument(
            "--standby",
            action="store_true",
            help="while another worker has the shard, follow it, and take over when it dies or stalls",
        )
        parser.add_argument(
            "--cores",
            default=os.environ.get(affinity.SETTING, ""),
            help="processors of stages, as match=1,journal=0 (default: $" + affinity.SETTING + ", or any processor)",
        )

    def handle(self, *_: Any, **options: Any) -> None:
        """Run until stopped; what stands in the way of starting is one clear line."""
        number = options["shard"]
        if not 0 <= number <= SHARD_MAX:
            raise CommandError(f"Shard {number} is outside 0 to {SHARD_MAX}.")
        port = settings.WORKER_HTTP_PORT + number if options["http_port"] is None else options["http_port"]
        setproctitle(f"exchange matching worker, shard {number}")
        try:
            cores = affinity.parse(options["cores"], STAGES)
        except affinity.AffinityError as error:
            raise CommandError(str(error)) from error
        if not compiled.is_cached():
            self.stdout.write("Compiling the matching engine: half a minute or so, once for this version.")
            self.stdout.flush()
        process = WorkerProcess(
            number,
            wal_dir=settings.WAL_DIR / f"shard-{number}",
            redis_url=settings.REDIS_URL,
            http_port=port,
            cores=cores,
            standby=options["standby"],
        )
        for wanted in (signal.SIGTERM, signal.SIGINT):
            signal.signal(wanted, lambda *_: process.stop())
        try:
            process.run()
        except (LogMismatchError, WalError, LeaseHeldError) as error:
            raise CommandError(str(error)) from error
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            raise CommandError(f"Port {port} is in use: --http-port names another.") from error
