"""Who asks: a JWT access token, or a session of the web pages with its CSRF token.

Note [Proven once]
    A program sends the same token with each of its calls, for a quarter of an hour. That its signature is right is
    found out once for each process; whether it has run out, and whether its user is there, active and has the password
    that the token was made with, is asked at every call. So a token ends when it did before.
"""

import functools
from typing import Any, TypeVar

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser
from django.db import connection
from rest_framework.authentication import SessionAuthentication
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework_simplejwt.authentication import JWTAuthentication
from rest_framework_simplejwt.exceptions import AuthenticationFailed, TokenError
from rest_framework_simplejwt.exceptions import ExpiredTokenError as JwtExpired
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.tokens import AccessToken, Token
from rest_framework_simplejwt.utils import get_md5_hash_password

from exchange import database
from exchange.api.errors import CsrfFailedError, NotAuthenticatedError, TokenExpiredError, TokenInvalidError
from exchange.kernel.clock import now_ns

T = TypeVar("T", bound=Token)

HEADER = "Authorization"
TOKENS_MAX = 4096
"""Tokens of which a process knows that they are good."""
NS_PER_SECOND = 1_000_000_000


def read_token(token_class: type[T], text: str) -> T:
    """Return a token that is whole, of the class asked for, and not expired.

    Raises:
        TokenExpiredError: It was good and has run out.
        TokenInvalidError: It is anything else.
    """
    try:
        return token_class(text)  # type: ignore[arg-type]  # the library's annotation is wrong
    except JwtExpired:
        raise TokenExpiredError from None
    except TokenError:
        raise TokenInvalidError from None


def user_of_access_token(text: str) -> AbstractBaseUser:
    """Return the active user whom an access token names; for the WebSocket, which has no headers.

    Raises:
        TokenExpiredError: The token has run out.
        TokenInvalidError: The token is not valid, or its user is gone or switched off.
    """
    token = _proven(text)
    if int(token["exp"]) * NS_PER_SECOND <= now_ns():
        raise TokenExpiredError
    found = _user(token.get(api_settings.USER_ID_CLAIM))
    if found is None or not found.is_active:
        raise TokenInvalidError
    if token.get(api_settings.REVOKE_TOKEN_CLAIM) != get_md5_hash_password(found.password):  # changed meanwhile
        raise TokenInvalidError
    return found


@functools.lru_cache(maxsize=TOKENS_MAX)
def _proven(text: str) -> AccessToken:
    """Return a token that is whole, and had not expired when it was first seen: Note [Proven once].

    Raises:
        TokenExpiredError, TokenInvalidError: As for `read_token`; these are not kept.
    """
    return read_token(AccessToken, text)


def _user(user_id: Any) -> AbstractBaseUser | None:
    """Return the user of an id as the database has them now; None when there is none.

    Every call of the API asks this, and to build the same query anew by Django takes longer than to run it.
    """
    if not str(user_id).isdecimal():
        return None
    model = get_user_model()
    columns, statement = _lookup(model)
    [rows] = database.fetch((statement, (int(user_id),)))
    return model.from_db(connection.alias, columns, rows[0]) if rows else None


@functools.cache
def _lookup(model: type[AbstractBaseUser]) -> tuple[list[str], str]:
    """Return the fields of a user, and the statement that reads them."""
    fields = model._meta.concrete_fields  # noqa: SLF001 -- Django's documented way to a model's fields
    columns = ", ".join(connection.ops.quote_name(str(field.column)) for field in fields)
    table, key = (connection.ops.quote_name(str(name)) for name in (model._meta.db_table, model._meta.pk.column))  # noqa: SLF001
    return [field.attname for field in fields], f"SELECT {columns} FROM {table} WHERE {key} = %s"


class JwtAuthentication(JWTAuthentication):
    """`Authorization: Bearer <access token>`."""

    def authenticate(self, request: Request) -> tuple[Any, Any] | None:
        """Return the token's user, or nothing when no token was sent."""
        if HEADER not in request.headers:
            return None
        try:
            raw = self.get_raw_token(self.get_header(request))
        except AuthenticationFailed:
            raise TokenInvalidError from None
        if raw is None:
            return None
        try:
            text = raw.decode("ascii")
        except UnicodeDecodeError:
            raise TokenInvalidError from None
        return user_of_access_token(text), text


class PageSessionAuthentication(SessionAuthentication):
    """The session of a signed-in page; every unsafe call proves that it comes from our page."""

    def authenticate_header(self, request: Request) -> str:
        """Name a scheme, so that a missing sign-in is 401 and not 403."""
        return "Session"

    def enforce_csrf(self, request: Request) -> None:
        """Check the CSRF token.

        Raises:
            CsrfFailedError: The token is missing or wrong.
        """
        try:
            super().enforce_csrf(request)
        except PermissionDenied:
            raise CsrfFailedError from None


def customer_id(request: Request) -> int:
    """Return the id of the signed-in user: the owner of all that the call may see or change.

    Raises:
        NotAuthenticatedError: Nobody is signed in.
    """
    if request.user is None or request.user.pk is None:
        raise NotAuthenticatedError
    return int(request.user.pk)


def client_address(meta: dict[str, Any]) -> str:
    """Return the caller's address: the connection's, or as told by the proxies that we run ourselves.

    Args:
        meta: The request's META. X-Forwarded-For counts only as many hops from its end as
            `settings.TRUSTED_PROXY_COUNT` says, since a caller can write anything before them.
    """
    hops = getattr(settings, "TRUSTED_PROXY_COUNT", 0)
    if hops:
        told = [part.strip() for part in meta.get("HTTP_X_FORWARDED_FOR", "").split(",") if part.strip()]
        if len(told) >= hops:
            return str(told[-hops])
    return str(meta.get("REMOTE_ADDR") or "local")
