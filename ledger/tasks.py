"""Background work of the ledger: thin edges around services, safe to repeat."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import structlog
from celery import shared_task

from exchange.kernel.clock import utc_now
from ledger.reconciliation import alerts, runner
from ledger.reconciliation.models import RunKind
from ledger.reserves import publishing
from ledger.services import back_office, office_rounds, periods, proposals, totals
from ledger.transfers import crediting, notices, payouts

logger = structlog.get_logger(__name__)


@shared_task(name=runner.TASK, acks_late=True)
def reconcile(run_id: int | None = None, **_: Any) -> None:
    """Make a full pass of the checks, nightly or as a person asked for it. Idempotent; safe to run at any time.

    `**_` lets an old worker accept a newer caller's arguments during a deploy.

    Args:
        run_id: What was asked for; none for the nightly pass.
    """
    run = runner.requested(run_id, now=utc_now()) if run_id else runner.start(RunKind.FULL, now=utc_now())
    if run is not None:
        runner.full_as_run(run, clock=utc_now)


@shared_task(name=alerts.MAIL_TASK, acks_late=True)
def mail_breaks(break_ids: list[int], **_: Any) -> None:
    """Write to those who work on breaks."""
    alerts.mail(break_ids)


WORK: dict[str, Callable[[datetime], int]] = {
    "periods": periods.carry_out,
    "proposals": proposals.carry_out,
    "withdrawals_advanced": payouts.advance,
    "withdrawals_settled": payouts.settle,
    "withdrawals_released": payouts.release,
    "deposits_credited": crediting.credit,
    "deposits_received": crediting.receive,
    "reserves": publishing.carry_out,
    "totals": lambda _now: totals.keep(),
}
"""What the back office does for others, by name: each finds what is decided and not done, does it, and counts it.

Each is idempotent, since the journal's keys are, and keeps one faulty item from holding up the others.
"""


@shared_task(name=back_office.TASK, acks_late=True)
def carry_out(**_: Any) -> None:
    """Do what staff decided. Called on each decision, and periodically for what a lost call left undone."""
    now = utc_now()
    done = {name: count for name, work in WORK.items() if (count := work(now))}
    office_rounds.note(utc_now())
    if done:
        logger.info("back_office_worked", **done)


@shared_task(name=notices.MAIL_TASK, acks_late=True)
def mail_notice(*, notice_id: int, **_: Any) -> None:
    """Mail a notice to its owner, once, if the owner has an address."""
    notices.mail(notice_id, now=utc_now())
