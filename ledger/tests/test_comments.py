import pytest
from django.db import DatabaseError, connection, transaction

from ledger.access import NotAllowedError, Role
from ledger.control_models import EntryComment
from ledger.models import FinanceLog
from ledger.services import comments
from ledger.services.comments import CommentLengthError
from ledger.services.journal import EntryUnknownError
from ledger.tests.factories import NOW, staff

pytestmark = pytest.mark.usefixtures("books")


def test_a_comment_stays_with_its_entry_and_is_logged(customer) -> None:
    customer("alice", USDT=1)
    author = staff(Role.ACCOUNTANT)

    comments.add(author, 1, "  asked the bank ", now=NOW)

    assert list(EntryComment.objects.values_list("entry_id", "author_id", "text", "made_at")) == [
        (1, author.pk, "asked the bank", NOW)
    ]
    assert FinanceLog.objects.get().action == "entry.comment"


@pytest.mark.parametrize("text", ["", "   ", "x" * 2001])
def test_an_empty_or_endless_comment_is_refused(customer, text) -> None:
    customer("alice", USDT=1)

    with pytest.raises(CommentLengthError):
        comments.add(staff(Role.ACCOUNTANT), 1, text, now=NOW)


def test_a_comment_needs_an_entry_and_the_right(customer) -> None:
    customer("alice", USDT=1)

    with pytest.raises(EntryUnknownError):
        comments.add(staff(Role.APPROVER), 2, "x", now=NOW)
    with pytest.raises(NotAllowedError):
        comments.add(staff(Role.AUDITOR), 1, "x", now=NOW)

    assert not EntryComment.objects.exists()


@pytest.mark.parametrize("attack", ["UPDATE ledger_entrycomment SET text = 'y'", "DELETE FROM ledger_entrycomment"])
def test_nobody_changes_a_comment(customer, attack) -> None:
    customer("alice", USDT=1)
    comments.add(staff(Role.ACCOUNTANT), 1, "x", now=NOW)

    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(attack)

    assert EntryComment.objects.get().text == "x"
