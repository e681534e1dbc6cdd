import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from django.http import HttpResponse
from django.test import Client, RequestFactory

from exchange.kernel.clock import utc_now
from exchange.management import dependencies
from exchange.observability import health, metrics
from exchange.observability.health import Check, Dependency, Found, Watch
from ledger import tasks
from ledger.services import office_rounds
from matching_worker import disk
from trading import selectors
from trading.selectors import ShardLag

pytestmark = pytest.mark.django_db

SERVER = Dependency("server", lambda: Check(ok=True, detail="18"), is_needed=True)
EXTRA = Dependency("extra", lambda: Check(ok=False, detail="away"))
PATIENT_SECONDS = 60.0


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for answers as long as a busy machine needs."""
    monkeypatch.setattr(health, "LIVE_SECONDS_MAX", PATIENT_SECONDS)
    monkeypatch.setattr(health, "READY_SECONDS_MAX", PATIENT_SECONDS)


def _broken() -> Check:
    raise ConnectionError


def _lags(monkeypatch: pytest.MonkeyPatch, *lags: int, owner: str = "somebody") -> None:
    """Let the shards have so many commands that are not settled."""
    found = [ShardLag(number, lag + 5, 5, owner) for number, lag in enumerate(lags)]
    monkeypatch.setattr(selectors, "lag", lambda: found)


def _get(view, path: str = "/health") -> HttpResponse:
    return view(RequestFactory().get(path))


def test_the_process_lives_and_names_what_it_depends_on(client: Client) -> None:
    response = client.get("/health/live")

    body = response.json()
    assert (response.status_code, body["status"]) == (200, "ok")
    assert {"postgres", "migrations", "room", "back_office", "redis", "wal_disk"} <= set(body["dependencies"])
    assert body["dependencies"]["postgres"]["ok"]
    assert body["dependencies"]["postgres"]["needed"]
    assert body["dependencies"]["redis"]["ok"]
    assert not body["dependencies"]["redis"]["needed"]


@pytest.mark.parametrize("path", ["/health", "/health/ready"])
def test_without_a_worker_orders_are_taken_and_it_is_told(client: Client, path: str) -> None:
    response = client.get(path)

    body = response.json()
    assert (response.status_code, body["status"], body["takes_orders"]) == (200, "degraded", True)
    worker = {"ok": False, "needed": False, "detail": "no worker, 0 commands behind"}
    assert body["checks"]["worker_shard_0"] == worker
    assert all(body["checks"][name]["ok"] for name in ("postgres", "redis", "migrations", "room"))


@pytest.mark.parametrize(
    ("lags", "ok", "detail"),
    [
        ([19_999], True, ""),
        ([20_000], False, "full: shard 0"),
        ([20_000, 3], True, "full: shard 0"),
        ([20_000, 30_000], False, "full: shard 0, 1"),
        ([], True, ""),
    ],
)
def test_orders_are_taken_while_any_shard_has_room(
    monkeypatch: pytest.MonkeyPatch, lags: list[int], detail: str, *, ok: bool
) -> None:
    _lags(monkeypatch, *lags)

    assert dependencies.room() == Check(ok, detail)


def test_each_shard_s_worker_is_told_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    _lags(monkeypatch, 3, 0)
    assert dependencies.workers() == {
        "worker_shard_0": Check(ok=True, detail="3 commands behind"),
        "worker_shard_1": Check(ok=True, detail="0 commands behind"),
    }

    idle = ShardLag(shard=1, log_sequence=5, settled_sequence=5, lease_owner="", is_needed=False)
    monkeypatch.setattr(selectors, "lag", lambda: [idle])
    assert dependencies.workers() == {"worker_shard_1": Check(ok=True, detail="not needed")}

    _lags(monkeypatch, 3, owner="")
    assert dependencies.workers() == {"worker_shard_0": Check(ok=False, detail="no worker, 3 commands behind")}


def test_no_room_in_any_shard_makes_the_process_not_ready(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    _lags(monkeypatch, 20_000)

    response = client.get("/health/ready")

    body = response.json()
    assert (response.status_code, body["status"], body["takes_orders"]) == (503, "unavailable", False)
    assert body["checks"]["room"] == {"ok": False, "needed": True, "detail": "full: shard 0"}


def test_what_is_not_needed_makes_it_degraded_and_what_is_makes_it_unavailable() -> None:
    degraded = _get(health.ready(Watch((SERVER,), (EXTRA,))))
    unavailable = _get(health.ready(Watch((SERVER._replace(ask=_broken),), (EXTRA,))))

    assert degraded.status_code == 200
    assert b'"status": "degraded"' in degraded.content
    assert unavailable.status_code == 503
    assert b'"server": {"ok": false, "needed": true, "detail": "ConnectionError"}' in unavailable.content


def test_without_the_first_of_a_group_the_others_are_not_asked() -> None:
    other = Dependency("other", lambda: pytest.fail("it was asked"), is_needed=True)

    found = Watch((SERVER._replace(ask=_broken), other)).look(PATIENT_SECONDS)

    assert found["other"] == Found(ok=False, needed=True, detail="not asked")


@pytest.fixture
def silent() -> Iterator[Dependency]:
    """A server that does not answer until the test ends."""
    ended = threading.Event()
    yield Dependency("silent", lambda: Check(ok=ended.wait(PATIENT_SECONDS)), is_needed=True)
    ended.set()


def test_nobody_waits_long_for_a_server_that_does_not_answer_and_it_is_asked_once(
    silent: Dependency, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "LIVE_SECONDS_MAX", 0.01)
    monkeypatch.setattr(health, "READY_SECONDS_MAX", 0.01)
    asked = threading.Semaphore(0)

    def ask() -> Check:
        asked.release()
        found = silent.ask()
        assert isinstance(found, Check)
        return found

    watch = Watch((silent._replace(ask=ask),), (EXTRA,))

    for _ in range(3):
        found = watch.look(0.01)

    assert found["silent"].ok is False
    assert found["silent"].detail.startswith("no answer for ")
    assert asked.acquire(timeout=PATIENT_SECONDS)
    assert not asked.acquire(blocking=False)
    response = _get(health.live(watch))
    assert response.status_code == 200
    assert b'"takes_orders": false' in response.content
    assert _get(health.ready(watch)).status_code == 503


def test_the_back_office_is_late_when_it_has_not_worked_for_a_minute_and_what_waits_is_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert dependencies.back_office() == Check(ok=True, detail="has not worked yet")
    monkeypatch.setitem(office_rounds.WAITING, "wishes", lambda: 2)
    assert dependencies.back_office() == Check(ok=False, detail="has not worked yet, 2 wishes wait")

    tasks.carry_out()

    found = dependencies.back_office()
    assert found.ok
    assert found.detail.startswith("worked ")
    office_rounds.note(utc_now() - timedelta(seconds=61))
    assert not dependencies.back_office().ok


def test_a_disk_with_little_room_for_the_wal_is_told(settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.WAL_DIR = tmp_path
    monkeypatch.setattr(disk, "free_bytes", lambda _: disk.FREE_BYTES_MIN - 1)
    assert dependencies.wal_disk() == Check(ok=False, detail="255 MB free")
    monkeypatch.undo()

    settings.WAL_DIR = tmp_path / "elsewhere"
    assert dependencies.wal_disk() == Check(ok=True, detail="not on this machine")
    assert (disk.free_bytes(tmp_path) or 0) > 0


def test_prometheus_is_told_what_is_well() -> None:
    Watch((SERVER,), (EXTRA,)).measure()

    text = metrics.exposition().decode()
    assert 'exchange_dependency_up{dependency="server"} 1.0' in text
    assert 'exchange_dependency_up{dependency="extra"} 0.0' in text
    assert "exchange_orders_taken 1.0" in text


def test_metrics_are_served_with_the_names_that_are_promised(client: Client) -> None:
    metrics.ORDERS_RECEIVED.labels("BTCUSDT").inc()
    metrics.ORDERBOOK_DEPTH.labels("BTCUSDT", "bid").set(3)
    client.get("/health/live")

    response = client.get("/metrics")

    text = response.content.decode()
    assert response["Content-Type"].startswith("text/plain")
    for name in (
        "exchange_orders_received_total",
        "exchange_orders_processed_total",
        "exchange_orders_cancelled_total",
        "exchange_trades_executed_total",
        "exchange_trade_volume_total",
        "exchange_matching_throughput",
        "exchange_matching_latency_microseconds",
        "exchange_orderbook_depth",
    ):
        assert f"# TYPE {name} " in text
    assert 'exchange_orderbook_depth{side="bid",symbol="BTCUSDT"} 3.0' in text
    assert 'exchange_http_request_seconds_count{method="GET",route="health/live",status="200"}' in text


def test_latency_is_counted_in_the_buckets_that_are_promised() -> None:
    assert metrics.MATCHING_BUCKETS_US == (1, 5, 10, 25, 50, 100, 250, 500, 1000)


def test_each_answer_carries_its_trace_id(client: Client) -> None:
    given = client.get("/health/live", headers={"x-trace-id": "0123456789abcdef"})
    made = client.get("/health/live")

    assert given["X-Trace-Id"] == "0123456789abcdef"
    assert len(made["X-Trace-Id"]) == 28
