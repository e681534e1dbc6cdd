"""`manage.py up`: every process of the exchange, with one command."""

import contextlib
import ipaddress
import signal
import socket
import subprocess
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import redis as redis_client
from django.conf import settings
from django.core.management import BaseCommand, CommandError, call_command
from django.db import Error, connection, connections
from django.db.migrations.executor import MigrationExecutor
from rich.text import Text
from setproctitle import setproctitle

from exchange.demo import seed
from exchange.embedded import addresses, folder, postgres, redis
from exchange.embedded.errors import EmbeddedServerError
from exchange.kernel.clock import utc_now
from exchange.kernel.errors import DomainError
from exchange.management import children, static_files, status_file
from exchange.management.children import Place
from exchange.management.console import Logs, Screen
from exchange.management.supervisor import Supervisor
from ledger.services import grants
from marketdata import shards
from matching_worker.protocol import SHARD_MAX
from trading import selectors
from trading.services import lease

ROUTINE_LOGGER, ROUTINE_LEVEL = "exchange.http", "info"
"""A line for each request that went well: the makers alone make several a second. Kept in the log file."""
SERVER_SECONDS_MAX = 5
PORT_MAX = 65535 - children.WORKER_PORT_OFFSET - SHARD_MAX


class Command(BaseCommand):
    """Start PostgreSQL, Redis, web, matching worker, background work and demo; keep them running."""

    help = "Start everything on this machine and keep it running until Ctrl-C."
    requires_system_checks: list[str] = []
    suppressed_base_arguments = {"--pythonpath", "--traceback", "--verbosity"}

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--port", type=int, default=8000, help="HTTP and WebSocket; worker health on port+80")
        parser.add_argument(
            folder.SHARDS_OPTION, type=int, default=settings.SHARDS,
            help="matching workers, each with its own log and instruments; health on port+80, +81, ... (default: 1)",
        )  # fmt: skip
        parser.add_argument(
            "--standby", action="store_true",
            help="a second matching worker for each shard, which takes over when the first dies or stalls",
        )  # fmt: skip
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on; the demo allows loopback only")
        parser.add_argument(folder.OPTION, default="", help="where everything is kept (default: var/)")
        parser.add_argument("--no-demo", action="store_true", help="no demo instruments, users and market makers")
        parser.add_argument("--reset", action="store_true", help="remove all data first (asks)")
        parser.add_argument("--all-logs", action="store_true", help="show every request, not only in var/log")
        parser.add_argument("--yes", action="store_true", help="with --reset: do not ask")

    def handle(self, *_: Any, **options: Any) -> None:
        """Check everything that can be checked before anything is started, then start and supervise."""
        setproctitle("exchange up")
        place = Place(settings.DATA_DIR, options["host"], options["port"], options["shards"], options["standby"])
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            _check_settings(place, options)
            _check_free(place)
            run = _Run(place, Screen(), all_logs=options["all_logs"])
            run.everything(reset=options["reset"], confirmed=options["yes"] or not options["reset"])
        except EmbeddedServerError as error:
            raise CommandError(str(error)) from error
        except KeyboardInterrupt:
            sys.stdout.write("Stopped.\n")


def _is_loopback(host: str) -> bool:
    """Tell whether an address is reachable from this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _check_settings(place: Place, options: dict[str, Any]) -> None:
    """Refuse what would put a demo, or a development server, before strangers."""
    if options["data_dir"] and Path(options["data_dir"]).expanduser().resolve() != place.data_dir:
        raise CommandError(f"Set {folder.VARIABLE}: the settings loaded before {folder.OPTION} was known.")
    if options["no_demo"] and settings.DEMO:
        raise CommandError("Set EXCHANGE_DEMO=0: the settings loaded before --no-demo was known.")
    if place.shards != settings.SHARDS:
        raise CommandError(
            f"Set {folder.SHARDS_VARIABLE}: the settings loaded before {folder.SHARDS_OPTION} was known."
        )
    if not 0 < place.port <= PORT_MAX:
        raise CommandError(f"--port must be between 1 and {PORT_MAX}.")
    if settings.DEMO and not _is_loopback(place.host):
        raise CommandError(
            f"The demo has known passwords and a faucet, so it listens on loopback only, not on {place.host}; "
            f"use --no-demo with production settings to listen elsewhere."
        )
    if settings.DEBUG and not _is_loopback(place.host):
        raise CommandError(
            f"With DEBUG on the exchange listens on loopback only, not on {place.host}; "
            f"set DJANGO_SETTINGS_MODULE=exchange.settings.prod."
        )
    kept = place.data_dir / "secret_key"
    if not settings.DEBUG and kept.exists() and kept.read_text() == settings.SECRET_KEY:
        raise CommandError("DEBUG is off, and SECRET_KEY is the development one; set a secret of your own.")
    signing = place.data_dir / "reserves_key"
    if not settings.DEBUG and signing.exists() and signing.read_text() == settings.RESERVES_SIGNING_KEY:
        raise CommandError("DEBUG is off, and RESERVES_SIGNING_KEY is the development one; set a key of your own.")
    if options["reset"] and not settings.EMBEDDED_POSTGRES:
        raise CommandError("--reset removes embedded data only, and DATABASE_URL names another server.")


def _check_free(place: Place) -> None:
    """Refuse a data folder that is in use and ports that are taken, before anything is started."""
    found = folder.holder(place.data_dir)
    if found is not None:
        raise CommandError(folder.in_use(place.data_dir))
    for host, port in ((place.host, place.port), *(("127.0.0.1", port) for port in place.worker_ports)):
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
        except OSError as error:
            use = f"up --port N needs N free, and from N+{children.WORKER_PORT_OFFSET} on one for each worker"
            raise CommandError(f"Port {port} on {host} cannot be used: {error.strerror or error} ({use}).") from error


class _Run:
    """One run of the exchange, from the first step to the last process stopped."""

    def __init__(self, place: Place, screen: Screen, *, all_logs: bool) -> None:
        self._place, self._screen, self._all_logs = place, screen, all_logs
        self._started_at = utc_now()
        self._logins: list[seed.Login] = []

    def everything(self, *, reset: bool, confirmed: bool) -> None:
        """Prepare, start, supervise, stop."""
        place, data_dir = self._place, self._place.data_dir
        folder.prepare(data_dir)
        with contextlib.ExitStack() as stack:
            stack.enter_context(folder.locked(data_dir, "up", url=place.url))
            if reset:
                self._reset(confirmed=confirmed)
            status_file.end_survivors(data_dir)
            logs = Logs(data_dir / "log")
            supervisor = self._supervisor(logs)
            stack.callback(status_file.path(data_dir).unlink, missing_ok=True)
            stack.callback(supervisor.stop)
            compiling = _compile_engine(stack)
            self._start_servers(supervisor, stack)
            self._prepare_database()
            with self._screen.step("Matching engine, compiled once for each version"):
                if compiling.wait():
                    raise CommandError("The matching engine cannot be compiled; what it says stands above.")
            connections.close_all()
            supervisor.run(all_ready=self._welcome)
        self._screen.say("Everything is stopped.")

    def _supervisor(self, logs: Logs) -> Supervisor:
        """Return the supervisor of all children, none of them started."""
        data_dir = self._place.data_dir
        own_logs = {children.POSTGRES, children.REDIS}

        def show(name: str, line: str) -> None:
            if self._all_logs or not (ROUTINE_LOGGER in line and ROUTINE_LEVEL in line):
                self._screen.line(name, line)
            if name not in own_logs:
                logs.write(name, line)

        def tell(name: str, sentence: str) -> None:
            self._screen.note(name, sentence)
            logs.write("up", f"{utc_now().isoformat()} {name} {sentence}")

        def changed() -> None:
            status_file.write(data_dir, supervisor, url=self._place.url, started_at=self._started_at)

        everyone = children.servers(self._place) + children.programs(self._place)
        supervisor = Supervisor(everyone, show=show, tell=tell, changed=changed)
        return supervisor

    def _reset(self, *, confirmed: bool) -> None:
        """Remove all data, once somebody has said so."""
        data_dir = self._place.data_dir
        if not confirmed:
            if not sys.stdin or not sys.stdin.isatty():
                raise CommandError("--reset asks first, and there is nobody to ask; add --yes.")
            answer = input(f"Remove all users, orders and books in {data_dir}? Type yes: ")
            if answer.strip().lower() != "yes":
                raise CommandError("Nothing was removed.")
        folder.wipe(data_dir)
        folder.prepare(data_dir)
        self._screen.say(f"Removed all data in {data_dir}.")

    def _start_servers(self, supervisor: Supervisor, stack: contextlib.ExitStack) -> None:
        """Start the embedded servers, or name those that are used instead."""
        data_dir = self._place.data_dir
        stack.callback(_leave_no_sockets, data_dir)
        if settings.EMBEDDED_POSTGRES:
            with self._screen.step("PostgreSQL 18") as remarks:
                remarks.append(str(addresses.postgres_dir(data_dir)))
                supervisor.adopt(children.POSTGRES, postgres.start(data_dir))
        if settings.EMBEDDED_REDIS:
            with self._screen.step("Redis"):
                supervisor.adopt(children.REDIS, redis.start(data_dir))
        _check_servers()

    def _prepare_database(self) -> None:
        """Bring tables and static files up to date, and make the demo."""
        with self._screen.step("Database tables") as remarks:
            executor = MigrationExecutor(connection)
            plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
            remarks.append(f"{len(plan)} migrations" if plan else "up to date")
            if plan:
                call_command("migrate", interactive=False, verbosity=0)
            grants.grant(connection, demo=settings.DEMO)
        self._prepare_shards()
        self._prepare_demo()
        with self._screen.step("Static files") as remarks:
            if not static_files.collect():
                remarks.append("unchanged")

    def _prepare_shards(self) -> None:
        """Open the log of every shard, and refuse to leave out one that is needed.

        A shard without a worker would take orders that nobody matches, and withdrawals would wait for its log for ever.
        """
        count = self._place.shards
        for number in range(count):
            lease.open_shard(number)
        left_out = [
            f"shard {shard} has {', '.join(symbols)}" for shard, symbols in shards.by_shard().items() if shard >= count
        ]
        left_out += [
            f"shard {item.shard} has {item.lag} commands that are not in the books"
            for item in selectors.lag()
            if item.shard >= count and item.lag
        ]
        if left_out:
            raise CommandError(f"{folder.SHARDS_OPTION} {count} is too few: {'; '.join(left_out)}.")
        for one in shards.disagreements():
            self._screen.note("up", str(one))

    def _prepare_demo(self) -> None:
        """Make the demo; or, without it, lock out the users whose password everybody knows."""
        if not settings.DEMO:
            if locked := seed.lock_out():
                self._screen.say(f"Demo users are locked out: {locked}")
            return
        with self._screen.step("Demo instruments, users and funds"):
            try:
                self._logins = seed.seed(now=utc_now())
            except DomainError as error:
                raise CommandError(str(error)) from error

    def _welcome(self) -> None:
        """Say that all is ready, and where."""
        url, say = self._place.url, self._screen.say
        say()
        say(Text("The exchange is ready.", style="bold green"))
        for title, path in (
            ("Terminal", "/trade/BTCUSDT" if settings.DEMO else "/"),
            ("Admin", "/admin/"),
            ("API", "/api/docs"),
        ):
            say(f"  {title:<9} {url}{path}")
        for login in self._logins:
            role = " (administrator)" if login.is_administrator else ""
            say(f"  Demo login: {login.username} / {login.password}{role}")
        say(f"Every line of every process is in {self._place.data_dir / 'log'}. Ctrl-C stops everything.")
        say()


def _compile_engine(stack: contextlib.ExitStack) -> "subprocess.Popen[bytes]":
    """Begin to compile the engine, beside everything else: half a minute once, then a fraction of a second."""
    command = [sys.executable, "-c", "from matching_worker.engine import Engine; Engine(0, 0)"]
    process = subprocess.Popen(command, cwd=settings.BASE_DIR)  # noqa: S603 -- our own constant command line
    stack.callback(process.wait)
    stack.callback(process.kill)
    return process


def _check_servers() -> None:
    """Ask both servers for a sign of life; for embedded ones it is a formality."""
    try:
        connection.ensure_connection()
    except Error as error:
        raise CommandError(f"PostgreSQL does not answer (DATABASE_URL): {str(error).splitlines()[0]}") from error
    client = redis_client.Redis.from_url(settings.REDIS_URL, socket_connect_timeout=SERVER_SECONDS_MAX)
    try:
        client.ping()
    except (redis_client.RedisError, OSError) as error:
        raise CommandError(f"Redis does not answer (REDIS_URL): {error}") from error
    finally:
        client.close()


def _leave_no_sockets(data_dir: Path) -> None:
    """Remove the folder of the sockets when nothing is left in it."""
    addresses.redis_socket(data_dir).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        addresses.socket_dir(data_dir).rmdir()
