"""What customers are told: kept as facts, put into words when they are read, in the reader's language.

A notice is written in the transaction of what it tells. Pushing it to open screens and mailing it happen after the
commit; both may be lost, and the page still has it.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from celery import current_app
from django.contrib.auth import get_user_model
from django.core.mail import send_mail
from django.db import transaction
from django.utils.translation import gettext, override

from exchange.api.wire import wire_time
from exchange.kernel.errors import gettext_noop
from ledger.transfers.models import Notice
from ledger.transfers.outside import OUTSIDE

MAIL_TASK: Final = "ledger.tasks.mail_notice"
PAGE_MAX: Final = 200


class Words(NamedTuple):
    """A kind of notice: its subject, its text over the notice's data, and whether it is mailed too."""

    title: str
    text: str
    mailed: bool = True


KINDS: Final[dict[str, Words]] = {
    "DEPOSIT_CREDITED": Words(
        gettext_noop("Deposit credited"), gettext_noop("%(amount)s %(asset)s have been credited to your account.")
    ),
    "DEPOSIT_SEEN": Words(
        gettext_noop("Deposit on its way"),
        gettext_noop("%(amount)s %(asset)s are on their way to you; they are credited once they are confirmed."),
        mailed=False,
    ),
    "DEPOSIT_REFUSED": Words(
        gettext_noop("Deposit refused"), gettext_noop("Your deposit of %(amount)s %(asset)s was refused: %(reason)s")
    ),
    "WITHDRAWAL_REQUESTED": Words(
        gettext_noop("Withdrawal requested"),
        gettext_noop("%(amount)s %(asset)s to %(address)s. If this was not you, cancel it and change your password."),
    ),
    "WITHDRAWAL_REVIEW": Words(
        gettext_noop("Withdrawal in review"),
        gettext_noop("Withdrawal %(id)s of %(amount)s %(asset)s is being reviewed."),
        mailed=False,
    ),
    "WITHDRAWAL_APPROVED": Words(
        gettext_noop("Withdrawal approved"),
        gettext_noop("Withdrawal %(id)s of %(amount)s %(asset)s has been approved and will be paid out."),
        mailed=False,
    ),
    "WITHDRAWAL_SETTLED": Words(
        gettext_noop("Withdrawal paid out"),
        gettext_noop("%(arrives)s %(asset)s have been sent to %(address)s. Reference: %(reference)s"),
    ),
    "WITHDRAWAL_REJECTED": Words(
        gettext_noop("Withdrawal rejected"),
        gettext_noop("Withdrawal %(id)s was rejected: %(reason)s. %(amount)s %(asset)s are available again."),
    ),
    "WITHDRAWAL_CANCELLED": Words(
        gettext_noop("Withdrawal cancelled"),
        gettext_noop("Withdrawal %(id)s was cancelled. %(amount)s %(asset)s are available again."),
        mailed=False,
    ),
    "ADDRESS_ADDED": Words(
        gettext_noop("New withdrawal address"),
        gettext_noop(
            "%(address)s was saved as %(label)s and can be used from %(usable_from)s. If this was not you, remove it "
            "and change your password."
        ),
    ),
    "ADDRESS_REMOVED": Words(
        gettext_noop("Withdrawal address removed"), gettext_noop("%(label)s was removed: %(address)s"), mailed=False
    ),
    "SECOND_FACTOR_ADDED": Words(
        gettext_noop("Second factor set up"),
        gettext_noop(
            "Withdrawals and new addresses are confirmed with codes of your device from now on. If this was not you, "
            "contact support and change your password."
        ),
    ),
    "SECOND_FACTOR_REMOVED": Words(
        gettext_noop("Second factor removed"),
        gettext_noop(
            "Withdrawals and new addresses are confirmed with your password from now on. If this was not you, contact "
            "support and change your password."
        ),
    ),
    "ACCOUNT_FROZEN": Words(
        gettext_noop("Account restricted"),
        gettext_noop("Your account has been restricted: %(reason)s Please contact support."),
    ),
    "ACCOUNT_RELEASED": Words(gettext_noop("Account released"), gettext_noop("Your account is no longer restricted.")),
}


def give(told: Iterable[tuple[int, str, dict[str, str]]], *, now: datetime) -> list[Notice]:
    """Write notices in the caller's transaction, which holds the owners' gates; push and mail them after its commit.

    Args:
        told: Owner, kind, and the texts that the kind's words need.
    """
    given = Notice.objects.bulk_create(
        [Notice(owner_id=owner_id, kind=kind, data=data, created_at=now) for owner_id, kind, data in told]
    )
    OUTSIDE.push([(notice.owner_id, facts(notice)) for notice in given], now=now)
    mailed = [notice.pk for notice in given if KINDS[notice.kind].mailed]
    if mailed:
        transaction.on_commit(lambda: _ask_for_mail(mailed), robust=True)
    return given


def _ask_for_mail(notice_ids: Sequence[int]) -> None:
    for notice_id in notice_ids:
        current_app.send_task(MAIL_TASK, kwargs={"notice_id": notice_id})


def facts(notice: Notice) -> dict[str, Any]:
    """Return what a notice tells, without words: the same for a reader of any language."""
    return {
        "notice_id": notice.pk,
        "kind": notice.kind,
        "details": notice.data,
        "created_at": wire_time(notice.created_at),
        "read_at": None if notice.read_at is None else wire_time(notice.read_at),
    }


def wire(notice: Notice) -> dict[str, Any]:
    """Return a notice as its reader sees it: the facts, by which a program acts, and the words, for people."""
    title, text = title_and_text(notice)
    return facts(notice) | {"title": title, "text": text}


def title_and_text(notice: Notice) -> tuple[str, str]:
    """Put a notice into words, in the language that is active."""
    words = KINDS[notice.kind]
    data = dict(notice.data)
    if data.get("reason"):
        data["reason"] = gettext(data["reason"])  # reasons of the exchange itself are texts of ours
    return gettext(words.title), gettext(words.text) % data


def page(owner_id: int, *, before_id: int | None, limit: int) -> list[Notice]:
    """Return a customer's notices, newest first."""
    rows = Notice.objects.filter(owner_id=owner_id)
    if before_id is not None:
        rows = rows.filter(pk__lt=before_id)
    return list(rows.order_by("-pk")[: min(limit, PAGE_MAX)])


def unread(owner_id: int) -> int:
    """Return how many notices a customer has not read."""
    return Notice.objects.filter(owner_id=owner_id, read_at__isnull=True).count()


def mark_read(owner_id: int, *, up_to_id: int, now: datetime) -> int:
    """Mark notices as read, up to one; return how many were unread. Repeating it changes nothing."""
    return Notice.objects.filter(owner_id=owner_id, read_at__isnull=True, pk__lte=up_to_id).update(read_at=now)


def mail(notice_id: int, *, now: datetime) -> bool:
    """Send a notice to its owner's address, once; tell whether it was sent.

    The notice is marked before the mail leaves: a mail that is lost costs less than one that is sent for ever.
    """
    notice = Notice.objects.filter(pk=notice_id).first()
    if notice is None:
        return False
    owner = get_user_model().objects.get(pk=notice.owner_id)
    address = getattr(owner, "email", "")
    if not address or not Notice.objects.filter(pk=notice_id, mailed_at__isnull=True).update(mailed_at=now):
        return False
    with override(getattr(owner, "language", "") or "en"):
        title, text = title_and_text(notice)
        send_mail(title, text, None, [address])
    return True
