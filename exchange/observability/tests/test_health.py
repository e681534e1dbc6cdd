from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client, RequestFactory

from exchange.observability import health, metrics
from trading import selectors
from trading.selectors import ShardLag

pytestmark = pytest.mark.django_db


def test_the_process_says_that_it_lives_without_asking_others(client: Client, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        response = client.get("/health/live")

    assert (response.status_code, response.json()) == (200, {"status": "ok"})


@pytest.mark.parametrize("path", ["/health", "/health/ready"])
def test_without_a_worker_the_exchange_is_not_ready_and_says_why(client: Client, path: str) -> None:
    response = client.get(path)

    body = response.json()
    assert (response.status_code, body["status"]) == (503, "unavailable")
    assert body["checks"]["worker"] == {"ok": False, "detail": "shard 0 has no worker"}
    assert all(body["checks"][name]["ok"] for name in ("postgres", "redis", "migrations"))


@pytest.mark.parametrize(("lag", "ok"), [(20_000, True), (20_001, False)])
def test_a_worker_that_is_far_behind_is_no_worker(monkeypatch: pytest.MonkeyPatch, lag: int, *, ok: bool) -> None:
    found = [ShardLag(shard=0, log_sequence=lag + 5, settled_sequence=5, lease_owner="somebody")]
    monkeypatch.setattr(selectors, "lag", lambda: found)

    response = Client().get("/health/ready")

    assert response.json()["checks"]["worker"]["ok"] is ok
    assert response.status_code == (200 if ok else 503)


def test_a_shard_that_needs_no_worker_is_not_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    idle = ShardLag(shard=1, log_sequence=5, settled_sequence=5, lease_owner="", is_needed=False)
    monkeypatch.setattr(selectors, "lag", lambda: [ShardLag(0, 5, 5, "somebody"), idle])

    assert Client().get("/health/ready").json()["checks"]["worker"]["ok"] is True


def test_a_check_that_raises_has_failed_by_name() -> None:
    def broken() -> health.Check:
        raise ConnectionError

    response: HttpResponse = health.ready({"broken": broken})(RequestFactory().get("/health"))

    assert response.status_code == 503
    assert b'"broken": {"ok": false, "detail": "ConnectionError"}' in response.content


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
