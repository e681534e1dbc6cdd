"""Files attached to journal entries: checked by what they are, stored by their hash, handed out to who may see books.

Note [Attachments]
    A file is judged by its first bytes, not by what its sender calls it, and is only ever sent back as a download
    of that type. It is stored as `ATTACHMENTS_DIR/ab/abcdef...`, named by its SHA-256: the same file is kept once,
    its name cannot lead elsewhere, and a file changed on disk is not handed out.
"""

import contextlib
import hashlib
import io
import os
import tempfile
import zipfile
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Final, NamedTuple

import structlog
from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.db import IntegrityError, transaction

from exchange.kernel.errors import DomainError, gettext_noop
from ledger.access import Right, check
from ledger.control_models import EntryAttachment
from ledger.models import JournalEntry
from ledger.services import finance_log
from ledger.services.journal import EntryUnknownError

logger = structlog.get_logger(__name__)

SIZE_MAX_BYTES: Final = 10 * 1024 * 1024
PER_ENTRY_MAX: Final = 20
NAME_LENGTH_MAX: Final = 120
XLSX: Final = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
TYPES: Final = {
    ".pdf": "application/pdf",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".xlsx": XLSX,
    ".csv": "text/csv",
    ".txt": "text/plain",
}
"""What may be attached, by the end of its name."""
_MAGIC: Final = {"application/pdf": b"%PDF-", "image/png": b"\x89PNG\r\n\x1a\n", "image/jpeg": b"\xff\xd8\xff"}


class AttachmentTypeError(DomainError):
    """The file is of no allowed type, or is not what its name says."""

    code = 4051
    name = "ATTACHMENT_TYPE"
    message = gettext_noop("Only PDF, PNG, JPEG, XLSX, CSV and text files can be attached, under a name that fits.")


class AttachmentSizeError(DomainError):
    """The file is empty or too large."""

    code = 4052
    name = "ATTACHMENT_SIZE"
    status = 413
    message = gettext_noop("An attachment has 1 to %(size_max)s bytes.")


class AttachmentCountError(DomainError):
    """The entry has as many attachments as it may have, or this very one."""

    code = 4053
    name = "ATTACHMENT_COUNT"
    status = 409
    message = gettext_noop("This entry has this file already, or %(count_max)s others.")


class AttachmentMissingError(DomainError):
    """There is no such attachment, or its file is not what was stored."""

    code = 4054
    name = "ATTACHMENT_MISSING"
    status = 404
    message = gettext_noop("There is no such attachment.")


class Download(NamedTuple):
    """A file to be sent: always as a download, under this name and type."""

    attachment: EntryAttachment
    content: bytes


def attach(
    author: AbstractUser, entry_id: int, name: str, chunks: Iterable[bytes], *, now: datetime
) -> EntryAttachment:
    """Attach a file to an entry.

    Args:
        name: What its sender calls it; folders and control characters are dropped.
        chunks: Its content; read no further than the limit.

    Raises:
        NotAllowedError: The author lacks the right to comment.
        AttachmentSizeError: It is empty or too large.
        AttachmentTypeError: It is of no allowed type, or its name does not fit its content.
        EntryUnknownError: There is no such entry.
        AttachmentCountError: The entry has it already, or has too many.
    """
    check(author, Right.COMMENT)
    content = _read(chunks)
    name = _clean(name)
    content_type = _type_of(name, content)
    if not JournalEntry.objects.filter(pk=entry_id).exists():
        raise EntryUnknownError(entry=entry_id)
    sha256 = hashlib.sha256(content).hexdigest()
    try:
        with transaction.atomic():
            if EntryAttachment.objects.filter(entry_id=entry_id).count() >= PER_ENTRY_MAX:
                raise AttachmentCountError(count_max=PER_ENTRY_MAX)
            _store(sha256, content)
            attachment = EntryAttachment.objects.create(
                entry_id=entry_id,
                author_id=author.pk,
                name=name,
                content_type=content_type,
                size_bytes=len(content),
                sha256=sha256,
                made_at=now,
            )
            finance_log.record(
                "entry.attach",
                now=now,
                user_id=author.pk,
                subject=str(entry_id),
                detail={"attachment": attachment.pk, "name": name, "sha256": sha256},
            )
    except IntegrityError:  # ledger_attachment_once
        raise AttachmentCountError(count_max=PER_ENTRY_MAX) from None
    return attachment


def download(user: AbstractUser, attachment_id: int, *, now: datetime) -> Download:
    """Return an attachment's file, and note who had it.

    Raises:
        NotAllowedError: The user may not see the books.
        AttachmentMissingError: There is none, or its file is not what was stored.
    """
    check(user, Right.VIEW_BOOKS)
    attachment = EntryAttachment.objects.filter(pk=attachment_id).first()
    if attachment is None:
        raise AttachmentMissingError
    content = b""
    with contextlib.suppress(FileNotFoundError):
        content = _path(attachment.sha256).read_bytes()
    if hashlib.sha256(content).hexdigest() != attachment.sha256:
        logger.critical("attachment_damaged", attachment=attachment_id, sha256=attachment.sha256)
        raise AttachmentMissingError
    finance_log.record(
        "entry.download",
        now=now,
        user_id=user.pk,
        subject=str(attachment.entry_id),
        detail={"attachment": attachment_id, "name": attachment.name},
    )
    return Download(attachment, content)


def _read(chunks: Iterable[bytes]) -> bytes:
    """Read a file, no further than the limit."""
    buffer = io.BytesIO()
    for chunk in chunks:
        buffer.write(chunk)
        if buffer.tell() > SIZE_MAX_BYTES:
            break
    if not 0 < buffer.tell() <= SIZE_MAX_BYTES:
        raise AttachmentSizeError(size_max=SIZE_MAX_BYTES)
    return buffer.getvalue()


def _clean(name: str) -> str:
    """Return the last part of a file's name, printable and short, its end kept."""
    last = PurePosixPath(PureWindowsPath(name).name).name
    printable = "".join(letter for letter in last if letter.isprintable()).strip()
    stem, suffix = PurePosixPath(printable).stem, PurePosixPath(printable).suffix
    return f"{stem[: NAME_LENGTH_MAX - len(suffix)]}{suffix}"


def _type_of(name: str, content: bytes) -> str:
    """Return a file's type, which its name and its content must agree on."""
    content_type = TYPES.get(PurePosixPath(name).suffix.lower())
    if content_type is None:
        raise AttachmentTypeError
    if content_type in _MAGIC:
        fits = content.startswith(_MAGIC[content_type])
    elif content_type == XLSX:
        fits = _is_workbook(content)
    else:
        fits = _is_text(content)
    if not fits:
        raise AttachmentTypeError
    return content_type


def _is_workbook(content: bytes) -> bool:
    """Tell whether this is a workbook; only its list of parts is read, nothing is unpacked."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return {"[Content_Types].xml", "xl/workbook.xml"} <= set(archive.namelist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        return False


def _is_text(content: bytes) -> bool:
    """Tell whether this is UTF-8 text."""
    try:
        return "\0" not in content.decode()
    except UnicodeDecodeError:
        return False


def _path(sha256: str) -> Path:
    """Return where a file of that hash is kept."""
    return Path(settings.ATTACHMENTS_DIR) / sha256[:2] / sha256


def _store(sha256: str, content: bytes) -> None:
    """Write a file whole and synced, or not at all."""
    path = _path(sha256)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor, draft = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(draft).replace(path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise
