"""Sets the Content-Security-Policy: our pages run only files that we serve, no inline script and no eval."""

from collections.abc import Callable
from http import HTTPStatus

from django.conf import settings
from django.http import HttpRequest, HttpResponse

HEADER = "Content-Security-Policy"
COMMON = "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
STRICT = (
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self' ws: wss:; "
    + COMMON
)
RELAXED = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; font-src 'self' data:; " + COMMON
)
RELAXED_PREFIXES = ("/admin/", "/api/docs")
"""Pages of libraries that bring inline script: the admin's theme, Swagger UI. With DEBUG, Django's error pages too."""


class ContentSecurityPolicy:
    """Adds the policy to every answer that has none of its own."""

    sync_capable = True
    async_capable = False

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Pass the request on and set the header on its answer."""
        response = self.get_response(request)
        is_djangos_own = settings.DEBUG and response.status_code >= HTTPStatus.BAD_REQUEST
        relaxed = is_djangos_own or request.path.startswith(RELAXED_PREFIXES)
        response.headers.setdefault(HEADER, RELAXED if relaxed else STRICT)
        return response
