"""Comments on journal entries: who may add one, and what stays of it. Nobody edits or removes them."""

from datetime import datetime
from typing import Final

from django.contrib.auth.models import AbstractUser
from django.db import transaction

from exchange.kernel.errors import DomainError, gettext_noop
from ledger.access import Right, check
from ledger.control_models import EntryComment
from ledger.models import JournalEntry
from ledger.services import finance_log
from ledger.services.journal import EntryUnknownError

LENGTH_MAX: Final = 2000


class CommentLengthError(DomainError):
    """A comment is empty or too long."""

    code = 4050
    name = "COMMENT_LENGTH"
    message = gettext_noop("A comment has 1 to %(length_max)s characters.")


@transaction.atomic
def add(author: AbstractUser, entry_id: int, text: str, *, now: datetime) -> EntryComment:
    """Say something about an entry.

    Raises:
        NotAllowedError: The author lacks the right to comment.
        CommentLengthError: The text is empty or too long.
        EntryUnknownError: There is no such entry.
    """
    check(author, Right.COMMENT)
    text = text.strip()
    if not 0 < len(text) <= LENGTH_MAX:
        raise CommentLengthError(length_max=LENGTH_MAX)
    if not JournalEntry.objects.filter(pk=entry_id).exists():
        raise EntryUnknownError(entry=entry_id)
    comment = EntryComment.objects.create(entry_id=entry_id, author_id=author.pk, text=text, made_at=now)
    finance_log.record("entry.comment", now=now, user_id=author.pk, subject=str(entry_id))
    return comment
