"""Guards in front of every API call: rate, size, and the envelope around whatever Django itself answers."""

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from exchange.api import lost_connections, throttling
from exchange.api.authentication import client_address
from exchange.api.envelope import as_refusal, internal_error, is_api, refusal_outside_views
from exchange.api.errors import BadRequestError, BodyTooLargeError, LengthRequiredError
from exchange.kernel.errors import DomainError


class ApiGuard:
    """Refuses too many and too large requests under /api/ before anything is read or looked up.

    Synchronous only: with one such middleware innermost, Django keeps the whole chain of
    middleware and view in one thread, instead of changing threads for each of them.
    """

    sync_capable = True
    async_capable = False

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Check the request, then pass it on."""
        if not is_api(request):
            return self.get_response(request)
        try:
            self._check(request)
        except DomainError as error:
            response = refusal_outside_views(error)
        else:
            response = self.get_response(request)
        response.headers.setdefault("Cache-Control", "no-store")  # balances and tokens stay in no cache
        for name, value in throttling.headers(throttling.told_of(request)).items():
            response.headers[name] = value
        return response

    def _check(self, request: HttpRequest) -> None:
        limit = throttling.Limit("ip", settings.REQUESTS_PER_SECOND_AND_IP, throttling.SECOND)
        throttling.take(limit, throttling.site_of(client_address(request.META)), throttling.told_of(request))
        if "HTTP_TRANSFER_ENCODING" in request.META:
            raise LengthRequiredError
        declared = request.META.get("CONTENT_LENGTH") or "0"
        if not declared.isascii() or not declared.isdigit():
            raise BadRequestError
        if int(declared) > settings.REQUEST_BODY_BYTES_MAX:
            raise BodyTooLargeError(bytes_max=settings.REQUEST_BODY_BYTES_MAX)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Answer an exception that no view turned into an answer, in the API's shape."""
        if not is_api(request):
            lost_connections.renew(exception)
            return None
        error = as_refusal(exception)
        if error is not None:
            return refusal_outside_views(error)
        return internal_error(request, exception)
