"""`manage.py snapshot list|take|verify`: the snapshots of a shard's books."""

import secrets
from argparse import ArgumentParser
from pathlib import Path
from typing import IO, Any, Final, cast

import orjson
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from rich.console import Console
from rich.table import Table

from exchange.kernel.clock import now_ns
from exchange.kernel.errors import InvariantViolationError
from matching_worker import recovery, snapshot, snapshotter
from matching_worker.retention import snapshots_of
from matching_worker.segments import segment_paths
from matching_worker.snapshot import SnapshotError, SnapshotHeader
from matching_worker.wal import WalError
from trading.services import lease

TABLE_WIDTH: Final = 120

DAMAGED: Final = 1
"""Return code when a snapshot or the WAL is damaged."""

_NS: Final = 1e9


class Command(BaseCommand):
    """Nothing here changes the books or the WAL."""

    help = "List, take or verify the snapshots of a shard."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare one parser for each action."""
        actions = parser.add_subparsers(dest="action", required=True)
        listing = actions.add_parser("list", help="list the snapshots, newest first")
        take = actions.add_parser("take", help="ask the running worker for one; make it from the WAL where none runs")
        take.add_argument("--offline", action="store_true", help="make it from the WAL, without asking any worker")
        take.add_argument("--wait", type=float, default=10.0, help="seconds to wait for the worker's answer")
        verify = actions.add_parser("verify", help="check every byte, the books, and the replay from each one")
        verify.add_argument("--quick", action="store_true", help="check bytes only")
        for action in (listing, take, verify):
            action.add_argument("--shard", type=int, default=0)
            action.add_argument("--directory", type=Path, help="the WAL's folder; default: the shard's")
            action.add_argument("--json", action="store_true", help="print JSON, one object a line")

    def handle(self, *, action: str, shard: int, directory: Path | None, json: bool, **options: Any) -> None:
        """Run an action.

        Raises:
            CommandError: Something is damaged, or no snapshot could be made.
        """
        folder = directory or settings.WAL_DIR / f"shard-{shard}"
        if action == "list":
            self._list(folder, json=json)
        elif action == "take":
            self._take(folder, shard, json=json, offline=options["offline"] or directory, wait=options["wait"])
        else:
            self._verify(folder, shard, json=json, quick=options["quick"])

    def _say(self, value: dict[str, Any]) -> None:
        """Print one line of JSON."""
        self.stdout.write(orjson.dumps(value).decode())

    # --- list -----------------------------------------------------------------------------------------------------
    def _list(self, folder: Path, *, json: bool) -> None:
        """List the snapshots by what their headers say."""
        table = Table(title=str(snapshots_of(folder)))
        for heading in ("file", "sequence", "state hash", "bytes", "age"):
            table.add_column(heading, justify="left" if heading == "file" else "right")
        damaged = []
        for path in snapshot.paths(snapshots_of(folder)):
            try:
                header = snapshot.read_header(path)
            except SnapshotError as error:
                damaged.append(str(error))
                continue
            if json:
                self._say(_described(header))
            age = f"{(now_ns() - header.made_at_ns) / _NS:,.0f} s"
            hashed = f"{header.state_hash:016x}"
            table.add_row(path.name, f"{header.sequence:,}", hashed, f"{header.byte_count:,}", age)
        if not json:
            Console(file=cast("IO[str]", self.stdout), width=TABLE_WIDTH).print(table)
        if damaged:
            raise CommandError("\n".join(damaged), returncode=DAMAGED)

    # --- take -----------------------------------------------------------------------------------------------------
    def _take(self, folder: Path, shard: int, *, json: bool, offline: Any, wait: float) -> None:
        """Ask the worker if one lives; else make a snapshot from the newest one and the WAL."""
        if offline or not lease.is_held(shard):
            answer = self._take_offline(folder, shard)
        else:
            found = snapshotter.ask(folder, secrets.token_hex(8), wait_seconds=wait)
            if found is None:
                raise CommandError(f"the worker of shard {shard} did not answer in {wait:g} s; --offline makes one")
            answer = found
        if "error" in answer:
            raise CommandError(f"the worker could not take a snapshot: {answer['error']}")
        if json:
            self._say(answer)
            return
        pause = (
            f", matching stood still for {1000 * answer['pause_seconds']:.2f} ms" if "pause_seconds" in answer else ""
        )
        self.stdout.write(f"{answer['path']}: command {answer['sequence']}{pause}")

    def _take_offline(self, folder: Path, shard: int) -> dict[str, Any]:
        """Make a snapshot of the WAL's end."""
        try:
            rebuilt = recovery.rebuild(folder, shard=shard)
        except WalError as error:
            raise CommandError(str(error), returncode=DAMAGED) from error
        if rebuilt.tail.sequence == 0:
            raise CommandError(f"{folder}: there is nothing to take a snapshot of")
        for reason in rebuilt.refused:
            self.stderr.write(reason)
        epoch = max((int(path.name.partition("-")[0]) for path in segment_paths(folder)), default=0)
        path = snapshot.write(
            snapshot.Capturer().capture(rebuilt.engine),
            snapshots_of(folder),
            epoch=epoch,
            chain_hash=rebuilt.tail.chain_hash,
            made_at_ns=now_ns(),
        )
        return {"path": str(path), "sequence": rebuilt.tail.sequence, "replayed": rebuilt.replayed}

    # --- verify ---------------------------------------------------------------------------------------------------
    def _verify(self, folder: Path, shard: int, *, json: bool, quick: bool) -> None:
        """Check each snapshot: its bytes, its books, and that the WAL leads from it to the same end."""
        broken = []
        ends = set()
        for path in snapshot.paths(snapshots_of(folder)):
            try:
                header = snapshot.check(path)
                if not quick:
                    ends.add(_end_from(folder, path, shard))
                detail = ""
            except (SnapshotError, WalError, InvariantViolationError) as error:
                detail = str(error)
                broken.append(f"{path.name}: {detail}")
            if json:
                self._say({"file": path.name, "ok": not detail, "detail": detail})
            elif not detail:
                self.stdout.write(f"{path.name}: whole, command {header.sequence:,}, hash {header.state_hash:016x}")
        if len(ends) > 1:
            broken.append(f"replay from these snapshots ends differently: {sorted(ends)}")
        if broken:
            raise CommandError("\n".join(broken), returncode=DAMAGED)


def _end_from(folder: Path, path: Path, shard: int) -> tuple[int, str]:
    """Load a snapshot, check its books, replay the WAL after it; return the last sequence and state hash."""
    engine, _ = snapshot.load(path, shard=shard)
    engine.check()
    for commands, _ in recovery.blocks(folder, after=engine.sequence):
        engine.apply(commands)
    return engine.sequence, f"{engine.state_hash:016x}"


def _described(header: SnapshotHeader) -> dict[str, Any]:
    """Return a header as JSON takes it."""
    described = header._asdict()
    described |= {"path": str(header.path), "state_hash": f"{header.state_hash:016x}"}
    described |= {"chain_hash": header.chain_hash.hex(), "layout_digest": header.layout_digest.hex()}
    return described
