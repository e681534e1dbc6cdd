"""Kills a worker's storage at random points, many times, in processes forked without Django.

    python -m matching_worker.tests.crash_storage FOLDER KILLS SEED

The parent plays the command log (a known stream) and settlement (it takes each command's events once, in order). Each
child recovers as a worker does, then journals beside matching, takes snapshots, applies retention and hands events
over, until it is killed: SIGKILL inside a write (a part of which is done), at either side of an fsync, a rename or a
removal, or while a thread matches. Sometimes the parent then cuts the power too: what had not been synced of the WAL's
last file is cut or zeroed. The last line of output is JSON: what was killed where, and the first wrong thing found.
"""

import collections
import hashlib
import json
import logging
import mmap
import os
import random
import signal
import struct
import sys
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import structlog

from matching_worker import protocol, recovery, segments, snapshot
from matching_worker.benchmarks.streams import random_stream, special_stream
from matching_worker.engine import Engine
from matching_worker.protocol import Rows
from matching_worker.retention import snapshots_of
from matching_worker.snapshotter import Rules, Snapshotter
from matching_worker.wal import Tail, Wal

SHARD = 3
STREAM_EPOCH = 1
COMMANDS = 20_000
SEGMENT_BYTES = 60_000
SNAPSHOT_COMMANDS = 150
ACTIONS_MAX = 70
HANDED_OVER = struct.Struct("<qq16s")
SHARED = struct.Struct("<?64sq")  # a match is running; the WAL file synced last; how much of it

DAMAGED = "000000.snapshot"
"""End of the names that the parent gives to snapshots which it damages: of an epoch that nobody has."""

WRITES = ("write",)
RARE = ("replace", "unlink")
CALLS = ("fdatasync", "fsync", "replace", "unlink", "truncate")


class WrongError(Exception):
    """Something that must never happen has happened."""


class World:
    """The log, and what an undisturbed run makes of it."""

    def __init__(self, seed: int) -> None:
        plain = random_stream(seed, COMMANDS // 2, instruments=3, open_ids=400, spread=20)
        self.commands = np.concatenate([plain, special_stream(seed, COMMANDS // 2)])
        self.commands["sequence"] = np.arange(1, COMMANDS + 1)
        self.hashes = [bytes(32)]
        for payload in protocol.payloads(self.commands):
            self.hashes.append(hashlib.sha256(self.hashes[-1] + payload).digest())
        engine = Engine(SHARD, STREAM_EPOCH)
        self.events = engine.apply(self.commands)
        self.state_hash = engine.state_hash

    def digest(self, first: int, last: int) -> bytes:
        """Return the digest of the events of some commands, as they should be."""
        start, end = np.searchsorted(self.events["sequence"], [first, last + 1])
        return digest_of(self.events[start:end])


def digest_of(events: Rows) -> bytes:
    return hashlib.blake2b(events.tobytes(), digest_size=16).digest()


# --- the child ------------------------------------------------------------------------------------------------
class Killer:
    """Counts what the process does to its files and its books, and ends it at one of these actions."""

    def __init__(self, shared: mmap.mmap, chance: random.Random) -> None:
        self.shared = shared
        self.chance = chance
        self.left = chance.randint(1, ACTIONS_MAX)
        self.will_kill_in_match = chance.random() < 0.25
        self.at_rare_ones = not self.will_kill_in_match and chance.random() < 0.2
        if self.at_rare_ones:
            self.left = chance.randint(1, 6)
        self.original = {name: getattr(os, name) for name in (*WRITES, *CALLS)}

    def install(self) -> None:
        os.write = self.write
        for name in CALLS:
            setattr(os, name, self.around(name))

    def due(self, name: str) -> bool:
        if self.will_kill_in_match or (self.at_rare_ones and name not in RARE):
            return False
        self.left -= 1
        return self.left == 0

    def die(self, where: str) -> None:
        self.original["write"](2, f"{where}\n".encode())
        os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(60)

    def die_soon(self, seconds: float) -> None:
        time.sleep(seconds)
        self.die("match")

    def write(self, descriptor: int, content: Any) -> int:
        if self.due("write"):
            self.original["write"](descriptor, content[: self.chance.randint(0, len(content))])
            self.die("write")
        return self.original["write"](descriptor, content)

    def around(self, name: str) -> Any:
        def call(*args: Any, **named: Any) -> Any:
            due = self.due(name)
            after = self.chance.random() < 0.5
            if due and not after:
                self.die(f"before {name}")
            result = self.original[name](*args, **named)
            if name in {"fdatasync", "fsync"}:
                self.note_synced(args[0])
            if due:
                self.die(f"after {name}")
            return result

        return call

    def note_synced(self, descriptor: int) -> None:
        """Tell the parent what the disk has of the WAL for certain."""
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        if path.suffix == ".wal":
            self.shared[1 : SHARED.size] = SHARED.pack(False, path.name.encode(), os.fstat(descriptor).st_size)[1:]

    def batch(self) -> int:
        """Return how many commands to take next: many when the process shall die while they are matched."""
        return 1500 if self.will_kill_in_match and self.left <= 8 else self.chance.randint(1, 40)

    def apply(self, engine: Engine, commands: Rows) -> Rows:
        if self.will_kill_in_match:
            self.left -= 8
            if self.left <= 0:
                threading.Thread(target=self.die_soon, args=(self.chance.random() * 0.0004,), daemon=True).start()
        self.shared[0] = 1
        events = engine.apply(commands)
        self.shared[0] = 0
        return events


class Child:
    """A worker's storage: recovers, then works until it is killed or done."""

    def __init__(self, world: World, folder: Path, epoch: int, cursor: int, pipe: int, killer: Killer) -> None:
        self.world = world
        self.folder = folder
        self.handed = cursor
        self.pipe = pipe
        self.killer = killer
        killer.install()
        newest = recovery.newest_sequence(folder, at_most=cursor)
        self.log = Wal.open(folder, shard=SHARD, epoch=epoch, after=newest, segment_bytes_max=SEGMENT_BYTES)
        self.engine = self.recover()
        self.snapshotter = Snapshotter(
            folder,
            epoch=epoch,
            rules=Rules(snapshots_kept=2, wal_seconds=0),
            engine_held=threading.Lock(),
            chain_hash_at=self.chain_hash_at,
            settled=lambda: self.handed,
            clock_ns=time.time_ns,
        )

    def chain_hash_at(self, sequence: int) -> bytes:
        return self.log.hash_when_durable(sequence, wait_seconds=60) or self.world.hashes[sequence]

    def recover(self) -> Engine:
        """Return the engine as files and log give it, handing over again what was not settled."""
        at_most = min(self.handed, self.log.tail.sequence)
        found = recovery.start(self.folder, shard=SHARD, stream_epoch=STREAM_EPOCH, at_most=at_most)
        if [reason for reason in found.refused if f"{DAMAGED}: damaged" not in reason]:
            raise WrongError(f"unusable snapshots: {found.refused}")
        engine = found.engine
        before = recovery.wal_start(self.folder)
        if before > engine.sequence:  # the log stands for what retention removed and a damaged snapshot stood for
            self.hand_over(self.killer.apply(engine, self.world.commands[engine.sequence : before]))
        for commands, _ in recovery.blocks(self.folder, after=engine.sequence):
            self.hand_over(self.killer.apply(engine, commands))
        return engine

    def hand_over(self, events: Rows) -> None:
        """Settle events that are matched and durable, but none twice."""
        events = events[events["sequence"] > self.handed]
        if len(events):
            first, self.handed = self.handed + 1, int(events["sequence"][-1])
            self.killer.original["write"](self.pipe, HANDED_OVER.pack(first, self.handed, digest_of(events)))

    def write(self, commands: Rows, chain_hash: bytes) -> None:
        self.log.append(commands, chain_hash)
        self.log.sync()

    def work(self) -> None:
        """Journal beside matching, settle with a lag, and take snapshots."""
        engine, chance = self.engine, self.killer.chance
        waiting: list[Rows] = []
        last_snapshot = engine.sequence
        with ThreadPoolExecutor(1) as journal:
            while engine.sequence < COMMANDS:
                commands = self.world.commands[engine.sequence : engine.sequence + self.killer.batch()]
                chain_hash = self.world.hashes[int(commands["sequence"][-1])]
                durable = journal.submit(self.write, commands, chain_hash)
                waiting.append(self.killer.apply(engine, commands))
                durable.result()
                while len(waiting) > chance.randint(0, 20):
                    self.hand_over(waiting.pop(0))
                if engine.sequence - last_snapshot >= SNAPSHOT_COMMANDS:
                    last_snapshot = engine.sequence
                    if not self.snapshotter.take(engine):
                        raise WrongError(self.snapshotter.failure)
        for events in waiting:
            self.hand_over(events)
        self.log.close()


# --- the parent -----------------------------------------------------------------------------------------------
class Round:
    """One stream of commands, worked through by one child after another."""

    def __init__(self, world: World, folder: Path, chance: random.Random, shared: mmap.mmap) -> None:
        self.world = world
        self.folder = folder
        self.chance = chance
        self.shared = shared
        self.cursor = 0
        self.epoch = 0
        self.killed: collections.Counter[str] = collections.Counter()

    def run_child(self) -> bool:
        """Run one child; returns whether it was killed (it came to the end of the stream otherwise)."""
        self.epoch += self.chance.random() < 0.5 or self.epoch == 0
        reading, writing = os.pipe()
        telling, told = os.pipe()
        self.shared[:] = bytes(len(self.shared))
        process = os.fork()
        if process == 0:
            os.close(reading)
            os.dup2(told, 2)
            try:
                killer = Killer(self.shared, random.Random(self.chance.random()))
                Child(self.world, self.folder, self.epoch, self.cursor, writing, killer).work()
            except BaseException:  # noqa: BLE001 -- told to the parent
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        os.close(writing)
        os.close(told)
        handed_over = read_all(reading)
        said = read_all(telling).decode().strip()
        _, status = os.waitpid(process, 0)
        self.take_over(handed_over)
        if os.WIFEXITED(status):
            if os.WEXITSTATUS(status) != 0:
                raise WrongError(said)
            return False
        if os.WTERMSIG(status) != signal.SIGKILL:
            raise WrongError(f"ended by signal {os.WTERMSIG(status)}: {said}")
        self.killed["inside match" if self.shared[0] else said.splitlines()[-1]] += 1
        if self.chance.random() < 0.5:
            self.cut_power()
        if self.chance.random() < 0.1:
            self.damage_snapshot()
        return True

    def damage_snapshot(self) -> None:
        """Change one byte of the newest snapshot; the next older one, or the log, must stand for it."""
        for path in snapshot.paths(snapshots_of(self.folder))[:1]:
            content = bytearray(path.read_bytes())
            content[self.chance.randrange(len(content))] ^= 1 << self.chance.randrange(8)
            path.unlink()
            path.with_name(path.name[: -len(DAMAGED)] + DAMAGED).write_bytes(content)
            self.killed["snapshot damaged too"] += 1

    def take_over(self, handed_over: bytes) -> None:
        """Settle what a child handed over: each command once, in order, with the events of an undisturbed run."""
        for first, last, digest in HANDED_OVER.iter_unpack(handed_over):
            if first != self.cursor + 1:
                raise WrongError(f"command {first} was handed over where {self.cursor + 1} was due")
            if digest != self.world.digest(first, last):
                raise WrongError(f"commands {first} to {last} caused other events")
            self.cursor = last

    def cut_power(self) -> None:
        """Lose what the disk had not promised of the WAL's last file."""
        paths = segments.segment_paths(self.folder)
        _, name, size = SHARED.unpack(self.shared[: SHARED.size])
        if not paths:
            return
        synced = size if name.rstrip(b"\0").decode() == paths[-1].name else 0
        if synced == 0 and name.rstrip(b"\0") == b"":
            return  # this child synced nothing; what its predecessors synced is not known here
        content = bytearray(paths[-1].read_bytes())
        if synced < len(content):
            start = self.chance.randint(synced, len(content))
            if self.chance.random() < 0.5:
                del content[start:]
            else:
                content[start : start + 512] = bytes(len(content[start : start + 512]))
            paths[-1].write_bytes(content)
            self.killed["power cut too"] += 1

    def check_end(self) -> None:
        """Compare what stands on the disk at the end with the undisturbed run."""
        if self.cursor != COMMANDS:
            raise WrongError(f"only {self.cursor} commands were handed over")
        start = recovery.wal_start(self.folder)
        kept = [commands for commands, _ in segments.read(self.folder)]
        if np.concatenate(kept).tobytes() != self.world.commands[start:].tobytes():
            raise WrongError("the WAL does not hold the log's commands")
        rebuilt = recovery.rebuild(self.folder, shard=SHARD)
        self.check_hash("rebuilt", rebuilt.engine)
        if rebuilt.tail != Tail(COMMANDS, self.world.hashes[COMMANDS]):
            raise WrongError(f"rebuilt to {rebuilt.tail}")
        for path in snapshot.paths(snapshots_of(self.folder)):
            if path.name.endswith(DAMAGED):
                continue
            engine, header = snapshot.load(path, shard=SHARD)
            if start > header.sequence:
                raise WrongError(f"the WAL begins after {start}, past {path}")
            if header.chain_hash != self.world.hashes[header.sequence]:
                raise WrongError(f"{path} has another chain hash")
            engine.apply(self.world.commands[header.sequence :])
            self.check_hash(path.name, engine)

    def check_hash(self, what: str, engine: Engine) -> None:
        if (engine.sequence, engine.state_hash) != (COMMANDS, self.world.state_hash):
            raise WrongError(f"{what}: command {engine.sequence}, hash {engine.state_hash:016x}")


def read_all(descriptor: int) -> bytes:
    with os.fdopen(descriptor, "rb") as file:
        return file.read()


def main() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    folder, kills, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    chance = random.Random(seed)
    shared = mmap.mmap(-1, SHARED.size)
    killed: collections.Counter[str] = collections.Counter()
    count = rounds = 0
    wrong = ""
    started = time.monotonic()
    try:
        while count < kills:
            rounds += 1
            current = Round(World(chance.randint(1, 1 << 30)), folder / f"round-{rounds}", chance, shared)
            try:
                while current.run_child():
                    count += 1
            finally:
                killed += current.killed
            current.check_end()
    except WrongError as error:
        wrong = str(error)
    seconds = round(time.monotonic() - started, 1)
    print(json.dumps({"kills": count, "rounds": rounds, "killed": killed, "seconds": seconds, "wrong": wrong}))  # noqa: T201


if __name__ == "__main__":
    main()
