"""Background work of the ledger: thin edges around services, safe to repeat."""

from typing import Any

import structlog
from celery import shared_task

from ledger import audit

logger = structlog.get_logger(__name__)


@shared_task(name="ledger.tasks.audit_books", acks_late=True)
def audit_books(**_: Any) -> None:
    """Compare the books with their lines, nightly. Idempotent; safe to run at any time.

    `**_` lets an old worker accept a newer caller's arguments during a deploy.
    """
    broken = [invariant for invariant in audit.invariants() if not invariant.ok]
    for invariant in broken:
        logger.critical("books_broken", invariant=invariant.name, detail=invariant.detail)
    if not broken:
        logger.info("books_whole", invariants=len(audit.CHECKS))
