"""Statements as CSV, XLSX and PDF: to the last digit, with the period printed, to whom it may concern."""

import csv
import io
import re
import subprocess
import zipfile
from decimal import Decimal
from shutil import which
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.test import AsyncClient
from django.utils.translation import override

from exchange.api.throttling import Limit
from ledger.access import Role
from ledger.models import FinanceLog
from ledger.posting_rules import EventKind
from ledger.reports.document import Column, ColumnKind, Document, Figure, Name, Row, RowKind
from ledger.reports.files import delimited, paper, workbook
from ledger.reports.files.paper import TooLongForPaperError
from ledger.reports.files.workbook import TooLongForAWorkbookError, fits_a_number
from ledger.statement_catalogue import CATALOGUE
from ledger.tests import history
from ledger.tests.factories import event
from ledger.tests.history import march, post

FINE = "1234567890123.123456789012345678"
"""More digits than a spreadsheet's number keeps."""
NOW = march(9)

pytestmark = pytest.mark.filterwarnings("ignore:No directory at:UserWarning")


def file(client, name: str, ending: str, **asked: str) -> bytes:
    response = client.get(f"/admin/finance/statements/{name}.{ending}", asked)
    assert response.status_code == 200, (name, ending)
    assert response["Content-Disposition"].startswith('attachment; filename="')
    return b"".join(response.streaming_content)


def rows(content: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(content.decode("utf-8-sig"))))


def sheet_xml(content: bytes) -> str:
    with zipfile.ZipFile(io.BytesIO(content)) as book:
        return (
            book.read("xl/worksheets/sheet1.xml").decode() + book.read("xl/sharedStrings.xml").decode()
            if ("xl/sharedStrings.xml" in book.namelist())
            else book.read("xl/worksheets/sheet1.xml").decode()
        )


def text_of(content: bytes, tmp_path) -> str:
    if which("pdftotext") is None:
        pytest.skip("no pdftotext on this machine: install it (Debian: apt-get install poppler-utils)")
    path = tmp_path / "statement.pdf"
    path.write_bytes(content)
    done = subprocess.run(["pdftotext", "-layout", path, "-"], capture_output=True, check=True, text=True)
    return done.stdout


def document(*cells: object, count: int = 1) -> Document:
    columns = [Column("Account", ColumnKind.TEXT, 40), Column("Amount", ColumnKind.AMOUNT, 20)]
    row = Row(RowKind.PLAIN, ("cash", *cells), 2)  # type: ignore[arg-type]
    return Document("test", "Test", ["Platform", "From 2026-03-01 to 2026-03-31, UTC"], columns, [row] * count)


@pytest.mark.usefixtures("books")
@pytest.mark.parametrize("ending", ["csv", "xlsx", "pdf"])
@pytest.mark.parametrize("name", CATALOGUE)
def test_every_statement_is_a_file_of_every_kind_and_each_is_logged(people, signed_in, name, ending) -> None:
    content = file(signed_in(Role.AUDITOR), name, ending, owner="alice", **{"from": "2026-03-01", "to": "2026-03-09"})

    assert content.startswith({"csv": b"\xef\xbb\xbf", "xlsx": b"PK", "pdf": b"%PDF"}[ending])
    [visit] = FinanceLog.objects.all()
    assert (visit.action, visit.subject) == ("statement.export", f"{name}/{ending}")
    assert visit.detail["query"].startswith("owner=alice")


@pytest.mark.usefixtures("books")
def test_a_csv_has_the_period_and_every_amount_to_its_last_digit(people, signed_in) -> None:
    alice, _ = people
    post(event(EventKind.DEPOSIT, "deposit:fine", alice.id, FINE), march(7))

    found = rows(file(signed_in(Role.AUDITOR), "trial-balance", "csv", asset="USDT", to="2026-03-09"))

    assert found[:3] == [
        ["Trial balance"],
        ["Platform"],
        ["From the beginning of the books to 2026-03-09, UTC"],
    ]
    [custody] = [row for row in found if row and row[0].startswith("1110")]
    assert custody == [
        "1110 Custody: main", "", "", "1234567901223.123456789012345678", "997", "1234567900226.123456789012345678", ""
    ]  # fmt: skip


@pytest.mark.usefixtures("books")
def test_the_general_ledger_lists_every_line_between_opening_and_closing(people, signed_in) -> None:
    found = rows(file(signed_in(Role.AUDITOR), "general-ledger", "csv", asset="USDT", **{"from": "2026-03-03"}))

    start = next(place for place, row in enumerate(found) if row and row[0].startswith("USDT  1110"))
    assert [(row[0][:19], row[2], *row[6:]) for row in found[start + 1 : start + 5]] == [
        ("Opening balance", "", "", "", "11100"),
        ("2026-03-03T12:00:00", "withdrawal:1:settle", "", "995", "10105"),
        ("2026-03-03T12:00:00", "withdrawal:1:settle", "", "2", "10103"),
        ("Closing balance", "", "", "", "10103"),
    ]


def test_a_text_that_looks_like_a_formula_is_no_formula() -> None:
    assert delimited.text("=HYPERLINK(1)") == "'=HYPERLINK(1)"
    assert delimited.text(Name("@SUM", "", "")) == "'@SUM"
    assert delimited.text(Figure(Decimal("-5.10"))) == "-5.1"
    assert delimited.text(None) == ""


def test_a_csv_is_sent_while_its_rows_are_made() -> None:
    made = []

    def endless():
        while True:
            made.append(1)
            yield Row(RowKind.PLAIN, ("cash", Figure(Decimal(1))))

    chunks = delimited.written(Document("test", "Test", [], document().columns, endless(), long=True))
    for _ in range(3):
        next(chunks)

    assert len(made) == 2 * delimited.CHUNK_ROWS


@pytest.mark.parametrize(
    ("amount", "fits"),
    [("0", True), ("0.1", True), ("123456789012345", True), ("0.123456789012345", True), ("100000000000000000", True),
     ("1234567890123456", False), (FINE, False), ("-9.999999999999999", False)],
)  # fmt: skip
def test_a_spreadsheets_number_keeps_fifteen_digits(amount, fits) -> None:
    assert fits_a_number(Decimal(amount)) is fits


def test_a_workbook_has_numbers_where_they_are_exact_and_text_where_they_are_not() -> None:
    content = b"".join(workbook.written(document(Figure(Decimal("9.95"))), NOW))
    fine = b"".join(workbook.written(document(Figure(Decimal(FINE))), NOW))

    [number] = re.findall(r'<c r="B6"[^>]*><v>([^<]+)</v>', sheet_xml(content))
    assert float(number) == 9.95
    assert FINE in sheet_xml(fine)
    assert "Amounts of more than 15 digits are text" in sheet_xml(fine)
    assert "Amounts of more than 15 digits are text" not in sheet_xml(content)


def test_a_long_workbook_goes_on_on_another_sheet(monkeypatch) -> None:
    monkeypatch.setattr(workbook, "SHEET_ROWS_MAX", 10)

    content = b"".join(workbook.written(document(Figure(Decimal(1)), count=12), NOW))

    with zipfile.ZipFile(io.BytesIO(content)) as book:
        assert len([name for name in book.namelist() if name.startswith("xl/worksheets/sheet")]) == 3


def test_a_workbook_without_end_is_refused(monkeypatch) -> None:
    monkeypatch.setattr(workbook, "ROWS_MAX", 5)

    with pytest.raises(TooLongForAWorkbookError):
        next(workbook.written(document(Figure(Decimal(1)), count=6), NOW))


def test_a_pdf_repeats_its_heads_and_counts_its_pages(tmp_path) -> None:
    content = b"".join(paper.written(document(Figure(Decimal("1234.5")), count=150), NOW))

    pages = text_of(content, tmp_path).split("\f")[:-1]
    assert len(pages) == 3
    for number, page in enumerate(pages, start=1):
        assert f"Page {number} of 3" in page
        assert re.search(r"Account\s+Amount", page)
        assert "From 2026-03-01 to 2026-03-31, UTC" in page
    assert sum(page.count("1,234.50") for page in pages) == 150
    assert "Printed 2026-03-09 12:00 UTC" in pages[0]


def test_a_pdf_speaks_chinese_with_a_font_of_its_own(tmp_path) -> None:
    with override("zh-hant"):
        content = b"".join(paper.written(document(Figure(Decimal(1))), NOW))
        assert "第 1 頁\N{FULLWIDTH COMMA}共 1 頁" in text_of(content, tmp_path)

    assert b"FontFile3" in content


def test_long_texts_are_broken_and_not_cut_off(tmp_path) -> None:
    key = "faucet:" + "ghijklmnop" * 20
    name = "客戶可用資金" * 20
    columns = [Column("Key", ColumnKind.TEXT, 10), Column("Name", ColumnKind.TEXT, 10), document().columns[1]]
    row = Row(RowKind.PLAIN, (key, name, Figure(Decimal(FINE))), 2)

    content = b"".join(paper.written(Document("test", "Test", [], columns, [row]), NOW))

    shown = re.sub(r"\s", "", text_of(content, tmp_path))
    assert shown.count("客") == 20
    assert shown.count("j") == 20
    assert "1,234,567,890,123.123456789012345678" in shown


def test_a_statement_too_long_for_paper_is_refused(monkeypatch) -> None:
    monkeypatch.setattr(paper, "ROWS_MAX", 5)

    with pytest.raises(TooLongForPaperError):
        next(paper.written(document(Figure(Decimal(1)), count=6), NOW))


@pytest.mark.usefixtures("books")
def test_what_is_too_long_leads_back_to_the_page_that_says_so(people, signed_in, monkeypatch) -> None:
    monkeypatch.setattr(paper, "ROWS_MAX", 5)
    client = signed_in(Role.AUDITOR)

    answer = client.get("/admin/finance/statements/trial-balance.pdf", {"asset": "USDT"})

    assert (answer.status_code, answer["Location"]) == (302, "/admin/finance/trial-balance?asset=USDT")
    assert "A PDF takes at most 5 rows" in client.get(answer["Location"]).content.decode()


@pytest.mark.usefixtures("books")
def test_who_may_not_export_gets_no_file_and_no_link(people, signed_in) -> None:
    for client in (signed_in(None, "view_books"), signed_in(Role.SUPPORT)):
        assert client.get("/admin/finance/statements/trial-balance.csv").status_code == 403
    page = signed_in(None, "view_customers").get("/admin/finance/account-statement", {"owner": "alice"})
    assert "/admin/finance/statements/" not in page.content.decode()
    assert not FinanceLog.objects.filter(action="statement.export").exists()


@pytest.mark.usefixtures("books")
def test_one_users_file_needs_the_right_to_see_customers(people, signed_in) -> None:
    client = signed_in(None, "export_books")

    assert client.get("/admin/finance/statements/trial-balance.csv").status_code == 200
    for name in ("trial-balance", "account-statement"):
        assert client.get(f"/admin/finance/statements/{name}.csv", {"owner": "alice"}).status_code == 403


@pytest.mark.usefixtures("books")
def test_files_are_limited_by_the_minute(people, signed_in, monkeypatch) -> None:
    monkeypatch.setattr("ledger.views_statements.FILES", two_a_minute())
    client = signed_in(Role.AUDITOR)

    statuses = [client.get("/admin/finance/statements/cash-flow.csv").status_code for _ in range(3)]

    assert statuses == [200, 200, 302]


def two_a_minute() -> Limit:
    return Limit("statement-files-test", 2, 60)


def test_unknown_statements_and_endings_are_not_found(signed_in, db) -> None:
    client = signed_in(Role.AUDITOR)

    assert client.get("/admin/finance/statements/secrets.csv").status_code == 404
    assert client.get("/admin/finance/statements/cash-flow.exe").status_code == 404


@pytest.mark.django_db(transaction=True)
def test_under_an_asgi_server_the_file_is_sent_piece_by_piece(customer, signed_in) -> None:
    alice, bob = customer("alice"), customer("bob")
    history.write(alice.id, bob.id)
    cookies = signed_in(Role.AUDITOR).cookies

    async def read(page: str) -> bytes:
        client = AsyncClient()
        client.cookies = cookies
        response: Any = await client.get(page)
        return b"".join([chunk async for chunk in response.streaming_content])

    assert rows(async_to_sync(read)("/admin/finance/statements/general-ledger.csv"))[0] == ["General ledger"]
