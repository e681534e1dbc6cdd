"""Background work on sign-in."""

from typing import Any

from celery import shared_task
from rest_framework_simplejwt.token_blacklist.models import OutstandingToken

from exchange.kernel.clock import utc_now


@shared_task(acks_late=True)
def flush_expired_tokens(**_: Any) -> int:
    """Delete refresh tokens that have run out, and with them their blacklist rows; return how many."""
    deleted, _by_table = OutstandingToken.objects.filter(expires_at__lte=utc_now()).delete()
    return int(deleted)
