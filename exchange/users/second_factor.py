"""A person's second factor, set up and taken away by the person: a device that shows one-time codes (TOTP).

Who has one confirms withdrawals and new addresses with it (`ledger.transfers.identity`). The secret is told once, in
the answer to `start`: whoever finds a session open later cannot read it.

Source: RFC 6238 (codes); https://github.com/google/google-authenticator/wiki/Key-Uri-Format (what a QR code says)
"""

import base64
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

import segno
import structlog
from django.db import transaction
from django_otp.plugins.otp_totp.models import TOTPDevice

from exchange.api import throttling
from exchange.kernel.errors import DomainError, gettext_noop
from ledger.services import accounts
from ledger.transfers import identity, notices

audit = structlog.get_logger("exchange.audit")

WRITES: Final = throttling.Limit("second_factor", 20, 900)
"""Set-ups, codes and removals of one person."""
NAME: Final = "authenticator"
SET_UP_WITHIN: Final = timedelta(minutes=15)
QR_MODULE_PIXELS: Final = 4
SECRET_GROUP: Final = 4


class SecondFactorExistsError(DomainError):
    """One device is enough; another is set up once the first is removed."""

    code = 2011
    name = "SECOND_FACTOR_EXISTS"
    status = 409
    message = gettext_noop("You have a device already; remove it first.")


class SetUpExpiredError(DomainError):
    """Nothing is being set up, or not any more."""

    code = 2012
    name = "SECOND_FACTOR_SET_UP_EXPIRED"
    status = 409
    message = gettext_noop("The code was scanned too long ago. Start again.")


class CodeWrongError(DomainError):
    """The device shows another code, or its clock is wrong."""

    code = 2013
    name = "SECOND_FACTOR_CODE_WRONG"
    message = gettext_noop("That is not the code your device shows now. Check its clock and try the next one.")


class SetUp(NamedTuple):
    """What the person's device is to learn.

    Args:
        secret: For typing: Base32, in groups of four.
        qr: For scanning: an SVG element.
    """

    secret: str
    qr: str


def has_device(user: Any) -> bool:
    """Tell whether the person confirms with a device."""
    return identity.method(user) == identity.OTP


def since(user: Any) -> datetime | None:
    """Return when the person's device was set up; None without one, or where that was not written down."""
    found: datetime | None = identity.newest_device_at(user)
    return found


def start(user: Any, *, password: str) -> SetUp:
    """Make a new secret for a device that is to be set up; an earlier one that was not finished is void.

    Raises:
        SecondFactorExistsError: There is a device.
        ConfirmationRequiredError, ConfirmationWrongError: The password is missing or wrong.
        TooManyRequestsError: Too many attempts.
    """
    throttling.take(WRITES, str(user.pk))
    if has_device(user):
        raise SecondFactorExistsError
    identity.confirm(user, password=password)
    with transaction.atomic():
        _alone(user)
        if has_device(user):
            raise SecondFactorExistsError
        TOTPDevice.objects.filter(user=user, confirmed=False).delete()
        device = TOTPDevice.objects.create(user=user, name=NAME, confirmed=False)
    audit.info("second_factor_started", user_id=user.pk)
    return SetUp(_typed(device), segno.make(device.config_url).svg_inline(scale=QR_MODULE_PIXELS, light="#fff"))


def _typed(device: TOTPDevice) -> str:
    """Write a device's secret as people type it."""
    secret = base64.b32encode(device.bin_key).decode().rstrip("=")
    return " ".join(secret[at : at + SECRET_GROUP] for at in range(0, len(secret), SECRET_GROUP))


def finish(user: Any, *, code: str, now: datetime) -> None:
    """Take the device that `start` made into use: it shows the right code. The person is told.

    Raises:
        SecondFactorExistsError: A device came into use meanwhile.
        SetUpExpiredError: Nothing was started within the last 15 minutes.
        CodeWrongError: The code is wrong.
        TooManyRequestsError: Too many attempts.
    """
    throttling.take(WRITES, str(user.pk))
    with transaction.atomic():
        _alone(user)
        if has_device(user):
            raise SecondFactorExistsError
        device = TOTPDevice.objects.filter(user=user, confirmed=False).order_by("-pk").first()
        if device is None or device.created_at is None or now - device.created_at > SET_UP_WITHIN:
            raise SetUpExpiredError
        if not device.verify_token(code.replace(" ", "")):
            audit.warning("second_factor_refused", user_id=user.pk)
            raise CodeWrongError(field="code")
        device.confirmed = True
        device.save(update_fields=["confirmed"])
        notices.give([(user.pk, "SECOND_FACTOR_ADDED", {})], now=now)
    audit.info("second_factor_added", user_id=user.pk)


def remove(user: Any, *, code: str, now: datetime) -> None:
    """Take the device out of use; a code of it is needed. Who has lost it turns to support. The person is told.

    Raises:
        ConfirmationRequiredError, ConfirmationWrongError: The code is missing or wrong, or there is no device.
        TooManyRequestsError: Too many attempts.
    """
    throttling.take(WRITES, str(user.pk))
    identity.confirm(user, otp=code)
    with transaction.atomic():
        _alone(user)
        TOTPDevice.objects.filter(user=user).delete()
        notices.give([(user.pk, "SECOND_FACTOR_REMOVED", {})], now=now)
    audit.warning("second_factor_removed", user_id=user.pk)


def _alone(user: Any) -> None:
    """Hold the gate of this person, under which notices are given and devices change: Note [Lock order]."""
    accounts.open_gates([user.pk])
    accounts.lock({user.pk})
