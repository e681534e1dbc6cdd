"""What every page may show, whoever renders it."""

from django.conf import settings
from django.http import HttpRequest


def site(_: HttpRequest) -> dict[str, bool]:
    """Tell templates whether this exchange is a demo, so that pages can say so."""
    return {"demo": settings.DEMO}
