import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis as redis_client

from exchange.embedded import account, addresses, folder, postgres, process, redis
from exchange.embedded.errors import EmbeddedServerError


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A data folder that any account may walk to, unlike pytest's own."""
    path = Path(tempfile.mkdtemp(prefix="exchange-test-embedded-"))
    yield path
    folder.discard(path)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Path]:
    """A data folder with a cluster that was started once and stopped; every test leaves it so."""
    path = Path(tempfile.mkdtemp(prefix="exchange-test-embedded-"))
    folder.prepare(path)
    postgres.stop(postgres.start(path, durable=False), path)
    yield path
    folder.discard(path)


def ask(data_dir: Path, query: str) -> object:
    with psycopg.connect(addresses.postgres_url(data_dir)) as connection:
        row = connection.execute(query.encode()).fetchone()
        assert row is not None
        return row[0]


def refusal(data_dir: Path) -> str:
    with pytest.raises(EmbeddedServerError) as caught:
        postgres.start(data_dir, durable=False)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_postgres_starts_durable_and_leaves_no_socket_behind(data_dir: Path) -> None:
    folder.prepare(data_dir)

    server = postgres.start(data_dir)

    assert ask(data_dir, "SELECT current_database()") == addresses.DATABASE_NAME
    assert [ask(data_dir, f"SHOW {name}") for name in ("fsync", "synchronous_commit", "max_connections")] == [
        "on",
        "on",
        "200",
    ]
    postgres.stop(server, data_dir)
    assert server.returncode == 0
    assert not addresses.socket_dir(data_dir).exists()


def test_what_was_stored_is_there_after_a_restart(cluster: Path) -> None:
    server = postgres.start(cluster, durable=False)
    with psycopg.connect(addresses.postgres_url(cluster)) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS number")
    postgres.stop(server, cluster)

    server = postgres.start(cluster, durable=False)

    assert ask(cluster, "SELECT number FROM kept") == 7
    postgres.stop(server, cluster)


def test_two_instances_run_beside_each_other(cluster: Path) -> None:
    other = Path(tempfile.mkdtemp(prefix="exchange-test-embedded-"))
    folder.prepare(other)
    first, second = postgres.start(cluster, durable=False), postgres.start(other, durable=False)

    found = [ask(path, "SHOW data_directory") for path in (cluster, other)]

    postgres.stop(first, cluster)
    postgres.stop(second, other)
    assert found == [str(addresses.postgres_dir(path)) for path in (cluster, other)]
    folder.discard(other)


def test_a_killed_postgres_starts_again_over_its_stale_files(cluster: Path) -> None:
    server = postgres.start(cluster, durable=False)
    server.kill()
    server.wait()
    assert (addresses.postgres_dir(cluster) / "postmaster.pid").exists()

    server = postgres.start(cluster, durable=False)

    assert ask(cluster, "SELECT 1") == 1
    postgres.stop(server, cluster)


def test_a_pid_file_that_names_a_stranger_is_not_believed(cluster: Path) -> None:
    stranger = f"{os.getpid()}\n{addresses.postgres_dir(cluster)}\n1\n5432\n\n\n 1 1\nready\n"
    (addresses.postgres_dir(cluster) / "postmaster.pid").write_text(stranger)

    server = postgres.start(cluster, durable=False)

    assert ask(cluster, "SELECT 1") == 1
    postgres.stop(server, cluster)


def test_a_server_that_outlived_its_parent_is_stopped_before_a_new_one_starts(cluster: Path) -> None:
    survivor = postgres.start(cluster, durable=False)

    server = postgres.start(cluster, durable=False)

    assert survivor.wait(timeout=60) == 0
    assert ask(cluster, "SELECT 1") == 1
    postgres.stop(server, cluster)


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("PG_VERSION", b"garbage", "PG_VERSION holds no version"),
        ("PG_VERSION", None, "PG_VERSION is missing"),
        ("PG_VERSION", b"19\n", "was made by PostgreSQL 19"),
        ("global/pg_control", None, "global/pg_control is missing"),
        ("pg_wal", None, "pg_wal is missing"),
        ("postgresql.conf", b"port = maybe\n", "PostgreSQL did not start"),
        ("global/pg_control", b"\0" * 8192, "PostgreSQL did not start"),
    ],
)
def test_a_damaged_cluster_gives_one_clear_line(cluster: Path, name: str, content: bytes | None, line: str) -> None:
    path = addresses.postgres_dir(cluster) / name
    whole = path.rename(path.with_name("aside"))
    if content is not None:
        path.write_bytes(content)
        shutil.copymode(whole, path)
        shutil.chown(path, whole.stat().st_uid, whole.stat().st_gid)

    said = refusal(cluster)

    whole.replace(path)
    assert line in said
    assert postgres._running(addresses.postgres_dir(cluster)) is None


def test_redis_starts_answers_and_leaves_no_socket_behind(data_dir: Path) -> None:
    folder.prepare(data_dir)

    server = redis.start(data_dir)

    client = redis_client.Redis.from_url(addresses.redis_url(data_dir), decode_responses=True)
    assert client.config_get("appendonly") == {"appendonly": "yes"}
    client.close()
    redis.stop(server, data_dir)
    assert server.returncode == 0
    assert not addresses.redis_socket(data_dir).exists()


def test_a_killed_redis_starts_again_over_its_stale_socket(data_dir: Path) -> None:
    folder.prepare(data_dir)
    server = redis.start(data_dir)
    server.kill()
    server.wait()
    assert addresses.redis_socket(data_dir).exists()

    server = redis.start(data_dir)

    assert redis._ask(addresses.redis_socket(data_dir), b"PING").startswith(b"+PONG")
    redis.stop(server, data_dir)


def test_a_damaged_redis_file_gives_one_clear_line(data_dir: Path) -> None:
    folder.prepare(data_dir)
    redis.stop(redis.start(data_dir), data_dir)
    for path in addresses.redis_dir(data_dir).rglob("*.aof"):
        path.write_bytes(b"*3\r\n$3\r\nSET\r\n" * 3 + b"garbage" * 200 + b"\r\n" * 90)

    with pytest.raises(EmbeddedServerError, match="Redis did not start") as caught:
        redis.start(data_dir)

    assert "\n" not in str(caught.value)


def test_the_servers_die_with_a_parent_that_is_killed(data_dir: Path) -> None:
    if sys.platform != "linux":
        pytest.skip("the kernel ties children to their parent on Linux only")
    script = (
        "import sys, time; from pathlib import Path; from exchange.embedded import folder, postgres, redis\n"
        "path = Path(sys.argv[1]); folder.prepare(path)\n"
        "print(postgres.start(path, durable=False).pid, redis.start(path).pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script, str(data_dir)], stdout=subprocess.PIPE, text=True, cwd=folder.DEFAULT.parent
    )
    assert parent.stdout is not None
    children = [int(pid) for pid in parent.stdout.readline().split()]
    assert all(process.alive(pid) for pid in children)

    parent.kill()
    parent.wait()

    deadline = time.monotonic() + 60
    while any(process.alive(pid) for pid in children) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [process.alive(pid) for pid in children] == [False, False]
    parent.stdout.close()


def test_root_runs_the_servers_as_another_account(data_dir: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root needs another account")
    folder.prepare(data_dir)

    server = redis.start(data_dir)

    owner, wanted = Path(f"/proc/{server.pid}").stat().st_uid, account.of(data_dir)
    redis.stop(server, data_dir)
    assert wanted is not None
    assert owner == wanted.uid != 0


def test_a_program_that_cannot_start_does_not_hang(data_dir: Path) -> None:
    child = process.spawn(["/bin/sh", "-c", "exit 3"], output=subprocess.DEVNULL)

    process.end(child, signal.SIGTERM, 5)

    assert child.returncode in {3, -signal.SIGTERM}
