"""How long matching stands still for a snapshot, and how long a worker takes to come back.

    python -m matching_worker.benchmarks.storage [--json] [--orders 100000] [--commands 1000000] [--runs 5]

The pause is how long the engine is held, while another thread wants to match and a third one keeps the interpreter
busy, which the longest pause shows. Recovery is what a start does with
its files: check the WAL, load the newest snapshot (every byte checked), replay the WAL after it; the JIT cache and the
files are warm.
"""

import argparse
import json
import statistics
import tempfile
import threading
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from matching_worker import protocol, recovery, snapshot
from matching_worker.engine import Engine
from matching_worker.protocol import Rows
from matching_worker.retention import snapshots_of
from matching_worker.wal import NO_CHAIN_HASH, Tail, Wal

FRAMES = (10, 100, 1_000)
BATCH = 100
MIDDLE = 50_000
SPREAD = 5_000


def resting(count: int) -> Rows:
    """Return orders that rest: bids below the middle, asks above, in 20 books."""
    random = np.random.default_rng(1)
    side = random.integers(1, 3, count)
    distance = random.integers(1, SPREAD, count)
    return protocol.encode(
        sequence=np.arange(1, count + 1),
        kind=1,
        instrument_id=random.integers(0, 20, count),
        order_id=np.arange(1, count + 1),
        trader_id=random.integers(1, 1_000, count),
        side=side,
        order_type=1,
        time_in_force=1,
        price_ticks=np.where(side == 1, MIDDLE - distance, MIDDLE + distance),
        qty_lots=random.integers(1, 100, count),
    )


def traffic(count: int, first: int, orders: int) -> Rows:
    """Return commands that keep about as many orders resting: half are placed, half are cancelled."""
    random = np.random.default_rng(2)
    rows = resting(count)
    rows["sequence"] = np.arange(first, first + count)
    rows["order_id"] += orders
    cancels = rows[1::2]
    cancels["kind"] = 2
    cancels["order_id"] = random.permutation(orders + count)[: len(cancels)] + 1
    rows["price_ticks"] += random.integers(-SPREAD // 100, SPREAD // 100, count)
    return rows


def measure_pause(orders: int, runs: int) -> dict[str, float]:
    """Take snapshots while a thread matches; return how long the engine was held, and the time to write."""
    engine = Engine(0, 0)
    engine.apply(resting(orders))
    commands = traffic(1_000_000, orders + 1, orders)
    held, stopping = threading.Lock(), threading.Event()
    done = [0]

    def match() -> None:
        while not stopping.is_set() and done[0] < len(commands):
            with held:
                engine.apply(commands[done[0] : done[0] + BATCH])
            done[0] += BATCH
            time.sleep(0.001)

    def keep_busy() -> None:
        while not stopping.is_set():
            sum(range(2_000))

    capturer = snapshot.Capturer()
    capturer.capture(engine)
    threads = [threading.Thread(target=match), threading.Thread(target=keep_busy)]
    for thread in threads:
        thread.start()
    pauses, writes = [], []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(runs):
            time.sleep(0.1)
            with held:
                started = time.perf_counter()
                capture = capturer.capture(engine)
                pauses.append(time.perf_counter() - started)
            started = time.perf_counter()
            path = snapshot.write(capture, Path(folder), epoch=1, chain_hash=NO_CHAIN_HASH, made_at_ns=0)
            writes.append(time.perf_counter() - started)
        size = path.stat().st_size
    stopping.set()
    for thread in threads:
        thread.join()
    return {
        "pause_ms": 1e3 * statistics.median(pauses),
        "pause_ms_max": 1e3 * max(pauses),
        "write_ms": 1e3 * statistics.median(writes),
        "megabytes": size / 1e6,
    }


def prepare(folder: Path, orders: int, commands: int, frame: int) -> int:
    """Write a snapshot of resting orders and a WAL after it; return the state hash at the end."""
    engine = Engine(0, 0)
    engine.apply(resting(orders))
    capture = snapshot.Capturer().capture(engine)
    snapshot.write(capture, snapshots_of(folder), epoch=1, chain_hash=NO_CHAIN_HASH, made_at_ns=0)
    log = Wal.open(folder, shard=0, epoch=1)
    log.start_at(Tail(orders, NO_CHAIN_HASH))
    after = traffic(commands, orders + 1, orders)
    for number, start in enumerate(range(0, commands, frame)):
        log.append(after[start : start + frame], NO_CHAIN_HASH)
        if number % (10_000 // frame) == 0:
            log.sync()
    log.close()
    for start in range(0, commands, BATCH):
        engine.apply(after[start : start + BATCH])
    return engine.state_hash


def measure_recovery(folder: Path, state_hash: int, orders: int) -> dict[str, float]:
    """Come back from files as a worker does; return the seconds of each part."""
    times = [time.perf_counter()]
    log = Wal.open(folder, shard=0, epoch=2, after=orders)
    times.append(time.perf_counter())
    found = recovery.start(folder, shard=0, stream_epoch=0, at_most=log.tail.sequence)
    times.append(time.perf_counter())
    for commands, _ in recovery.blocks(folder, after=found.engine.sequence):
        found.engine.apply(commands)
    times.append(time.perf_counter())
    log.close()
    if (found.header is None, found.engine.state_hash) != (False, state_hash):
        raise AssertionError("recovery ended elsewhere than the engine that wrote")
    opened, loaded, replayed = (after - before for before, after in pairwise(times))
    return {
        "check_wal_seconds": opened,
        "load_snapshot_seconds": loaded,
        "replay_seconds": replayed,
        "recovery_seconds": times[-1] - times[0],
    }


def medians(runs: list[dict[str, float]]) -> dict[str, float]:
    """Return the median of each figure."""
    return {name: round(statistics.median(run[name] for run in runs), 4) for name in runs[0]}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    parser.add_argument("--orders", type=int, default=100_000)
    parser.add_argument("--commands", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    console = Console(stderr=True)
    figures: dict[str, Any] = {"snapshot": measure_pause(options.orders, max(options.runs, 20))}
    for frame in track(FRAMES, "recovering", console=console, disable=not console.is_terminal):
        with tempfile.TemporaryDirectory() as folder:
            state_hash = prepare(Path(folder), options.orders, options.commands, frame)
            runs = [measure_recovery(Path(folder), state_hash, options.orders) for _ in range(options.runs + 1)]
        figures[f"recovery_frames_of_{frame}"] = medians(runs[1:])
    table = Table(title=f"{options.orders:,} resting orders, {options.commands:,} commands in the WAL, median")
    table.add_column("what")
    table.add_column("figure", justify="right")
    for group, values in figures.items():
        for name, value in values.items():
            table.add_row(f"{group} {name}".replace("_", " "), f"{value:,.3f}")
    Console().print(table)
    if options.json:
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
