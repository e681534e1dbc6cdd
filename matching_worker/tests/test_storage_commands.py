"""`manage.py wal` and `manage.py snapshot`, as an operator runs them."""

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from exchange.kernel.clock import utc_now
from matching_worker import snapshot, wal_cut
from matching_worker.protocol import trade_id_base
from matching_worker.retention import snapshots_of
from matching_worker.segments import segment_path
from matching_worker.shard import LogMismatchError, Shard
from matching_worker.tests.storage_files import COMMANDS, flip, hash_after, history, worked
from matching_worker.tests.wal_files import SHARD
from trading import audit
from trading.models import Order, Trade
from trading.services import command_log, lease
from trading.tests.road import limit, make_instrument, place, worker


def run(*words: object) -> str:
    out = StringIO()
    call_command(*map(str, words), stdout=out, stderr=out)
    return out.getvalue()


def in_json(*words: object) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run(*words, "--json").splitlines()]


def here(folder: Path) -> tuple[object, ...]:
    return ("--shard", SHARD, "--directory", folder)


def test_inspect_and_verify_say_what_is_there(tmp_path: Path) -> None:
    worked(tmp_path, history())

    table = run("wal", "inspect", *here(tmp_path))
    rows = in_json("wal", "inspect", *here(tmp_path))

    assert "000001-00000000000000000001.wal" in table
    assert sum(row["last"] - row["first"] + 1 for row in rows) == COMMANDS
    assert {row["state"] for row in rows} == {"whole"}
    assert f"{len(rows)} segments, 2,000 commands (1 to 2000): whole" in run("wal", "verify", *here(tmp_path))
    whole = {"ok": True, "segments": len(rows), "commands": COMMANDS, "first": 1, "last": COMMANDS, "torn": ""}
    assert in_json("wal", "verify", *here(tmp_path)) == [whole | {"void": []}]


def test_a_void_segment_is_told_and_is_no_damage(tmp_path: Path) -> None:
    worked(tmp_path, history())
    void = segment_path(tmp_path, 0, COMMANDS + 1)
    void.write_bytes(b"")

    table = run("wal", "inspect", *here(tmp_path))

    assert f"{void.name} " in table
    assert " void " in table
    assert f"{void.name}: void, written by a worker that had lost its lease; not read" in run(
        "wal", "verify", *here(tmp_path)
    )
    assert in_json("wal", "verify", *here(tmp_path))[0]["void"] == [void.name]


@pytest.mark.parametrize("action", ["inspect", "verify"])
def test_a_damaged_wal_is_return_code_1_and_its_place(tmp_path: Path, action: str) -> None:
    worked(tmp_path, history())
    flip(min(tmp_path.glob("*.wal")), 200)

    with pytest.raises(CommandError, match="damaged at offset 64") as refusal:
        run("wal", action, *here(tmp_path), "--json")

    assert refusal.value.returncode == 1


def test_dump_prints_lines_for_people_and_for_programs(tmp_path: Path) -> None:
    worked(tmp_path, history(), 1000)

    lines = run("wal", "dump", *here(tmp_path), "--after", 1990).splitlines()
    objects = in_json("wal", "dump", *here(tmp_path), "--after", 1990)

    for line, entry in zip(lines, objects, strict=True):
        timestamp, entry_type, data = line.split(" ", 2)
        assert {"timestamp": int(timestamp), "entry_type": entry_type, "data": json.loads(data)} == entry
    assert [entry["data"]["sequence"] for entry in objects if entry["entry_type"] != "trade"] == [*range(1991, 2001)]
    assert in_json("wal", "dump", *here(tmp_path), "--after", 1990, "--limit", 3) == objects[:3]


def test_a_folder_without_a_wal_is_named(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="there is no WAL here"):
        run("wal", "inspect", *here(tmp_path / "none"))


def test_a_snapshot_is_made_offline_listed_and_verified(tmp_path: Path) -> None:
    worked(tmp_path, history(), 500)

    [taken] = in_json("snapshot", "take", *here(tmp_path))

    assert (taken["sequence"], taken["replayed"]) == (COMMANDS, 1500)
    listed = in_json("snapshot", "list", *here(tmp_path))
    assert [(row["sequence"], row["state_hash"]) for row in listed] == [
        (COMMANDS, f"{hash_after(history()):016x}"),
        (500, f"{hash_after(history()[:500]):016x}"),
    ]
    assert "00000000000000000500-000001.snapshot" in run("snapshot", "list", *here(tmp_path))
    assert [row["ok"] for row in in_json("snapshot", "verify", *here(tmp_path))] == [True, True]


def test_a_damaged_snapshot_is_return_code_1(tmp_path: Path) -> None:
    worked(tmp_path, history(), 500, 1000)
    flip(snapshot.paths(snapshots_of(tmp_path))[0], 5000)

    with pytest.raises(CommandError, match="damaged: block") as refusal:
        run("snapshot", "verify", *here(tmp_path))
    assert refusal.value.returncode == 1
    with pytest.raises(CommandError, match="damaged: block"):
        run("snapshot", "verify", *here(tmp_path), "--quick")


def test_a_snapshot_that_leads_elsewhere_than_another_is_found(tmp_path: Path) -> None:
    worked(tmp_path, history(), 500)
    worked(tmp_path / "other", history(seed=99), 1000)
    foreign = snapshot.paths(snapshots_of(tmp_path / "other"))[0]
    foreign.rename(snapshots_of(tmp_path) / foreign.name)

    with pytest.raises(CommandError, match="replay from these snapshots ends differently"):
        run("snapshot", "verify", *here(tmp_path))


def test_nothing_to_take_a_snapshot_of_is_said(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="there is nothing to take a snapshot of"):
        run("snapshot", "take", *here(tmp_path))


# --- with the database --------------------------------------------------------------------------------------------
@pytest.fixture
def road(customer, tmp_path: Path, settings) -> Path:
    """Return the WAL's folder of a worker that made four trades, whose database then forgot the last two."""
    settings.WAL_DIR = tmp_path
    make_instrument()
    alice, bob = customer("alice", USDT=100_000), customer("bob", BTC=1)
    folder = tmp_path / "shard-0"
    for _ in range(4):
        place(bob.id, limit("BTCUSDT", "sell", "0.0010", "50000.00"))
        place(alice.id, limit("BTCUSDT", "buy", "0.0010", "50000.00"))
    with worker(folder) as shard:
        for after in (0, 4):
            commands, hashes = command_log.read(0, after, 4)
            shard.journal(commands, hashes[-1])
            batch = shard.match(commands)
            if after == 0:
                shard.settle(batch, now=utc_now())
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE commands DISABLE TRIGGER commands_append_only")
        cursor.execute("DELETE FROM commands WHERE sequence > 4")
        cursor.execute(
            "UPDATE command_stream SET (sequence, chain_hash) = (SELECT sequence, chain_hash FROM commands"
            " ORDER BY sequence DESC LIMIT 1)"
        )
    return folder


@pytest.mark.django_db
def test_a_database_that_went_back_in_time_stops_the_worker_until_the_wal_is_cut(
    road: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(LogMismatchError, match="restored to an older moment"):
        Shard(0, wal_dir=road, owner="test").recover(now=utc_now())
    connection.cursor().execute("UPDATE worker_lease SET expires_at = now()")  # the worker has ended
    asked: list[str] = []

    def answer(question: str) -> str:
        asked.append(question)
        return "4"

    monkeypatch.setattr("builtins.input", answer)

    assert "agree up to command 4; use --after 4" in run("wal", "cut")
    said = run("wal", "cut", "--after", 4)

    assert asked == ["Type 4 to go on: "]
    assert "cut 4 commands and 0 snapshots after command 4" in said
    assert "2 trades are void" in said
    [folder] = (road / wal_cut.CUT).iterdir()
    assert len((folder / wal_cut.VOID_TRADES).read_text().splitlines()) == 2
    void = {json.loads(line)["data"]["trade_id"] for line in (folder / wal_cut.VOID_TRADES).read_text().splitlines()}
    orders = [order.user_id for order in Order.objects.order_by("id")[:2]]
    with worker(road) as shard:
        assert shard.engine.sequence == shard.settled == 4
        place(orders[0], limit("BTCUSDT", "sell", "0.0010", "50000.00"))
        place(orders[1], limit("BTCUSDT", "buy", "0.0010", "50000.00"))
        shard.step(now=utc_now())
    made = set(Trade.objects.values_list("id", flat=True))
    assert {trade_id - trade_id_base(1, 0) for trade_id in made if trade_id >= trade_id_base(1, 0)} == {3}
    assert sorted(made)[:2] == [1, 2]
    assert void == {3, 4}
    [replay] = [item for item in audit.invariants() if item.name.startswith("replay of shard 0")]
    assert "was made as" not in replay.detail


@pytest.mark.django_db
def test_cutting_changes_nothing_without_the_word_or_past_where_they_agree(
    road: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path: path.read_bytes() for path in road.glob("*.wal")}
    monkeypatch.setattr("builtins.input", lambda _: "yes")

    with pytest.raises(CommandError, match="nothing was changed"):
        run("wal", "cut", "--after", 4)
    with pytest.raises(CommandError, match="agree only up to command 4"):
        run("wal", "cut", "--after", 5, "--yes")

    assert {path: path.read_bytes() for path in road.glob("*.wal")} == before
    assert lease.is_held(0) is False


@pytest.mark.django_db
def test_a_running_worker_keeps_its_wal(road: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def held(*_: object) -> None:
        raise lease.LeaseHeldError(shard=0, owner="host:1")

    monkeypatch.setattr(lease, "take", held)

    with pytest.raises(CommandError, match="Shard 0 belongs to host:1"):
        run("wal", "cut", "--after", 4, "--yes")


@pytest.mark.django_db
def test_a_running_worker_is_asked_for_a_snapshot(customer, tmp_path: Path, settings) -> None:
    settings.WAL_DIR = tmp_path
    make_instrument()
    place(customer("bob", BTC=1).id, limit("BTCUSDT", "sell", "0.0010", "50000.00"))
    with worker(tmp_path / "shard-0") as shard:
        shard.step(now=utc_now())

        [answer] = in_json("snapshot", "take")

    assert answer["sequence"] == 1
    assert 0 < answer["pause_seconds"] < 10
    assert snapshot.check(Path(answer["path"])).sequence == 1


@pytest.mark.django_db
def test_a_worker_that_does_not_answer_is_told(road: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "is_held", lambda _: True)

    with pytest.raises(CommandError, match=r"did not answer in 0.1 s; --offline makes one"):
        run("snapshot", "take", "--wait", 0.1)
    assert in_json("snapshot", "take", "--offline")[0]["sequence"] == 8
