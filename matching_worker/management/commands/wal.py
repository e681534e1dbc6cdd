"""`manage.py wal inspect|verify|dump|cut`: what an operator does with a shard's write-ahead log."""

from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Final, cast

import orjson
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from rich.console import Console
from rich.table import Table

from exchange.kernel.clock import utc_now
from matching_worker import inspection, wal_cut
from matching_worker.wal import NO_CHAIN_HASH, Tail, WalError, read
from trading.services import command_log, lease

TABLE_WIDTH: Final = 120

DAMAGED: Final = 1
"""Return code when the WAL is damaged."""

OPERATOR_SECONDS: Final = 3600.0
"""How long the lease waits for an operator's answer and the cut."""


class Command(BaseCommand):
    """Only `cut` needs the database, and only `cut` changes anything."""

    help = "Inspect, verify, dump or cut the write-ahead log of a shard."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare one parser for each action."""
        actions = parser.add_subparsers(dest="action", required=True)
        inspect = actions.add_parser("inspect", help="list the segments and what is wrong with them")
        verify = actions.add_parser("verify", help="check every byte; return code 1 when something is damaged")
        dump = actions.add_parser("dump", help="print every command, and the trades that it made")
        dump.add_argument("--after", type=int, default=0, help="leave out commands up to this sequence")
        dump.add_argument("--limit", type=int, default=0, help="stop after so many entries")
        dump.add_argument("--no-trades", action="store_true", help="print commands only; needs no replay")
        dump.add_argument("--stream-epoch", type=int, help="of trade ids; default: the snapshot's, 0 without one")
        cut = actions.add_parser("cut", help="for a database that went back in time: cut what the log no longer has")
        cut.add_argument("--after", type=int, help="the last command to stay; left out: say where WAL and log agree")
        cut.add_argument("--yes", action="store_true", help="do not ask")
        for action in (inspect, verify, dump, cut):
            action.add_argument("--shard", type=int, default=0)
            action.add_argument("--directory", type=Path, help="the WAL's folder; default: the shard's")
            action.add_argument("--json", action="store_true", help="print JSON, one object a line")

    def handle(self, *, action: str, shard: int, directory: Path | None, **options: Any) -> None:
        """Run an action; what is wrong with the WAL is one clear line.

        Raises:
            CommandError: The WAL is damaged, or the action cannot be done.
        """
        folder = directory or settings.WAL_DIR / f"shard-{shard}"
        if not folder.is_dir():
            raise CommandError(f"{folder}: there is no WAL here")
        actions: dict[str, Callable[..., None]] = {
            "inspect": self._inspect,
            "verify": self._verify,
            "dump": self._dump,
            "cut": self._cut,
        }
        try:
            actions[action](folder, shard, **options)
        except (WalError, lease.LeaseHeldError) as error:
            raise CommandError(str(error), returncode=DAMAGED) from error
        except BrokenPipeError:
            return

    def _say(self, value: dict[str, Any]) -> None:
        """Print one line of JSON."""
        self.stdout.write(orjson.dumps(value).decode())

    def _inspect(self, folder: Path, shard: int, *, json: bool, **_: Any) -> None:
        """List the segments."""
        found = inspection.segments(folder, shard)
        if json:
            for segment in found:
                self._say(segment._asdict())
        else:
            table = Table(title=f"{folder}: {len(found)} segments")
            for heading in ("file", "version", "epoch", "first", "last", "frames", "bytes", "state"):
                table.add_column(heading, justify="left" if heading in {"file", "state"} else "right")
            for row in found:
                numbers = (row.version, row.epoch, row.first, row.last, row.frames, row.bytes)
                table.add_row(row.file, *(f"{number:,}" for number in numbers), row.state)
            Console(file=cast("IO[str]", self.stdout), width=TABLE_WIDTH).print(table)
        damaged = [segment.detail for segment in found if segment.state == "damaged"]
        if damaged:
            raise CommandError("\n".join(damaged), returncode=DAMAGED)

    def _verify(self, folder: Path, shard: int, *, json: bool, **_: Any) -> None:
        """Check everything."""
        try:
            found = inspection.verify(folder, shard)
        except WalError as error:
            if json:
                self._say({"ok": False, "detail": str(error)})
            raise
        if json:
            self._say({"ok": True} | found._asdict())
            return
        self.stdout.write(
            f"{folder}: {found.segments} segments, {found.commands:,} commands ({found.first} to {found.last}): whole"
        )
        if found.torn:
            self.stdout.write(found.torn)
        for name in found.void:
            self.stdout.write(f"{name}: void, written by a worker that had lost its lease; not read")

    def _dump(self, folder: Path, shard: int, *, json: bool, after: int, limit: int, no_trades: bool, **_: Any) -> None:
        """Print what happened."""
        for number, entry in enumerate(inspection.dump(folder, shard, after=after, trades=not no_trades), start=1):
            if json:
                self._say(entry.as_json())
            else:
                self.stdout.write(f"{entry.timestamp_ns} {entry.entry_type} {orjson.dumps(entry.data).decode()}")
            if number == limit:
                return

    def _cut(self, folder: Path, shard: int, *, json: bool, after: int | None, yes: bool, **_: Any) -> None:
        """Cut what the log does not have, with the lease, so that no worker runs or starts meanwhile."""
        lease.open_shard(shard)
        epoch, settled, _hash = lease.take(shard, "wal cut")
        lease.hold(shard, epoch, OPERATOR_SECONDS)
        try:
            common = _last_common(folder, shard)
            if after is None:
                self.stdout.write(f"{folder}: WAL and command log agree up to command {common}; use --after {common}")
                return
            if after > common:
                raise CommandError(f"{folder}: WAL and command log agree only up to command {common}")
            self._confirm(folder, after, settled, yes=yes)
            found = command_log.chain_hash(shard, after) if after else NO_CHAIN_HASH
            if found is None:
                raise CommandError(f"the command log has no command {after}")
            name = f"after-{after}-{utc_now():%Y%m%dT%H%M%S}"
            stream_epoch, _head = command_log.stream_head(shard)
            # First the epoch: were it raised after the cut, a crash between would let void ids come again. What was
            # matched and not settled before the cut is settled with ids of the new epoch, too.
            raised = command_log.raise_epoch(shard)
            report = wal_cut.cut(folder, shard=shard, after=Tail(after, found), name=name, stream_epoch=stream_epoch)
        finally:
            lease.give_back(shard, epoch)
        if json:
            self._say(report._asdict() | {"folder": str(report.folder), "stream_epoch": raised})
            return
        void = "unknown how many" if report.void_trades < 0 else f"{report.void_trades:,}"
        self.stdout.write(
            f"cut {report.commands:,} commands and {report.snapshots} snapshots after command {after}; kept in "
            f"{report.folder}. {void} trades are void: {wal_cut.VOID_TRADES} there lists them. New trades "
            f"have ids of epoch {raised}."
        )

    def _confirm(self, folder: Path, after: int, settled: int, *, yes: bool) -> None:
        """Say what will happen and wait for the operator's word."""
        self.stdout.write(
            f"Commands after {after} will be cut from {folder} (the books are settled to {settled}). Trades that they "
            "made and that were published are void."
        )
        if not yes and input(f"Type {after} to go on: ").strip() != str(after):
            raise CommandError("nothing was changed")


def _last_common(folder: Path, shard: int) -> int:
    """Return the last command that WAL and log have in common, also inside a frame."""
    common = wal_cut.last_common(folder, lambda sequence: command_log.chain_hash(shard, sequence))
    for commands, _ in read(folder, after=common):
        logged, _ = command_log.read(shard, common, len(commands))
        for ours, theirs in zip(commands, logged, strict=False):
            if ours.tobytes() != theirs.tobytes():
                break
            common = int(ours["sequence"])
        break
    return common
