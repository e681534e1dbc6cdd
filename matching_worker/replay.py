"""Running recorded order flow through the engine and comparing with what the market really did.

The commands take the way production takes: encoded, cut into the payloads that the log stores, decoded,
applied in batches. File formats: commands `seq,cmd,id,side,price,qty,ts`, fills `seq,maker_id,price,qty`,
top of book `seq,ask,ask_qty,bid,bid_qty`; plain or gzip.
"""

import csv
import gzip
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from matching_worker import protocol
from matching_worker.engine import Engine
from matching_worker.protocol import CommandKind, EventKind, OrderType, Rows, Side, TimeInForce

REPLAY_INSTRUMENT_ID: Final = 1
REPLAY_TRADER_ID: Final = 1
BATCH_COMMANDS: Final = 1000

_COMMAND_COLUMNS: Final = ("seq", "cmd", "id", "side", "price", "qty")
_FILL_COLUMNS: Final = ("seq", "maker_id", "price", "qty")
_TOP_COLUMNS: Final = ("seq", "ask", "ask_qty", "bid", "bid_qty")
_GZIP_MAGIC: Final = b"\x1f\x8b"
_INT64_MAX: Final = (1 << 63) - 1
_NS_DIGITS: Final = 9

_SIDES: Final = {"B": int(Side.BUY), "S": int(Side.SELL)}
_KINDS: Final = {
    "N": (int(CommandKind.PLACE), int(OrderType.LIMIT), int(TimeInForce.GTC)),
    "X": (int(CommandKind.PLACE), int(OrderType.LIMIT), int(TimeInForce.IOC)),
    "C": (int(CommandKind.CANCEL), 0, 0),
    "R": (int(CommandKind.REDUCE), 0, 0),
    "A": (int(CommandKind.AMEND), 0, 0),
}


class ReplayFileError(Exception):
    """A file cannot be used; the message names the file, the line and the reason."""


class Fill(NamedTuple):
    """One fill as the files tell it; the taker is the command it stands under."""

    maker_id: int
    price: int
    qty: int


Fills = dict[int, list[Fill]]
"""Fills in order, by the `seq` of the command that caused them."""


class TopOfBook(NamedTuple):
    """What must stand at the top of the book after the command `seq`; an empty side is (0, 0)."""

    seq: int
    ask: int
    ask_qty: int
    bid: int
    bid_qty: int


@dataclass(frozen=True)
class CommandFile:
    """A file of commands, ready for the engine.

    Attributes:
        labels: (command_count,) int64, each command's `seq` in the file, increasing.
        commands: (command_count,) COMMAND_DTYPE, with sequences from 1 without gaps.
    """

    path: Path
    labels: npt.NDArray[np.int64]
    commands: Rows


@dataclass(frozen=True)
class FillComparison:
    """How the fills that happened compare with those that should have.

    Attributes:
        aggressors: Commands that have fills on either side of the comparison.
        aggressors_matched: Those whose fills agree, every one, in order.
        fills: Fills that should have happened.
        fills_matched: Those that did, in the same place of the same command.
        first_difference: In words, or empty.
    """

    aggressors: int
    aggressors_matched: int
    fills: int
    fills_matched: int
    first_difference: str

    @property
    def is_exact(self) -> bool:
        """Tell whether nothing is missing, different or too much."""
        return not self.first_difference


@dataclass
class ReplayResult:
    """What a replay did.

    Attributes:
        seconds: Time for all commands, from payload bytes to events, and for the looks at the top of
            the book; reading the files is not in it.
    """

    commands: int = 0
    rejected: int = 0
    seconds: float = 0.0
    state_hash: int = 0
    fills: Fills = field(default_factory=dict)
    l1_rows: int = 0
    l1_matched: int = 0
    l1_first_difference: str = ""


def read_commands(path: Path, *, instrument_id: int = REPLAY_INSTRUMENT_ID) -> CommandFile:
    """Read a file of commands.

    Raises:
        ReplayFileError: The file cannot be read, or a line is not a command.
    """
    columns: list[tuple[int, ...]] = []
    labels: list[int] = []
    for line, row in _rows(path, _COMMAND_COLUMNS):
        try:
            label = _number(row[0])
            kind, order_type, time_in_force = _KINDS[row[1]]
            side = _SIDES[row[3]]
            timestamp_ns = _nanoseconds(row[6]) if len(row) > len(_COMMAND_COLUMNS) else 0
            order_id, price, qty = _number(row[2]), _number(row[4]), _number(row[5])
        except KeyError as error:
            raise ReplayFileError(f"{path}: line {line}: {error.args[0]!r} is no command or side") from error
        except ValueError as error:
            raise ReplayFileError(f"{path}: line {line}: {error}") from error
        if labels and label <= labels[-1]:
            raise ReplayFileError(f"{path}: line {line}: seq {label} does not follow {labels[-1]}")
        labels.append(label)
        columns.append((kind, order_type, time_in_force, side, order_id, price, qty, timestamp_ns))
    table = np.array(columns, np.int64).reshape(len(columns), 8)
    commands = protocol.encode(
        kind=table[:, 0],
        order_type=table[:, 1],
        time_in_force=table[:, 2],
        side=table[:, 3],
        order_id=table[:, 4],
        price_ticks=table[:, 5],
        qty_lots=table[:, 6],
        timestamp_ns=table[:, 7],
        instrument_id=instrument_id,
        trader_id=REPLAY_TRADER_ID,
        sequence=np.arange(1, len(columns) + 1),
    )
    return CommandFile(path, np.array(labels, np.int64), commands)


def read_fills(path: Path) -> Fills:
    """Read a file of fills.

    Raises:
        ReplayFileError: The file cannot be read, or a line is not a fill.
    """
    fills: Fills = {}
    for line, row in _rows(path, _FILL_COLUMNS):
        seq, *fill = _numbers(path, line, row[: len(_FILL_COLUMNS)])
        fills.setdefault(seq, []).append(Fill(*fill))
    return fills


def read_tops(path: Path) -> list[TopOfBook]:
    """Read a file of tops of the book; an empty field means that the side is empty.

    Raises:
        ReplayFileError: The file cannot be read, a line is not a top of book, or `seq` goes back.
    """
    tops: list[TopOfBook] = []
    for line, row in _rows(path, _TOP_COLUMNS):
        top = TopOfBook(*_numbers(path, line, [text or "0" for text in row[: len(_TOP_COLUMNS)]]))
        if tops and top.seq <= tops[-1].seq:
            raise ReplayFileError(f"{path}: line {line}: seq {top.seq} does not follow {tops[-1].seq}")
        tops.append(top)
    return tops


def write_fills(path: Path, fills: Fills) -> None:
    """Write fills in the format that `read_fills` reads; gzip when the name ends in .gz.

    Raises:
        ReplayFileError: The file cannot be written.
    """
    try:
        with _open_for_writing(path) as file:
            file.write(",".join(_FILL_COLUMNS) + "\n")
            for seq, of_command in fills.items():
                file.writelines(f"{seq},{fill.maker_id},{fill.price},{fill.qty}\n" for fill in of_command)
    except OSError as error:
        raise ReplayFileError(f"{path}: cannot be written: {error.strerror}") from error


def compare_fills(expected: Fills, actual: Fills) -> FillComparison:
    """Compare fills command by command: maker, price and quantity, in order."""
    aggressors_matched = fills_matched = 0
    first_difference = ""
    seqs = sorted(expected.keys() | actual.keys())
    for seq in seqs:
        due, came = expected.get(seq, []), actual.get(seq, [])
        fills_matched += sum(one == other for one, other in zip(due, came, strict=False))
        if due == came:
            aggressors_matched += 1
        elif not first_difference:
            first_difference = f"seq {seq}: {_listed(due)} should have happened, {_listed(came)} did"
    fills = sum(len(due) for due in expected.values())
    return FillComparison(len(seqs), aggressors_matched, fills, fills_matched, first_difference)


def replay(
    file: CommandFile, tops: Sequence[TopOfBook] = (), *, advance: Callable[[int], object] | None = None
) -> ReplayResult:
    """Run a file of commands through a new engine.

    Args:
        file: What to run.
        tops: What must stand at the top of the book after certain commands.
        advance: Told after each batch how many commands it had.
    """
    engine = Engine(shard=0, epoch=0)
    result = ReplayResult(l1_rows=len(tops))
    # Note the position after which each top is due; one that names no command of the file never matches.
    positions = np.searchsorted(file.labels, [top.seq for top in tops])
    due = [
        (int(position) + 1, top)
        for position, top in zip(positions, tops, strict=True)
        if position < len(file.labels) and file.labels[position] == top.seq
    ]
    if len(due) < len(tops):
        result.l1_first_difference = "a row of the top of book names a seq that is no command"
    due.reverse()
    for start in range(0, len(file.commands), BATCH_COMMANDS):
        end = min(start + BATCH_COMMANDS, len(file.commands))
        started = time.perf_counter()
        stored = protocol.payloads(file.commands[start:end])
        commands = protocol.decode(np.arange(start + 1, end + 1), stored)
        done = start
        while done < end:
            stop = min(due[-1][0], end) if due else end
            events = engine.apply(commands[done - start : stop - start])
            done = stop
            _collect(result, events, file.labels)
            if due and due[-1][0] == done:
                _compare_top(result, due.pop()[1], engine)
        result.seconds += time.perf_counter() - started
        if advance is not None:
            advance(end - start)
    result.commands = len(file.commands)
    result.state_hash = engine.state_hash
    return result


def _collect(result: ReplayResult, events: Rows, labels: npt.NDArray[np.int64]) -> None:
    """Add a batch's fills and refusals to the result."""
    kinds = events["kind"]
    result.rejected += int(np.count_nonzero(kinds == EventKind.REJECTED))
    for position in np.flatnonzero(kinds == EventKind.FILL).tolist():
        event = events[position]
        seq = int(labels[event["sequence"] - 1])
        fill = Fill(int(event["maker_order_id"]), int(event["price_ticks"]), int(event["qty_lots"]))
        result.fills.setdefault(seq, []).append(fill)


def _compare_top(result: ReplayResult, top: TopOfBook, engine: Engine) -> None:
    """Compare the top of the engine's book with what is due now."""
    best = engine.best(REPLAY_INSTRUMENT_ID)
    ask, bid = best.ask or (0, 0), best.bid or (0, 0)
    found = TopOfBook(top.seq, ask[0], ask[1], bid[0], bid[1])
    if found == top:
        result.l1_matched += 1
    elif not result.l1_first_difference:
        result.l1_first_difference = f"after seq {top.seq} {top} was due, {found} was found"


def _listed(fills: list[Fill]) -> str:
    """Return fills in words, not too many."""
    shown = ", ".join(f"{fill.qty} @ {fill.price} of {fill.maker_id}" for fill in fills[:3])
    return f"[{shown}{', ...' if len(fills) > 3 else ''}]"  # noqa: PLR2004 - the three shown above


def _rows(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[int, list[str]]]:
    """Yield line number and fields of each line after the header, which must name `columns`."""
    line = 0
    try:
        with _open_for_reading(path) as file:
            for line, row in enumerate(csv.reader(file), start=1):
                if line == 1:
                    if tuple(row[: len(columns)]) != columns:
                        raise ReplayFileError(f"{path}: line 1: the header must begin {','.join(columns)}")
                elif len(row) < len(columns):
                    raise ReplayFileError(f"{path}: line {line}: {len(row)} fields, {len(columns)} needed")
                else:
                    yield line, row
    except OSError as error:
        raise ReplayFileError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        raise ReplayFileError(f"{path}: line {line + 1}: cannot be read: {error}") from error
    if line == 0:
        raise ReplayFileError(f"{path}: line 1: the file is empty")


def _open_for_reading(path: Path) -> IO[Any]:
    """Open a text file, unpacking it when it begins like gzip."""
    with path.open("rb") as file:
        packed = file.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
    if packed:
        return gzip.open(path, "rt", encoding="utf-8", newline="")
    return path.open(encoding="utf-8", newline="")


def _open_for_writing(path: Path) -> IO[Any]:
    """Open a text file for writing, packing it when its name says so."""
    if path.suffix == ".gz":
        return gzip.open(path, "wt", encoding="utf-8")
    return path.open("w", encoding="utf-8")


def _numbers(path: Path, line: int, row: Sequence[str]) -> list[int]:
    """Return a line's fields as whole numbers."""
    try:
        return [_number(text) for text in row]
    except ValueError as error:
        raise ReplayFileError(f"{path}: line {line}: {error}") from error


def _number(text: str) -> int:
    """Return a whole number that fits 64 bits."""
    if not text.removeprefix("-").isdecimal() or not text.isascii():
        raise ValueError(f"{text!r} is not a whole number")
    # Longer texts cannot fit, and turning them into numbers takes quadratic time.
    if len(text) > len(str(_INT64_MAX)) + 1 or not -_INT64_MAX <= int(text) <= _INT64_MAX:
        raise ValueError(f"{text[:40]!r} does not fit 64 bits")
    return int(text)


def _nanoseconds(text: str) -> int:
    """Return seconds since midnight as nanoseconds, exactly; `initial` and nothing are 0."""
    if text in {"", "initial"}:
        return 0
    seconds, _, fraction = text.partition(".")
    return _number(seconds) * 10**_NS_DIGITS + _number((fraction + "0" * _NS_DIGITS)[:_NS_DIGITS])
