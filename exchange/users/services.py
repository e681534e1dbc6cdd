"""Sign-up and sign-in: makes users with their ledger gate, gives out tokens and takes them back."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog
from django.contrib.auth import authenticate
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.http import HttpRequest
from rest_framework_simplejwt.tokens import RefreshToken
from rest_framework_simplejwt.utils import get_md5_hash_password

from exchange.api.authentication import read_token
from exchange.api.errors import TokenInvalidError
from exchange.kernel.errors import DomainError, gettext_noop
from exchange.users.models import User
from ledger.services import accounts

audit = structlog.get_logger("exchange.audit")

USERNAME_TAKEN_CONSTRAINT = "users_user_username_key"


class WrongCredentialsError(DomainError):
    """No active user has this name and password; which of the two is wrong is not told."""

    code = 2004
    name = "WRONG_CREDENTIALS"
    status = 401
    message = gettext_noop("The user name or the password is wrong.")


class UsernameTakenError(DomainError):
    """Another user has this name."""

    code = 2006
    name = "USERNAME_TAKEN"
    status = 409
    message = gettext_noop("The user name %(username)s is taken.")


class PasswordRefusedError(DomainError):
    """The password is too easy to guess; `data.fields` says why."""

    code = 2007
    name = "PASSWORD_REFUSED"
    message = gettext_noop("The password is too easy to guess.")


@dataclass(frozen=True)
class TokenPair:
    """What a client keeps: a short access token for calls, a refresh token for the next pair."""

    access: str
    refresh: str
    access_expires_in: int


def register(
    *, username: str, password: str, now: datetime, email: str = "", language: str = "", is_demo: bool = False
) -> User:
    """Make a user who can trade: the person and the gate of their ledger accounts, together or not at all.

    Raises:
        PasswordRefusedError: The password is too easy to guess.
        UsernameTakenError: The name, in whatever case, belongs to another user.
    """
    user = User(
        username=User.normalize_username(username),
        email=User.objects.normalize_email(email),
        language=language,
        is_demo=is_demo,
        date_joined=now,
    )
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise PasswordRefusedError(fields={"password": [str(reason) for reason in error.messages]}) from None
    user.set_password(password)
    with transaction.atomic():
        _insert(user)
        accounts.open_gates([user.pk])
    audit.info("user_registered", user_id=user.pk, username=user.username)
    return user


def _insert(user: User) -> None:
    """Store a new user; only a taken name is the caller's fault."""
    try:
        with transaction.atomic():
            user.save(force_insert=True)
    except IntegrityError as error:
        diagnostics = getattr(error.__cause__, "diag", None)
        if diagnostics is not None and diagnostics.constraint_name == USERNAME_TAKEN_CONSTRAINT:
            raise UsernameTakenError(username=user.username) from None
        raise


def sign_in(request: HttpRequest, *, username: str, password: str) -> User:
    """Return the user of a name and password.

    Raises:
        WrongCredentialsError: They do not fit, or the user is switched off.
    """
    user = authenticate(request, username=username, password=password)
    if not isinstance(user, User):
        audit.warning("sign_in_refused", username=username[:150])
        raise WrongCredentialsError
    audit.info("signed_in", user_id=user.pk)
    return user


def issue_tokens(user: User) -> TokenPair:
    """Give a user a fresh pair of tokens."""
    refresh = RefreshToken.for_user(user)
    access = refresh.access_token
    return TokenPair(str(access), str(refresh), int(access.lifetime.total_seconds()))


@transaction.atomic
def rotate_tokens(refresh_text: str) -> TokenPair:
    """Exchange a refresh token for a new pair; each refresh token works once.

    Raises:
        TokenExpiredError: It has run out.
        TokenInvalidError: It is not a refresh token of ours, was used before, or its user is gone,
            switched off, or has another password now.
    """
    token = read_token(RefreshToken, refresh_text)
    user = User.objects.filter(pk=token.get("user_id"), is_active=True).first()
    if user is None or token.get("hash_password") != get_md5_hash_password(user.password):
        raise TokenInvalidError
    outcome: Any = token.blacklist()  # (row, made now): the library's annotation forgets the second
    _, used_now = outcome
    if not used_now:
        raise TokenInvalidError
    return issue_tokens(user)


def sign_out(refresh_text: str) -> None:
    """Take back a refresh token; repeating it does no harm.

    Raises:
        TokenExpiredError: It has run out.
        TokenInvalidError: It is not a refresh token of ours, or was taken back before.
    """
    token = read_token(RefreshToken, refresh_text)
    token.blacklist()
    audit.info("signed_out", user_id=token.get("user_id"))
