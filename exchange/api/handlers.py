"""What Django itself answers when no view does: enveloped under /api/, Django's own pages elsewhere."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.views import csrf, defaults
from django.views.decorators.csrf import csrf_exempt

from exchange.api import errors
from exchange.api.envelope import internal_error, is_api, refusal_outside_views


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """Answer 400."""
    if is_api(request):
        return refusal_outside_views(errors.BadRequestError())
    return defaults.bad_request(request, exception)


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """Answer 403."""
    if is_api(request):
        return refusal_outside_views(errors.PermissionDeniedError())
    return defaults.permission_denied(request, exception)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """Answer 404."""
    if is_api(request):
        return refusal_outside_views(errors.NotFoundError())
    return defaults.page_not_found(request, exception)


def server_error(request: HttpRequest) -> HttpResponseBase:
    """Answer 500."""
    if is_api(request):
        return internal_error(request, None)
    return defaults.server_error(request)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponseBase:
    """Answer a request without this site's CSRF token."""
    if is_api(request):
        return refusal_outside_views(errors.CsrfFailedError())
    return csrf.csrf_failure(request, reason)


@csrf_exempt
def no_such_call(_request: HttpRequest, **_: Any) -> HttpResponse:
    """Answer 404 for every API address that nothing else answers, DEBUG or not."""
    return refusal_outside_views(errors.NotFoundError())
