"""The second look at who asks: a one-time code where the person has a device, else the password once more."""

from typing import Any, Final

import django_otp
import structlog
from django_otp.plugins.otp_totp.models import TOTPDevice

from exchange.api import throttling
from ledger.transfers.errors import ConfirmationRequiredError, ConfirmationWrongError

audit = structlog.get_logger("exchange.audit")

OTP: Final = "otp"
PASSWORD: Final = "password"  # noqa: S105 -- the name of a field
ATTEMPTS: Final = throttling.Limit("confirmation", 5, 900)
"""Wrong answers in a quarter of an hour."""


def method(user: Any) -> str:
    """Return how this person confirms: `otp` with a confirmed device, else `password`."""
    return OTP if django_otp.user_has_device(user, confirmed=True) else PASSWORD


def confirm(user: Any, *, otp: str = "", password: str = "") -> None:
    """Refuse unless the person confirms with what the person has. A code works once.

    Who has a device cannot fall back to the password: whoever stole that would get by.

    Raises:
        ConfirmationRequiredError: Nothing was given, or not the method that this person has.
        ConfirmationWrongError: It is wrong.
        TooManyRequestsError: It was wrong too often.
    """
    wanted = method(user)
    given = otp if wanted == OTP else password
    if not given:
        raise ConfirmationRequiredError(method=wanted)
    throttling.take(ATTEMPTS, str(user.pk))
    right = django_otp.match_token(user, given) is not None if wanted == OTP else user.check_password(given)
    if not right:
        audit.warning("confirmation_refused", user_id=user.pk, method=wanted)
        raise ConfirmationWrongError(field=wanted)
    throttling.give_back(ATTEMPTS, str(user.pk))


def newest_device_at(user: Any) -> Any:
    """Return when the person's newest confirmed device was set up, or None."""
    devices = TOTPDevice.objects.filter(user=user, confirmed=True, created_at__isnull=False)
    return devices.order_by("-created_at").values_list("created_at", flat=True).first()
