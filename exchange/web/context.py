"""What every page may show, whoever renders it."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from ledger.transfers import notices


def site(request: HttpRequest) -> dict[str, Any]:
    """Tell templates whether this exchange is a demo, and how many notices are unread: counted where a page asks."""
    user = getattr(request, "user", None)
    unread = SimpleLazyObject(lambda: notices.unread(user.pk) if user is not None and user.is_authenticated else 0)
    return {"demo": settings.DEMO, "unread_notices": unread}
