"""The verifier as anyone runs it, without database or Django, and the commands of operators."""

import json
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest
from django.conf import settings as django_settings
from django.core.management import CommandError, call_command

from ledger.reserves import proofs, verify
from ledger.reserves.models import Publication
from ledger.reserves.tests.test_tree import KEY, OWED, changed, proof

ROOT: Path = django_settings.BASE_DIR
PUBLIC_KEY = KEY.public_key().public_bytes_raw().hex()
NO_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "PYTHONPATH": ""}


@pytest.fixture
def file(tmp_path):
    def write(content) -> Path:
        path = tmp_path / "proof.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


def run(*command: str | Path, cwd: Path = ROOT) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-W", "error", *map(str, command)],
        cwd=cwd,
        env=NO_ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_the_module_proves_a_file_step_by_step(file) -> None:
    code, out, err = run("-m", "ledger.reserves.verify", file(proof(OWED, 3)), "--key", PUBLIC_KEY)

    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == f"holds    signature: the statement was signed with the key {PUBLIC_KEY}"
    assert lines[-2] == "holds    BTC: your 0.000001 are in the 250.000001 that the exchange says it owes"
    assert lines[-1] == "PROVEN"


def test_without_a_key_from_elsewhere_it_says_so(file) -> None:
    _, out, _ = run("-m", "ledger.reserves.verify", file(proof(OWED, 3)))

    assert "note     compare the key with one that you know from elsewhere" in out


def test_the_file_alone_is_a_verifier(file, tmp_path) -> None:
    (tmp_path / "verify.py").write_bytes(Path(verify.__file__).read_bytes())

    code, out, err = run("verify.py", file(proof(OWED, 3)), cwd=tmp_path)

    assert (code, out.splitlines()[-1], err) == (0, "PROVEN", "")


def test_the_verifier_loads_nothing_of_django_or_of_us() -> None:
    code = "import sys, ledger.reserves.verify; print([m for m in sys.modules if m.startswith(('django', 'exchange'))])"

    assert run("-c", code)[1] == "[]\n"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (changed("assets/0/parts/0/amount", "1"), "REFUSED  USDT: part 0 does not lead to the published root"),
        ("{", "REFUSED  the text is not JSON"),
        ('{"format": 1, "format": 2}', "REFUSED  a name stands twice"),
        ("[" * 100_000, "REFUSED  the text is not JSON"),
    ],
)
def test_a_tampered_file_is_refused_in_one_line(file, content, words) -> None:
    code, out, err = run("-m", "ledger.reserves.verify", file(content))

    assert (code, err) == (1, "")
    assert out.splitlines()[-1].startswith(words)


def test_a_file_that_is_not_there_is_told(tmp_path) -> None:
    assert run("-m", "ledger.reserves.verify", tmp_path / "none") == (
        2,
        "",
        f"{tmp_path}/none: No such file or directory\n",
    )


def test_bytes_that_are_no_text_are_refused(tmp_path) -> None:
    path = tmp_path / "proof.json"
    path.write_bytes(b"\xff\xfe")

    assert run("-m", "ledger.reserves.verify", path)[:2] == (1, "REFUSED  the text is not UTF-8\n")


def test_the_command_verifies_too(file) -> None:
    written = StringIO()

    call_command("verify_reserves", file(proof(OWED, 3)), key=PUBLIC_KEY, stdout=written)

    assert "PROVEN" in written.getvalue()
    with pytest.raises(CommandError, match="REFUSED  USDT"):
        call_command("verify_reserves", file(changed("assets/0/amount", "1")), stdout=written)
    with pytest.raises(CommandError, match="No such file"):
        call_command("verify_reserves", "/nowhere", stdout=written)


@pytest.fixture
def running(settings) -> None:
    """Servers run already."""
    settings.EMBEDDED_POSTGRES = settings.EMBEDDED_REDIS = False


@pytest.mark.usefixtures("running")
def test_publishing_by_command_gives_proofs_that_the_verifier_accepts(customer, approver, file) -> None:
    alice = customer("alice", USDT=100)
    written = StringIO()

    call_command("publish_reserves", by="approver", stdout=written)

    publication = Publication.objects.get()
    lines = written.getvalue().splitlines()
    assert lines[0].startswith(f"publication {publication.pk}, books up to entry 1, ")
    assert lines[2] == "USDT: owes 100, holds 100, ratio 1"
    assert run("-m", "ledger.reserves.verify", file(proofs.proof(publication.pk, alice.id)))[0] == 0


@pytest.mark.usefixtures("running")
@pytest.mark.parametrize(("by", "words"), [("nobody", "no user nobody"), ("alice", "needs the right publish_reserves")])
def test_who_may_not_publish_cannot_by_command(customer, by, words) -> None:
    customer("alice", USDT=100)

    with pytest.raises(CommandError, match=words):
        call_command("publish_reserves", by=by)

    assert not Publication.objects.exists()
