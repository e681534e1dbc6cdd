"""The one shape of every answer, {code, message, data}, and the one road from an exception to it."""

from collections.abc import Callable, Mapping
from typing import Any

import structlog
from django.conf import settings
from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.db import InterfaceError, InternalError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from django.utils.translation import gettext
from rest_framework import exceptions
from rest_framework.response import Response

from exchange.api import errors, lost_connections
from exchange.api.wire import dumps
from exchange.kernel.errors import DomainError

logger = structlog.get_logger("exchange.api")

SUCCESS = "success"
"""Part of the fixed shape, so the same in every language."""

RETRY_AFTER_S_DEFAULT = 1
TIMED_OUT_STATES = "25P0"
"""idle_in_transaction_session_timeout and transaction_timeout. Source: PostgreSQL 18, appendix A, class 25."""
JSON_TYPE = "application/json"


class ApiResponse(Response):
    """An answer with its own code and words around the data."""

    def __init__(self, data: Any = None, *, status: int = 200, message: Any = SUCCESS, code: int = 0) -> None:
        super().__init__(data, status=status)
        self.envelope_code = code
        self.envelope_message = message


def refusal_message(error: DomainError) -> str:
    """Return the words of a refusal in the language of the request."""
    return gettext(error.message) % error.data


def refusal_data(error: DomainError) -> dict[str, Any]:
    """Return the data of a refusal: its permanent name, then what is at fault, by field if it is one."""
    data = {"error": error.name, **error.data}
    if "field" in error.data and "fields" not in error.data:
        data["fields"] = {error.data["field"]: [refusal_message(error)]}
    return data


def refusal(error: DomainError) -> ApiResponse:
    """Return a refusal as an answer."""
    response = ApiResponse(refusal_data(error), status=error.status, message=refusal_message(error), code=error.code)
    for header, value in _headers(error).items():
        response[header] = value
    return response


def refusal_outside_views(error: DomainError) -> HttpResponse:
    """Return a refusal from where no REST view is at work: middleware, Django's own handlers."""
    body = {"code": error.code, "message": refusal_message(error), "data": refusal_data(error)}
    return HttpResponse(dumps(body), status=error.status, content_type=JSON_TYPE, headers=_headers(error))


def _headers(error: DomainError) -> dict[str, str]:
    """Return the headers that a status asks for."""
    if error.status == errors.NotAuthenticatedError.status:
        return {"WWW-Authenticate": 'Bearer realm="api"'}
    if error.status in {errors.TooManyRequestsError.status, errors.UnavailableError.status}:
        return {"Retry-After": str(error.data.get("retry_after", RETRY_AFTER_S_DEFAULT))}
    return {}


def exception_handler(exc: Exception, _context: Mapping[str, Any]) -> ApiResponse | None:
    """Turn whatever a view raised into an answer; None (a fault of ours) goes on to the middleware."""
    error = as_refusal(exc)
    return None if error is None else refusal(error)


def as_refusal(exc: Exception) -> DomainError | None:
    """Return the refusal that an exception stands for, or None when it is a fault of ours."""
    if isinstance(exc, DomainError):
        return exc
    if isinstance(exc, InternalError) and _timed_out(exc):
        return _unavailable(exc)
    for kinds, make in _REFUSALS:
        if isinstance(exc, kinds):
            return make(exc)
    return None


def _method(exc: exceptions.MethodNotAllowed) -> str:
    """Return the method that was refused; DRF keeps it only in its sentence."""
    return str(exc.detail).split('"')[1] if '"' in str(exc.detail) else ""


def _fields(detail: Any) -> Any:
    """Return the fields at fault with plain words, at any depth."""
    if isinstance(detail, Mapping):
        return {str(name): _fields(inner) for name, inner in detail.items()}
    if isinstance(detail, list):
        return [_fields(inner) for inner in detail]
    return str(detail)


def is_api(request: HttpRequest) -> bool:
    """Tell whether a request belongs to the API, whose every answer has the envelope."""
    return request.path.startswith("/api/")


def internal_error(request: HttpRequest, exc: BaseException | None) -> HttpResponse:
    """Record a fault of ours and answer without telling its inside."""
    logger.error("unhandled_exception", path=request.path, method=request.method, exc_info=exc)
    error = errors.InternalError()
    if settings.DEBUG and exc is not None:
        error = errors.InternalError(exception=repr(exc))
    return refusal_outside_views(error)


def _timed_out(exc: InternalError) -> bool:
    """Tell whether PostgreSQL ended a transaction that took too long: it is undone, and nobody's fault."""
    return str(getattr(exc.__cause__, "sqlstate", "")).startswith(TIMED_OUT_STATES)


def _unavailable(exc: Exception) -> DomainError:
    """Record why the database did not answer: a lock waited for too long, a lost connection, a full pool."""
    logger.error("database_unavailable", exc_info=exc)
    lost_connections.renew(exc)
    return errors.UnavailableError()


_REFUSALS: tuple[tuple[tuple[type[Exception], ...], Callable[[Any], DomainError]], ...] = (
    ((exceptions.ValidationError,), lambda exc: errors.InvalidFieldsError(fields=_fields(exc.detail))),
    ((exceptions.ParseError,), lambda exc: errors.MalformedJsonError(reason=str(exc.detail))),
    ((exceptions.UnsupportedMediaType,), lambda _: errors.UnsupportedMediaTypeError()),
    ((exceptions.NotAuthenticated,), lambda _: errors.NotAuthenticatedError()),
    ((exceptions.AuthenticationFailed,), lambda _: errors.TokenInvalidError()),
    ((exceptions.MethodNotAllowed,), lambda exc: errors.MethodNotAllowedError(method=_method(exc))),
    ((exceptions.NotFound, Http404), lambda _: errors.NotFoundError()),
    ((exceptions.PermissionDenied, PermissionDenied), lambda _: errors.PermissionDeniedError()),
    ((SuspiciousOperation,), lambda _: errors.BadRequestError()),
    ((OperationalError, InterfaceError), _unavailable),
)
