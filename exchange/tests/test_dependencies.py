"""A real worker and a real web server lose network and disk: what they refuse, how they end, and what is left."""

import http.client
import json
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any, NamedTuple

import pytest
from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import connection

from exchange.kernel.clock import utc_now
from exchange.tests.ports import free_port
from ledger.services import accounts, transfers
from trading import audit
from trading.models import Order, Trade
from trading.services import orders
from trading.tests.network import Network, between
from trading.tests.processes import Scratch
from trading.tests.road import limit, make_instrument

pytestmark = pytest.mark.django_db

PATIENT_SECONDS = 120.0
IMPATIENT = """
import django
django.setup()
from django.core.management import call_command
from matching_worker import process
process.SILENT_SECONDS_MAX = 1.0
call_command("run_matching_worker", http_port=0)
"""
"""A worker that waits for a silent database for a second only."""


@pytest.fixture(name="_django_db_helper")
def _no_transaction_around(django_db_setup) -> None:
    """Wrap nothing around the tests of this module: each has a database of its own, and really commits."""


@pytest.fixture
def network(scratch: Scratch) -> Iterator[Network]:
    """A network between this test's processes and PostgreSQL; the test itself does without."""
    with between() as made:
        user, name = (connection.settings_dict[key] for key in ("USER", "NAME"))
        scratch.env["DATABASE_URL"] = f"postgresql://{user}@127.0.0.1:{made.port}/{name}"
        yield made
        made.mend()


class Pair(NamedTuple):
    """Two traders who trade with each other."""

    seller: int
    buyer: int

    def trade(self) -> None:
        """Place two orders that match, as a web process whose network is good would."""
        for owner_id, side in ((self.seller, "sell"), (self.buyer, "buy")):
            orders.place(owner_id, [limit("BTCUSDT", side, "0.0010", "50000")], now=utc_now())


@pytest.fixture
def pair(scratch: Scratch) -> Pair:
    """A market with two funded traders."""
    make_instrument()
    made = []
    for name in ("alice", "bob"):
        user = get_user_model().objects.create_user(name, password="a good long secret")
        accounts.open_gates([user.pk])
        funds = (("USDT", 1_000_000), ("BTC", 10))
        transfers.deposit(
            [transfers.Deposit(user.pk, asset, Decimal(amount), f"{name}:{asset}", "test") for asset, amount in funds],
            utc_now(),
        )
        made.append(user.pk)
    return Pair(*made)


def _until(condition: Callable[[], Any]) -> Any:
    """Wait for something that another process does; return what came."""
    deadline = time.monotonic() + PATIENT_SECONDS
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


def _said(scratch: Scratch) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", (scratch.folder / "worker.log").read_text())


def _assert_all_traded(times: int) -> None:
    """Nothing was lost, nothing came twice, and the books are whole."""
    assert [item for item in audit.invariants() if not item.ok] == []
    assert Trade.objects.count() == times
    assert set(Order.objects.values_list("status", flat=True)) == {"filled"}


def _piped_worker(scratch: Scratch) -> "subprocess.Popen[bytes]":
    """Start a worker that writes its log into a pipe, for which no limit of a file's size counts."""
    worker = subprocess.Popen(
        [sys.executable, "manage.py", "run_matching_worker", "--http-port", "0"],
        cwd=settings.BASE_DIR,
        env={**scratch.env, "EXCHANGE_DB_ROLE": "exchange_worker"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    scratch.workers.append(worker)
    return worker


def test_a_worker_whose_network_is_slow_settles_when_it_is_faster(
    scratch: Scratch, network: Network, pair: Pair
) -> None:
    pair.trade()
    slowed = scratch.start_worker()
    scratch.wait_settled()
    network.delay_seconds = 0.35  # a settlement needs several answers, and may take two seconds
    pair.trade()
    deadline = time.monotonic() + PATIENT_SECONDS
    while "settlement_too_slow" not in _said(scratch):
        assert time.monotonic() < deadline, _said(scratch)
        assert slowed.poll() is None, _said(scratch)
        time.sleep(0.05)
    network.mend()

    scratch.wait_settled()
    _assert_all_traded(2)


def test_a_worker_whose_network_is_too_slow_or_silent_ends_and_the_next_one_loses_nothing(
    scratch: Scratch, network: Network, pair: Pair
) -> None:
    pair.trade()
    slowed = scratch.start_worker()
    scratch.wait_settled()
    network.delay_seconds = 0.6  # the lease lasts for a second
    pair.trade()
    assert slowed.wait(PATIENT_SECONDS) == 1, _said(scratch)
    network.mend()

    silenced = scratch.start_worker("-c", IMPATIENT)
    scratch.wait_settled()
    network.is_silent = True
    pair.trade()
    assert silenced.wait(PATIENT_SECONDS) == 1
    assert "the database does not answer" in _said(scratch)
    network.mend()

    scratch.start_worker()
    scratch.wait_settled()
    _assert_all_traded(3)


def test_a_worker_whose_disk_is_full_ends_and_goes_on_when_there_is_room(scratch: Scratch, pair: Pair) -> None:
    if sys.platform != "linux":
        pytest.skip("the limits of a running process can be changed on Linux only")
    pair.trade()
    filled = _piped_worker(scratch)
    scratch.wait_settled()
    [segment] = (scratch.folder / "wal").rglob("*.wal")
    resource.prlimit(filled.pid, resource.RLIMIT_FSIZE, (segment.stat().st_size, resource.RLIM_INFINITY))
    pair.trade()

    said, _ = filled.communicate(timeout=PATIENT_SECONDS)
    assert (filled.returncode, b"File too large" in said) == (1, True), said
    pair.trade()  # orders are taken meanwhile

    scratch.start_worker()
    scratch.wait_settled()
    _assert_all_traded(3)


def _get(port: int, path: str) -> tuple[int, dict[str, Any]]:
    """Return status and body of an answer of the web server; status 0 when there is none."""
    asking = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        asking.request("GET", path, headers={"Host": "localhost"})
        answer = asking.getresponse()
        return answer.status, json.loads(answer.read())
    except OSError:
        return 0, {}
    finally:
        asking.close()


def _ready(port: int, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any] | None:
    """Return what the web server says of itself, if its checks are like that."""
    _, body = _get(port, "/health/ready")
    return body if body and condition(body["checks"]) else None


@pytest.fixture
def web_port(scratch: Scratch, network: Network) -> Iterator[int]:
    """Daphne in the web's role, behind the network."""
    port = free_port()
    command = [sys.executable, "-m", "daphne", "-b", "127.0.0.1", "-p", str(port), "-v", "0"]
    with (scratch.folder / "web.log").open("ab") as log:
        web = subprocess.Popen(
            [*command, "exchange.asgi:application"],
            cwd=settings.BASE_DIR,
            env={**scratch.env, "EXCHANGE_DB_ROLE": "exchange_web"},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    yield port
    web.terminate()
    web.wait()


TRADES = "/api/v1/trades/BTCUSDT?limit=1"


def test_a_cut_network_is_told_and_refused_and_all_goes_on_when_it_is_mended(
    scratch: Scratch, network: Network, pair: Pair, web_port: int
) -> None:
    pair.trade()
    cut_off = scratch.start_worker()
    scratch.wait_settled()
    _until(lambda: _get(web_port, TRADES)[0] == 200)

    network.cut()
    status, refusal = _get(web_port, TRADES)
    assert (status, refusal["code"]) == (503, 9001)
    ready = _until(lambda: _ready(web_port, lambda checks: checks["redis"]["ok"]))  # a busy machine may ask twice
    assert (ready["takes_orders"], ready["checks"]["postgres"]["ok"]) == (False, False)
    assert _get(web_port, "/health/ready")[0] == 503
    status, live = _get(web_port, "/health/live")
    assert (status, live["status"], live["takes_orders"]) == (200, "ok", False)
    assert cut_off.wait(PATIENT_SECONDS) == 1
    pair.trade()  # through another web process
    scratch.start_worker()
    _until(lambda: "worker_waits_for_database" in _said(scratch))

    network.mend()

    _until(lambda: _get(web_port, TRADES)[0] == 200)
    _until(lambda: _get(web_port, "/health/ready")[0] == 200)
    scratch.wait_settled()
    _assert_all_traded(2)
