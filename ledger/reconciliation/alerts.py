"""Raises the alarm about new breaks: a critical log line, mail, and, by severity, the stop of withdrawals.

The gauge and the banner of the finance screens read the breaks themselves.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

import structlog
from celery import current_app
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.mail import send_mail
from django.db import transaction
from django.utils import translation
from django.utils.translation import gettext, ngettext

from ledger import access
from ledger.access import Right
from ledger.reconciliation import checks
from ledger.reconciliation.checks import Severity
from ledger.reconciliation.models import Break

logger = structlog.get_logger(__name__)

MAIL_TASK: Final = "ledger.tasks.mail_breaks"
LISTED_MAX: Final = 20

STOPS: list[Callable[[str, datetime], object]] = []
"""What stops when a break says so: each is called with the reason, in words, and the time; repeating does no harm."""


def _severity(row: Break) -> Severity:
    check = checks.named(row.check_name)
    return check.reaction if check else Severity.ALERT


def raise_for(opened: Sequence[Break], *, now: datetime) -> None:
    """Raise the alarm about breaks that are new or back, in the transaction that writes them down."""
    alarming = [row for row in opened if _severity(row) != Severity.WATCH]
    for row in alarming:
        logger.critical(
            "reconciliation_break", check=row.check_name, subject=row.subject, cause=row.cause % row.figures
        )
    if alarming:
        ids = [row.pk for row in alarming]
        transaction.on_commit(lambda: current_app.send_task(MAIL_TASK, kwargs={"break_ids": ids}), robust=True)
    stopping = next((row for row in alarming if _severity(row) == Severity.STOP), None)
    if stopping is not None:
        stop(f"{stopping.check_name}: {stopping.subject}", now=now)


def stop(reason: str, *, now: datetime) -> None:
    """Stop what may be stopped; one that cannot be is logged, and the break stands all the same."""
    for halt in STOPS:
        try:
            with transaction.atomic():
                halt(reason, now)
        except Exception:
            logger.exception("reconciliation_stop_failed", reason=reason)


def mail(break_ids: Sequence[int]) -> int:
    """Write to everybody who works on breaks; returns to how many."""
    rows = list(Break.objects.filter(pk__in=break_ids).order_by("id"))
    people = get_user_model().objects.filter(is_staff=True, is_active=True).exclude(email="").order_by("id")
    told = 0
    for person in people if rows else ():
        if access.may(person, Right.WORK_ON_BREAKS):
            with translation.override(settings.LANGUAGE_CODE):
                told += send_mail(*_letter(rows), None, [person.email])
    return told


def _letter(rows: Sequence[Break]) -> tuple[str, str]:
    """Return subject and text."""
    count = len(rows)
    subject = ngettext("Reconciliation: %(count)s break", "Reconciliation: %(count)s breaks", count) % {"count": count}
    lines = [f"{row.check_name}: {row.subject}\n  {row.told}" for row in rows[:LISTED_MAX]]
    if count > LISTED_MAX:
        lines.append(gettext("and %(count)s more") % {"count": count - LISTED_MAX})
    return subject, "\n".join(lines)
