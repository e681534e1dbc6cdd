"""The whole of `manage.py up`, as a process of its own on ports and in a folder of its own."""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.management import CommandError

from exchange.demo import catalogue
from exchange.embedded import addresses, folder, process
from exchange.management import children
from exchange.management.children import Place
from exchange.management.commands import up
from exchange.management.console import Screen
from exchange.tests.ports import free_port
from ledger.services import grants
from trading.models import CommandStream
from trading.services import lease
from trading.tests.road import make_instrument

ROOT = folder.DEFAULT.parent
MANAGE = [sys.executable, str(ROOT / "manage.py")]
START_SECONDS_MAX = 300
RESTART_SECONDS_MAX = 180
STOP_SECONDS_MAX = 120
SHOWN_SECONDS_MAX = 120
COMMAND_SECONDS_MAX = 240


def environment(**added: str) -> dict[str, str]:
    """The environment of a person's shell: nothing of this test run's."""
    dropped = {folder.VARIABLE, "DJANGO_SETTINGS_MODULE", "DATABASE_URL", "REDIS_URL", "EXCHANGE_DB_ROLE"}
    return {name: value for name, value in os.environ.items() if name not in dropped} | added


def wait(what: Callable[[], object], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if what():
            return True
        time.sleep(0.1)
    return bool(what())


class Instance:
    """An `up` with its folder, port and output."""

    def __init__(self, data_dir: Path, *options: str) -> None:
        self.data_dir, self.port = data_dir, free_port()
        self.output = tempfile.NamedTemporaryFile(prefix="exchange-test-up-", suffix=".txt")  # noqa: SIM115
        command = [*MANAGE, "up", "--data-dir", str(data_dir), "--port", str(self.port), *options]
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=self.output, stderr=subprocess.STDOUT,
            cwd="/", env=environment(),
        )  # fmt: skip

    def text(self) -> str:
        return Path(self.output.name).read_text()

    def get(self, path: str) -> dict[str, Any]:
        """The body of an answer with status 200; empty for any other, and for none."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return json.loads(response.read()) if response.status == 200 else {}
        except OSError:
            return {}
        finally:
            connection.close()

    def answers(self) -> bool:
        return bool(self.get("/health/live"))

    def children(self) -> list[int]:
        """The processes that `up` lists, by pid."""
        listed = json.loads((self.data_dir / "run" / "status.json").read_text())["children"]
        return [child["pid"] for child in listed if child["pid"]]

    def wait_ready(self) -> None:
        ended = lambda: self.process.poll() is not None  # noqa: E731
        assert wait(lambda: ended() or "The exchange is ready." in self.text(), START_SECONDS_MAX), self.text()
        assert not ended(), self.text()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.output.close()


@pytest.fixture
def data_dir() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="exchange-test-up-"))
    yield path
    folder.discard(path)


@pytest.fixture
def instance(data_dir: Path) -> Iterator[Instance]:
    found = Instance(data_dir)
    yield found
    found.close()


def command(*arguments: str, **added: str) -> SimpleNamespace:
    """Run a command to its end."""
    done = subprocess.run(
        [*MANAGE, *arguments], capture_output=True, text=True, stdin=subprocess.DEVNULL, cwd="/",
        env=environment(**added), timeout=COMMAND_SECONDS_MAX, check=False,
    )  # fmt: skip
    return SimpleNamespace(code=done.returncode, out=done.stdout, err=done.stderr)


def listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _reconciled(instance: Instance) -> bool:
    """Tell whether the reconciler has looked lately, has caught up, and everything agrees."""
    found = json.loads(command("status", "--json", "--data-dir", str(instance.data_dir)).out)["reconciliation"]
    return found is not None and found["seconds_ago"] is not None and found["seconds_ago"] < 10 and not found["breaks"]


@pytest.fixture
def two_shards(data_dir: Path) -> Iterator[Instance]:
    found = Instance(data_dir, "--shards", "2")
    yield found
    found.close()


def _has_traded(instance: Instance, symbol: str) -> bool:
    return bool(instance.get(f"/api/v1/trades/{symbol}?limit=1").get("data"))


def _last_trade(instance: Instance, symbol: str) -> int:
    """The id of the last trade; 0 before the first."""
    trades = instance.get(f"/api/v1/trades/{symbol}?limit=1").get("data")
    return int(trades[0]["trade_id"]) if trades else 0


def test_up_serves_tells_its_state_refuses_a_second_and_stops_without_leaving_anything(two_shards: Instance) -> None:
    instance = two_shards
    instance.wait_ready()

    assert instance.answers()
    assert wait(lambda: "bob /" in instance.text(), SHOWN_SECONDS_MAX), "`up` does not print who can sign in"
    for expected in (f"http://127.0.0.1:{instance.port}/trade/BTCUSDT", "/admin/", "/api/docs", "alice /"):
        assert expected in instance.text()

    same_folder = command("up", "--data-dir", str(instance.data_dir), "--port", str(free_port()))
    assert (same_folder.code, same_folder.err.count("\n")) == (1, 1)
    assert f"in use by `up` at http://127.0.0.1:{instance.port}" in same_folder.err

    found = command("status", "--json", "--data-dir", str(instance.data_dir))
    state = json.loads(found.out)
    names = [child["name"] for child in state["processes"]]
    workers = ["worker", "worker-1"]
    assert names == ["postgres", "redis", "web", *workers, "celery", "beat", "reconciler", "relay", "makers"]
    assert [shard["instruments"] for shard in state["shards"]] == [["2330.TW", "BTC-PERP"], ["AAPL", "BTCUSDT"]]
    assert wait(lambda: command("status", "--data-dir", str(instance.data_dir)).code == 0, SHOWN_SECONDS_MAX)

    for symbol in ("BTCUSDT", "BTC-PERP"):
        traded = partial(_has_traded, instance, symbol)
        assert wait(traded, SHOWN_SECONDS_MAX), f"the demo makers do not trade {symbol}"
    assert wait(lambda: _reconciled(instance), SHOWN_SECONDS_MAX), "the reconciler does not look, or finds breaks"

    number = _last_trade(instance, "BTCUSDT")
    for words in (
        ["set_trading_state", "BTCUSDT", "halted"],
        ["move_instrument", "BTCUSDT", "--to", "0", "--wait", "180"],
    ):
        done = command(*words, EXCHANGE_DATA_DIR=str(instance.data_dir))
        assert done.code == 0, done.err
    assert "BTCUSDT: shard 1 -> 0" in done.out
    opened = command("set_trading_state", "BTCUSDT", "trading", EXCHANGE_DATA_DIR=str(instance.data_dir))
    assert opened.code == 0, opened.err
    assert wait(lambda: _last_trade(instance, "BTCUSDT") not in {number, 0}, SHOWN_SECONDS_MAX), instance.text()[-5000:]
    assert wait(lambda: _reconciled(instance), SHOWN_SECONDS_MAX), "the reconciler finds breaks after the move"

    pids = instance.children()
    instance.process.terminate()
    assert instance.process.wait(timeout=STOP_SECONDS_MAX) == 0
    assert [pid for pid in pids if process.alive(pid)] == []
    assert not addresses.socket_dir(instance.data_dir).exists()
    assert not listening(instance.port)
    assert not any(listening(instance.port + children.WORKER_PORT_OFFSET + shard) for shard in (0, 1))
    assert not (instance.data_dir / "run" / "status.json").exists()
    assert "Traceback" not in instance.text()
    assert command("status", "--data-dir", str(instance.data_dir)).code == 1


def test_kill_9_of_up_leaves_no_orphan_and_the_next_up_starts_over_it(instance: Instance) -> None:
    if sys.platform != "linux":
        pytest.skip("the kernel ties children to their parent on Linux only")
    instance.wait_ready()
    pids = instance.children()

    instance.process.send_signal(signal.SIGKILL)
    instance.process.wait()

    left = lambda: [process.program(pid) for pid in pids if process.alive(pid)]  # noqa: E731
    assert wait(lambda: not left(), SHOWN_SECONDS_MAX), left()
    second = Instance(instance.data_dir, "--no-demo")
    try:
        assert wait(second.answers, RESTART_SECONDS_MAX), second.text()
        second.wait_ready()
        assert f"Demo users are locked out: {len(catalogue.USERS)}" in second.text()
        worker = next(
            child["pid"]
            for child in json.loads((second.data_dir / "run" / "status.json").read_text())["children"]
            if child["name"] == "worker"
        )
        os.kill(worker, signal.SIGKILL)
        assert wait(lambda: "was ended by signal 9; starts again in 0.5 s" in second.text(), SHOWN_SECONDS_MAX)
        audit = command("audit_books", "--json", EXCHANGE_DATA_DIR=str(second.data_dir))
        assert (audit.code, json.loads(audit.out)["ok"]) == (0, True), audit.out + audit.err
        second.process.send_signal(signal.SIGINT)
        assert second.process.wait(timeout=STOP_SECONDS_MAX) == 0
    finally:
        second.close()


def test_an_ordinary_user_runs_up_too(data_dir: Path) -> None:
    packages = next(Path(path) for path in sys.path if path.endswith("site-packages"))
    needed = (ROOT, packages, Path(sys.executable).parent, Path(sys.executable).resolve())
    if os.geteuid() != 0:
        pytest.skip("the other tests run as an ordinary user already")
    if shutil.which("setpriv") is None:
        pytest.skip("setpriv is not installed")
    if closed := [str(path) for path in needed if not addresses.walkable_by_others(path)]:
        pytest.skip(f"an ordinary user cannot reach {closed[0]}")
    shutil.chown(data_dir, "nobody")
    port = str(free_port())

    running = subprocess.Popen(
        ["setpriv", "--reuid=nobody", "--clear-groups", *MANAGE, "up", "--port", port,
         "--data-dir", str(data_dir), "--no-demo"],
        env=environment(HOME=str(data_dir.parent), NUMBA_CACHE_DIR=str(data_dir / "run" / "numba")),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd="/",
    )  # fmt: skip
    answered = wait(lambda: running.poll() is not None or listening(int(port)), START_SECONDS_MAX)
    running.terminate()
    said = running.communicate(timeout=STOP_SECONDS_MAX)[0].decode()

    assert answered, said
    assert running.returncode == 0, said
    assert (data_dir / "postgres").stat().st_uid == data_dir.stat().st_uid != 0


def test_a_command_starts_servers_for_itself_and_stops_them(data_dir: Path) -> None:
    audit = command("audit_books", "--json", EXCHANGE_DATA_DIR=str(data_dir))

    assert (audit.code, json.loads(audit.out)["ok"]) == (0, True), audit.err
    assert not addresses.socket_dir(data_dir).exists()
    assert not (addresses.postgres_dir(data_dir) / "postmaster.pid").exists()
    assert folder.holder(data_dir) is None


def test_a_command_on_a_damaged_folder_gives_one_line(data_dir: Path) -> None:
    (data_dir / "postgres").mkdir()
    (data_dir / "postgres" / "base").mkdir()

    audit = command("audit_books", "--json", EXCHANGE_DATA_DIR=str(data_dir))

    assert (audit.code, audit.err.count("\n")) == (1, 1)
    assert "PG_VERSION is missing" in audit.err


def test_a_busy_port_gives_one_line_and_starts_nothing(data_dir: Path) -> None:
    port = free_port()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()

        refused = command("up", "--data-dir", str(data_dir), "--port", str(port))

    assert (refused.code, refused.err.count("\n"), refused.out) == (1, 1, "")
    assert f"Port {port} on 127.0.0.1 cannot be used: Address already in use" in refused.err
    assert not (data_dir / "postgres").exists()


def test_servers_that_do_not_answer_give_one_line(data_dir: Path) -> None:
    nowhere = "postgresql://someone:secret@127.0.0.1:9/exchange"

    refused = command(
        "up", "--data-dir", str(data_dir), "--port", str(free_port()),
        DATABASE_URL=nowhere, REDIS_URL="redis://127.0.0.1:9/0",
    )  # fmt: skip

    assert (refused.code, refused.err.count("\n")) == (1, 1)
    assert "PostgreSQL does not answer (DATABASE_URL)" in refused.err
    assert "secret" not in refused.err


def test_production_without_its_secrets_gives_one_line(data_dir: Path) -> None:
    refused = command("up", "--data-dir", str(data_dir), DJANGO_SETTINGS_MODULE="exchange.settings.prod")

    assert (refused.code, refused.err) == (1, "The settings are not complete: SECRET_KEY must be set in production.\n")


def test_a_damaged_data_folder_gives_one_line(data_dir: Path) -> None:
    (data_dir / "postgres").mkdir()
    (data_dir / "postgres" / "PG_VERSION").write_text("garbage")

    refused = command("up", "--data-dir", str(data_dir), "--port", str(free_port()))

    assert (refused.code, refused.err.count("\n")) == (1, 1)
    assert "PG_VERSION holds no version" in refused.err


def test_a_folder_that_is_not_ours_is_neither_used_nor_reset(data_dir: Path) -> None:
    (data_dir / "thesis.txt").write_text("years of work")

    refused = command("up", "--reset", "--yes", "--data-dir", str(data_dir), "--port", str(free_port()))

    assert (refused.code, refused.err.count("\n")) == (1, 1)
    assert [path.name for path in data_dir.iterdir()] == ["thesis.txt"]
    (data_dir / "thesis.txt").unlink()


def test_a_reset_without_anybody_to_ask_removes_nothing(data_dir: Path) -> None:
    folder.prepare(data_dir)
    (data_dir / "wal").mkdir()

    refused = command("up", "--reset", "--data-dir", str(data_dir), "--port", str(free_port()))

    assert refused.code == 1
    assert "--reset asks first" in refused.err
    assert (data_dir / "wal").exists()


OPTIONS = {"data_dir": "", "no_demo": False, "reset": False}


@pytest.mark.django_db
def test_a_shard_that_has_something_is_not_left_out(data_dir: Path) -> None:
    make_instrument(shard=2)
    lease.open_shard(3)
    CommandStream.objects.filter(shard=3).update(sequence=7)
    run = up._Run(Place(data_dir, "127.0.0.1", 8000, shards=2), Screen(), all_logs=False)

    with pytest.raises(CommandError) as refused:
        run._prepare_shards()

    words = "--shards 2 is too few: shard 2 has BTCUSDT; shard 3 has 7 commands that are not in the books."
    assert str(refused.value) == words
    CommandStream.objects.filter(shard=3).update(sequence=0)
    up._Run(Place(data_dir, "127.0.0.1", 8000, shards=3), Screen(), all_logs=False)._prepare_shards()
    assert CommandStream.objects.filter(shard__in=(0, 1, 2)).count() == 3


@pytest.mark.django_db
def test_an_instrument_that_is_not_where_it_is_configured_is_told(data_dir: Path, settings, capsys) -> None:
    settings.SHARDS, settings.INSTRUMENT_SHARDS = 2, {"BTCUSDT": 1}
    make_instrument()

    up._Run(Place(data_dir, "127.0.0.1", 8000, shards=2), Screen(), all_logs=False)._prepare_shards()

    assert "BTCUSDT is on shard 0; the configuration says 1" in capsys.readouterr().out


def test_a_number_of_shards_that_the_settings_do_not_know_is_refused(settings, data_dir: Path) -> None:
    settings.DEMO = False

    with pytest.raises(CommandError, match="Set EXCHANGE_SHARDS"):
        up._check_settings(Place(data_dir, "127.0.0.1", 8000, shards=2), OPTIONS)


def test_the_demo_listens_on_loopback_only(settings, data_dir: Path) -> None:
    settings.DEMO = True

    with pytest.raises(CommandError, match=r"listens on loopback only, not on 0\.0\.0\.0"):
        up._check_settings(Place(data_dir, "0.0.0.0", 8000), OPTIONS)  # noqa: S104 -- refused


def test_debug_listens_on_loopback_only_also_without_the_demo(settings, data_dir: Path) -> None:
    settings.DEMO, settings.DEBUG = False, True

    with pytest.raises(CommandError, match="With DEBUG on"):
        up._check_settings(Place(data_dir, "192.168.1.5", 8000), OPTIONS)


def test_without_debug_the_development_secret_is_refused(settings, data_dir: Path) -> None:
    settings.DEMO, settings.DEBUG = False, False
    (data_dir / "secret_key").write_text(settings.SECRET_KEY)

    with pytest.raises(CommandError, match="set a secret of your own"):
        up._check_settings(Place(data_dir, "127.0.0.1", 8000), OPTIONS)


def test_without_debug_the_development_key_for_reserves_is_refused(settings, data_dir: Path) -> None:
    settings.DEMO, settings.DEBUG = False, False
    (data_dir / "reserves_key").write_text(settings.RESERVES_SIGNING_KEY)

    with pytest.raises(CommandError, match="set a key of your own"):
        up._check_settings(Place(data_dir, "127.0.0.1", 8000), OPTIONS)


def test_the_signing_key_goes_to_the_back_office_alone(monkeypatch, data_dir: Path) -> None:
    monkeypatch.setenv("RESERVES_SIGNING_KEY", "ab" * 32)
    place = Place(data_dir, "127.0.0.1", 8000)

    holders = {role for role in grants.ROLES if "RESERVES_SIGNING_KEY" in children._environment(place, role)}

    assert holders == {grants.BACK_OFFICE_ROLE}


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_loopback_is_known_in_all_its_forms(host: str) -> None:
    assert up._is_loopback(host)


@pytest.mark.parametrize(
    ("host", "url"), [("127.0.0.1", "http://127.0.0.1:8000"), ("::1", "http://[::1]:8000"), ("::", "http://[::1]:8000")]
)
def test_the_url_can_be_typed_into_a_browser(data_dir: Path, host: str, url: str) -> None:
    assert Place(data_dir, host, 8000).url == url
