"""What an operator sees of a WAL is what is in it, also when it is damaged."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from matching_worker import inspection, protocol
from matching_worker.engine import Engine
from matching_worker.frames import WalDamagedError
from matching_worker.protocol import EventKind
from matching_worker.tests.storage_files import COMMANDS, STREAM_EPOCH, flip, history, worked
from matching_worker.tests.wal_files import SEGMENT_1, SHARD, chain_hash, written
from matching_worker.wal import Wal


def test_segments_are_listed_with_what_they_hold(tmp_path: Path) -> None:
    written(tmp_path, 3, 2, epoch=1, segment_bytes_max=1)
    written(tmp_path, 4, epoch=2)

    found = inspection.segments(tmp_path, SHARD)

    assert [(row.file, row.epoch, row.first, row.last, row.frames, row.state, row.detail) for row in found] == [
        (SEGMENT_1, 1, 1, 3, 1, "whole", ""),
        ("000002-00000000000000000004.wal", 2, 4, 9, 2, "whole", ""),
    ]
    assert [row.bytes for row in found] == [path.stat().st_size for path in sorted(tmp_path.iterdir())]


def test_damage_in_one_segment_does_not_hide_the_others(tmp_path: Path) -> None:
    written(tmp_path, 1, 1, 1, 1, segment_bytes_max=1)
    paths = sorted(tmp_path.iterdir())
    flip(paths[1], 100)
    paths[3].write_bytes(paths[3].read_bytes()[:-1])

    found = inspection.segments(tmp_path, SHARD)

    assert [row.state for row in found] == ["whole", "damaged", "whole", "torn"]
    assert f"{paths[1]}: damaged at offset 64" in found[1].detail
    assert "offset 64 on, which the worker will cut" in found[3].detail


def test_a_missing_segment_is_seen(tmp_path: Path) -> None:
    written(tmp_path, 1, 1, 1, segment_bytes_max=1)
    sorted(tmp_path.iterdir())[1].unlink()

    found = inspection.segments(tmp_path, SHARD)

    assert [row.state for row in found] == ["whole", "damaged"]
    assert found[1].detail.endswith("continues command 2, the file before it ends with 1")


def test_a_segment_of_another_shard_is_damage(tmp_path: Path) -> None:
    written(tmp_path, 1)

    [found] = inspection.segments(tmp_path, 4)

    assert (found.state, "belongs to shard 3, not 4" in found.detail) == ("damaged", True)


def test_a_whole_wal_is_verified(tmp_path: Path) -> None:
    written(tmp_path, 3, 2, segment_bytes_max=1)

    assert inspection.verify(tmp_path, SHARD) == (2, 5, 1, 5, "", [])
    assert inspection.verify(tmp_path / "none", SHARD) == (0, 0, 0, 0, "", [])


def test_a_torn_end_is_told_and_is_no_damage(tmp_path: Path) -> None:
    written(tmp_path, 3, 2)
    path = tmp_path / SEGMENT_1
    path.write_bytes(path.read_bytes()[:-1])

    found = inspection.verify(tmp_path, SHARD)

    assert (found.commands, found.last) == (3, 3)
    assert "an unfinished write from offset" in found.torn


def test_damage_is_not_verified(tmp_path: Path) -> None:
    written(tmp_path, 3, 2)
    flip(tmp_path / SEGMENT_1, 200)

    with pytest.raises(WalDamagedError, match="damaged at offset 64"):
        inspection.verify(tmp_path, SHARD)


def test_a_dump_has_every_command_and_every_trade_of_the_engine_in_order(tmp_path: Path) -> None:
    commands = history()
    worked(tmp_path, commands, 1000)
    engine = Engine(SHARD, STREAM_EPOCH)
    events = engine.apply(commands)
    fills = events[events["kind"] == EventKind.FILL]

    entries = list(inspection.dump(tmp_path, SHARD))

    trades = [entry for entry in entries if entry.entry_type == "trade"]
    others = [entry for entry in entries if entry.entry_type != "trade"]
    assert [entry.data["sequence"] for entry in others] == list(range(1, COMMANDS + 1))
    assert [entry.timestamp_ns for entry in others] == commands["timestamp_ns"].tolist()
    for name in ("sequence", "trade_number", "price_ticks", "qty_lots", "order_id", "maker_order_id"):
        assert [entry.data[name] for entry in trades] == fills[name].tolist(), name
    assert [entry.timestamp_ns for entry in trades] == fills["timestamp_ns"].tolist()
    assert [entry.data["sequence"] for entry in entries] == sorted(entry.data["sequence"] for entry in entries)
    counts = Counter(entry.entry_type for entry in others)
    kinds = Counter(commands["kind"].tolist())
    assert counts["add_order"] == kinds[1]
    assert counts["cancel_order"] == kinds[2]
    assert counts["reduce_order"] == kinds[3]
    assert counts["amend_order"] == kinds[4]


@pytest.mark.parametrize("after", [0, 1, 999, 1000, 1550, 1999, 2000])
def test_a_dump_after_a_command_is_the_end_of_the_whole_dump(tmp_path: Path, after: int) -> None:
    worked(tmp_path, history(), 500, 1000)
    whole = [entry for entry in inspection.dump(tmp_path, SHARD) if entry.data["sequence"] > after]

    part = list(inspection.dump(tmp_path, SHARD, after=after))
    commands_only = list(inspection.dump(tmp_path, SHARD, after=after, trades=False))

    assert [entry._replace(data=entry.data | {"trade_id": 0}) for entry in part] == [
        entry._replace(data=entry.data | {"trade_id": 0}) for entry in whole
    ]
    assert commands_only == [entry for entry in whole if entry.entry_type != "trade"]


def test_an_entry_says_in_words_what_was_asked(tmp_path: Path) -> None:
    command = protocol.encode(
        kind=1,
        instrument_id=0,
        order_id=5,
        trader_id=9,
        timestamp_ns=1_700_000_000_123_456_789,
        side=2,
        order_type=1,
        time_in_force=2,
        price_ticks=101,
        qty_lots=3,
        sequence=1,
    )
    log = Wal.open(tmp_path, shard=SHARD, epoch=1)
    log.append(command, chain_hash(1))
    log.close()

    [entry, *_] = inspection.dump(tmp_path, SHARD)

    assert entry.as_json() == {
        "timestamp": 1_700_000_000_123_456_789,
        "entry_type": "add_order",
        "data": {
            "sequence": 1,
            "order_id": 5,
            "trader_id": 9,
            "price_ticks": 101,
            "qty_lots": 3,
            "instrument_id": 0,
            "side": "sell",
            "order_type": "limit",
            "time_in_force": "ioc",
        },
    }


def test_a_command_of_a_later_kind_is_called_by_its_kind_with_its_terms(tmp_path: Path) -> None:
    commands = np.concatenate(
        [
            protocol.encode(kind=7, instrument_id=0, order_id=0, timestamp_ns=5, sequence=1),
            protocol.encode(
                kind=1, instrument_id=2, order_id=5, order_type=4, trigger_ticks=90, stp=2, trigger_source=1, sequence=2
            ),
        ]
    )
    log = Wal.open(tmp_path, shard=SHARD, epoch=1)
    log.append(commands, chain_hash(2))
    log.close()

    time, stop = inspection.dump(tmp_path, SHARD, trades=False)

    assert (time.entry_type, time.timestamp_ns) == ("time", 5)
    assert stop.data == {
        "sequence": 2,
        "order_id": 5,
        "instrument_id": 2,
        "order_type": "stop_limit",
        "trigger_ticks": 90,
        "stp": "cancel_taker",
        "trigger_source": "mark",
    }


def test_a_command_that_no_engine_knows_is_shown_by_its_number(tmp_path: Path) -> None:
    command = protocol.encode(kind=200, instrument_id=1, order_id=5, side=77, sequence=1)
    log = Wal.open(tmp_path, shard=SHARD, epoch=1)
    log.append(command, chain_hash(1))
    log.close()

    [entry] = inspection.dump(tmp_path, SHARD, trades=False)

    assert (entry.entry_type, entry.data["side"]) == ("unknown_200", 77)


def test_trades_cannot_be_told_without_what_came_before(tmp_path: Path) -> None:
    worked(tmp_path, history())
    min(tmp_path.glob("*.wal")).unlink()

    with pytest.raises(WalDamagedError, match="only the command log has what is between"):
        list(inspection.dump(tmp_path, SHARD))
    shown = [entry.data["sequence"] for entry in inspection.dump(tmp_path, SHARD, trades=False)]
    assert shown == np.arange(201, COMMANDS + 1).tolist()
