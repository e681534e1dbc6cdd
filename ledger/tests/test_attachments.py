"""Attachments: judged by what they are, stored by hash, handed out whole or not at all."""

import hashlib
import io
import zipfile
from pathlib import Path

import pytest
from django.db import DatabaseError, connection, transaction

from ledger.access import NotAllowedError, Role
from ledger.control_models import EntryAttachment
from ledger.models import FinanceLog
from ledger.services import attachments
from ledger.services.attachments import (
    PER_ENTRY_MAX,
    SIZE_MAX_BYTES,
    XLSX,
    AttachmentCountError,
    AttachmentMissingError,
    AttachmentSizeError,
    AttachmentTypeError,
)
from ledger.services.journal import EntryUnknownError
from ledger.tests.factories import NOW, staff

pytestmark = pytest.mark.usefixtures("books", "folder")
PDF = b"%PDF-1.7 a statement"


@pytest.fixture
def folder(settings, tmp_path: Path) -> Path:
    settings.ATTACHMENTS_DIR = tmp_path / "attachments"
    return settings.ATTACHMENTS_DIR


@pytest.fixture
def entry(customer) -> int:
    customer("alice", USDT=1)
    return 1


def attach(entry: int, name: str, *chunks: bytes, role: Role = Role.ACCOUNTANT) -> EntryAttachment:
    return attachments.attach(staff(role), entry, name, chunks, now=NOW)


def archive(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name in names:
            file.writestr(name, "<x/>")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "content_type"),
    [
        ("statement.pdf", PDF, "application/pdf"),
        ("Scan.PNG", b"\x89PNG\r\n\x1a\n...", "image/png"),
        ("photo.jpeg", b"\xff\xd8\xff\xe0...", "image/jpeg"),
        ("book.xlsx", archive("[Content_Types].xml", "xl/workbook.xml"), XLSX),
        ("對帳單.csv", "日期,金額\n".encode(), "text/csv"),
        ("mail.txt", b"Dear Sir", "text/plain"),
    ],
)
def test_a_file_comes_back_as_it_was_under_its_own_type(entry, folder, name, content, content_type) -> None:
    attachment = attach(entry, name, content[:4], content[4:])

    download = attachments.download(staff(Role.AUDITOR), attachment.pk, now=NOW)

    assert download.content == content
    assert (attachment.name, attachment.content_type, attachment.size_bytes) == (name, content_type, len(content))
    digest = hashlib.sha256(content).hexdigest()
    assert [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()] == [
        f"{digest[:2]}/{digest}"
    ]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("page.html", b"<script>"),
        ("program.exe", b"MZ"),
        ("drawing.svg", b"<svg/>"),
        ("noend", PDF),
        (".pdf", PDF),
        ("fake.pdf", b"<html>"),
        ("fake.png", PDF),
        ("fake.jpg", b"GIF89a"),
        ("fake.xlsx", b"PK\x03\x04 broken"),
        ("other.xlsx", archive("word/document.xml")),
        ("binary.csv", b"a,b\x00c"),
        ("latin.txt", b"\xe9t\xe9"),
    ],
)
def test_what_is_not_what_its_name_says_is_refused(entry, folder, name, content) -> None:
    with pytest.raises(AttachmentTypeError):
        attach(entry, name, content)

    assert not EntryAttachment.objects.exists()
    assert not folder.exists()


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("../../etc/passwd.txt", "passwd.txt"),
        ("C:\\Users\\me\\mail.txt", "mail.txt"),
        ("a\r\nb\x00.txt", "ab.txt"),
        ("x" * 300 + ".txt", "x" * 116 + ".txt"),
    ],
)
def test_a_name_leads_nowhere_and_is_short(entry, name, kept) -> None:
    assert attach(entry, name, b"text").name == kept


def test_an_empty_or_large_file_is_refused_without_reading_on(entry) -> None:
    def endless():
        for _ in range(12):
            yield b"x" * 1024 * 1024
        pytest.fail("read far beyond the limit")

    with pytest.raises(AttachmentSizeError):
        attach(entry, "a.txt")
    with pytest.raises(AttachmentSizeError):
        attachments.attach(staff(Role.ACCOUNTANT), entry, "a.txt", endless(), now=NOW)

    assert attach(entry, "a.txt", b"x" * SIZE_MAX_BYTES).size_bytes == SIZE_MAX_BYTES


def test_an_entry_has_a_file_once_and_twenty_at_most(entry) -> None:
    attach(entry, "0.txt", b"0")
    with pytest.raises(AttachmentCountError):
        attach(entry, "again.txt", b"0")
    for number in range(1, PER_ENTRY_MAX):
        attach(entry, f"{number}.txt", str(number).encode())

    with pytest.raises(AttachmentCountError):
        attach(entry, "more.txt", b"more")

    assert EntryAttachment.objects.count() == PER_ENTRY_MAX


def test_attaching_needs_an_entry_and_the_right_to_comment(entry) -> None:
    with pytest.raises(EntryUnknownError):
        attach(entry + 1, "a.pdf", PDF)
    with pytest.raises(NotAllowedError):
        attach(entry, "a.pdf", PDF, role=Role.AUDITOR)

    assert not EntryAttachment.objects.exists()


def test_only_who_may_see_the_books_gets_the_file_and_it_is_logged(entry) -> None:
    attachment = attach(entry, "a.pdf", PDF)

    with pytest.raises(NotAllowedError):
        attachments.download(staff(Role.SUPPORT), attachment.pk, now=NOW)
    attachments.download(staff(Role.AUDITOR), attachment.pk, now=NOW)

    rows = FinanceLog.objects.order_by("id").values_list("action", "user__username", "subject")
    assert list(rows) == [("entry.attach", "the-accountant", "1"), ("entry.download", "the-auditor", "1")]


def test_a_file_that_was_changed_or_lost_on_disk_is_not_handed_out(entry, folder) -> None:
    attachment = attach(entry, "a.pdf", PDF)
    [path] = [path for path in folder.rglob("*") if path.is_file()]
    path.write_bytes(PDF + b"!")

    with pytest.raises(AttachmentMissingError):
        attachments.download(staff(Role.AUDITOR), attachment.pk, now=NOW)
    path.unlink()
    with pytest.raises(AttachmentMissingError):
        attachments.download(staff(Role.AUDITOR), attachment.pk, now=NOW)
    with pytest.raises(AttachmentMissingError):
        attachments.download(staff(Role.AUDITOR), attachment.pk + 1, now=NOW)


@pytest.mark.parametrize(
    "attack", ["UPDATE ledger_entryattachment SET name = 'b.pdf'", "DELETE FROM ledger_entryattachment"]
)
def test_nobody_changes_what_was_attached(entry, attack) -> None:
    attach(entry, "a.pdf", PDF)

    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(attack)

    assert EntryAttachment.objects.get().name == "a.pdf"
