"""Refusals that the HTTP edge itself makes, before any service is asked. Codes 1000 to 1999, 9000 on."""

from exchange.kernel.errors import DomainError, gettext_noop


class MalformedJsonError(DomainError):
    """The body is not one JSON object: broken text, NaN, a repeated key."""

    code = 1001
    name = "MALFORMED_JSON"
    status = 400
    message = gettext_noop("The body is not valid JSON: %(reason)s.")


class BodyTooLargeError(DomainError):
    """The body is longer than any request needs."""

    code = 1002
    name = "BODY_TOO_LARGE"
    status = 413
    message = gettext_noop("The body is longer than %(bytes_max)s bytes.")


class UnsupportedMediaTypeError(DomainError):
    """The body is sent as something else than JSON."""

    code = 1003
    name = "UNSUPPORTED_MEDIA_TYPE"
    status = 415
    message = gettext_noop("Send the body as application/json.")


class InvalidFieldsError(DomainError):
    """Fields are missing, unknown, or not of their form; `data.fields` says which, in words."""

    code = 1004
    name = "INVALID_FIELDS"
    status = 400
    message = gettext_noop("Some fields are missing or not valid; see data.fields.")


class NotFoundError(DomainError):
    """No such address, or nothing there that the caller may see."""

    code = 1005
    name = "NOT_FOUND"
    status = 404
    message = gettext_noop("There is nothing here.")


class MethodNotAllowedError(DomainError):
    """The address exists, but not with this method."""

    code = 1006
    name = "METHOD_NOT_ALLOWED"
    status = 405
    message = gettext_noop("This address does not answer %(method)s.")


class TooManyRequestsError(DomainError):
    """The caller asks faster than the limit; `retry_after` is in seconds."""

    code = 1007
    name = "TOO_MANY_REQUESTS"
    status = 429
    message = gettext_noop("Too many requests; try again in %(retry_after)s seconds.")


class InvalidCursorError(DomainError):
    """The page cursor is not one that this API gave out."""

    code = 1008
    name = "INVALID_CURSOR"
    status = 400
    message = gettext_noop("The cursor is not one that this API gave out.")


class PermissionDeniedError(DomainError):
    """The caller is known, and may not do this."""

    code = 1011
    name = "PERMISSION_DENIED"
    status = 403
    message = gettext_noop("You may not do this.")


class BadRequestError(DomainError):
    """The request cannot be understood at the level of HTTP."""

    code = 1012
    name = "BAD_REQUEST"
    status = 400
    message = gettext_noop("The request cannot be understood.")


class LengthRequiredError(DomainError):
    """The body comes in pieces of unknown number; its length must be declared."""

    code = 1013
    name = "LENGTH_REQUIRED"
    status = 411
    message = gettext_noop("Declare the body's length in Content-Length.")


class ServerBusyError(DomainError):
    """As many calls wait as may; nothing of this one was done. `retry_after` is in seconds."""

    code = 1014
    name = "SERVER_BUSY"
    status = 429
    message = gettext_noop("More calls wait than can be answered soon; try again in %(retry_after)s seconds.")


class NotAuthenticatedError(DomainError):
    """The call needs a signed-in user."""

    code = 2001
    name = "NOT_AUTHENTICATED"
    status = 401
    message = gettext_noop("Sign in first: send a token or a session.")


class TokenExpiredError(DomainError):
    """The token was good and has run out; refresh it."""

    code = 2002
    name = "TOKEN_EXPIRED"
    status = 401
    message = gettext_noop("The token has expired.")


class TokenInvalidError(DomainError):
    """The token was never good, is of the wrong kind, or was withdrawn."""

    code = 2003
    name = "TOKEN_INVALID"
    status = 401
    message = gettext_noop("The token is not valid.")


class CsrfFailedError(DomainError):
    """A session request came without this site's CSRF token."""

    code = 2005
    name = "CSRF_FAILED"
    status = 403
    message = gettext_noop("The CSRF token is missing or wrong; reload the page.")


class InternalError(DomainError):
    """A fault of the exchange, not of the caller; logged under the trace id."""

    code = 9000
    name = "INTERNAL_ERROR"
    status = 500
    message = gettext_noop("Something went wrong on our side; it has been recorded.")


class UnavailableError(DomainError):
    """The database is busy or away. Retry with the same client_order_id: nothing happens twice."""

    code = 9001
    name = "UNAVAILABLE"
    status = 503
    message = gettext_noop("The exchange is busy; try again shortly.")
