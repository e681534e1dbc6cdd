"""`manage.py export_journal` as an operator runs it."""

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from ledger.services import journal
from ledger.tests import outside
from ledger.tests.factories import NOW, freeze
from ledger.tests.fixtures import make_asset

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _servers_run_already(settings) -> None:
    settings.EMBEDDED_POSTGRES = settings.EMBEDDED_REDIS = False


def export(**options: Any) -> str:
    written = StringIO()
    call_command("export_journal", stdout=written, **{"format": "beancount", **options})
    return written.getvalue()


@pytest.mark.parametrize("form", ["beancount", "hledger"])
@pytest.mark.parametrize("view", ["user", "platform"])
def test_a_file_is_written_whole_and_accepted_by_the_tool(customer, tmp_path, form, view) -> None:
    alice = customer("alice", USDT=100, BTC="0.5")
    journal.post([freeze("a", alice.id, 30)], NOW)
    path = tmp_path / "books"

    assert export(format=form, view=view, output=path) == ""

    assert [file.name for file in tmp_path.iterdir()] == ["books"]
    assert path.read_text().endswith("; End of the file: 3 transactions.\n")
    assert outside.check(outside.tool(form), path) == ""


def test_without_a_file_standard_output_has_the_platforms_journal(customer) -> None:
    customer("alice", USDT=100)

    written = export()

    assert written.startswith("; Entries from the first to entry 1, ")
    assert "Assets:Custody:X-main  100.00000000 USDT\n" in written
    assert "Wallet" not in written


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"as_of": "1999-12-31"}, "no journal entry"),
        ({"from": "2999-01-02", "to": "2999-01-01"}, "before it begins"),
        ({"to": "soon"}, "soon is neither a date"),
        ({"output": Path("/nowhere/books")}, "/nowhere/books: No such file"),
    ],
)
def test_what_cannot_be_exported_is_said_in_one_line(customer, options, words) -> None:
    customer("alice", USDT=100)

    with pytest.raises(CommandError, match=words):
        export(**options)


def test_an_export_that_is_refused_leaves_the_file_of_before(customer, tmp_path) -> None:
    make_asset("FINE", decimals=18)
    customer("alice", FINE=10**11)
    path = tmp_path / "books"
    path.write_text("those of yesterday")

    with pytest.raises(CommandError, match="28 digits"):
        export(output=path)

    assert [file.name for file in tmp_path.iterdir()] == ["books"]
    assert path.read_text() == "those of yesterday"
