"""A person's second factor: only who knows the password gets a secret, only a right code takes it into use."""

import base64
import time
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django_otp.oath import TOTP
from django_otp.plugins.otp_totp.models import TOTPDevice

from exchange.api import throttling
from exchange.api.errors import TooManyRequestsError
from exchange.kernel.clock import utc_now
from exchange.users import second_factor
from exchange.users.second_factor import CodeWrongError, SecondFactorExistsError, SetUpExpiredError
from ledger.models import Notice
from ledger.transfers import identity
from ledger.transfers.errors import ConfirmationRequiredError, ConfirmationWrongError

pytestmark = pytest.mark.django_db
PASSWORD = "correct horse battery"


@pytest.fixture(autouse=True)
def fresh_limits() -> None:
    throttling._client().flushdb()


@pytest.fixture
def alice(customer) -> Any:
    return customer("alice").user


def code_of(secret: str) -> str:
    """Return what a device that learnt this secret shows, reckoned from the secret alone."""
    text = secret.replace(" ", "")
    code = TOTP(base64.b32decode(text + "=" * (-len(text) % 8)))
    code.time = time.time()
    return f"{code.token():06d}"


def other_than(code: str) -> str:
    return f"{(int(code) + 1) % 1_000_000:06d}"


@pytest.fixture
def secret(alice) -> str:
    """A device that is in use."""
    made = second_factor.start(alice, password=PASSWORD)
    second_factor.finish(alice, code=code_of(made.secret), now=utc_now())
    return made.secret


def test_a_device_that_learnt_the_secret_confirms(alice) -> None:
    made = second_factor.start(alice, password=PASSWORD)
    assert not second_factor.has_device(alice)

    second_factor.finish(alice, code=code_of(made.secret), now=utc_now())

    assert second_factor.has_device(alice)
    assert second_factor.since(alice) is not None
    assert made.qr.startswith("<svg")
    assert Notice.objects.get().kind == "SECOND_FACTOR_ADDED"


def test_the_first_code_is_used_up(alice, secret) -> None:
    with pytest.raises(ConfirmationWrongError):
        identity.confirm(alice, otp=code_of(secret))


@pytest.mark.parametrize(("password", "refusal"), [("", ConfirmationRequiredError), ("guess", ConfirmationWrongError)])
def test_without_the_password_nothing_is_started(alice, password, refusal) -> None:
    with pytest.raises(refusal):
        second_factor.start(alice, password=password)

    assert not TOTPDevice.objects.exists()


def test_a_wrong_code_takes_nothing_into_use_and_the_right_one_still_does(alice) -> None:
    made = second_factor.start(alice, password=PASSWORD)

    with pytest.raises(CodeWrongError):
        second_factor.finish(alice, code=other_than(code_of(made.secret)), now=utc_now())
    assert not second_factor.has_device(alice)
    assert not Notice.objects.exists()

    second_factor.finish(alice, code=code_of(made.secret), now=utc_now())
    assert second_factor.has_device(alice)


def test_a_new_start_voids_the_earlier_secret(alice) -> None:
    first = second_factor.start(alice, password=PASSWORD)
    second_factor.start(alice, password=PASSWORD)

    with pytest.raises(CodeWrongError):
        second_factor.finish(alice, code=code_of(first.secret), now=utc_now())
    assert TOTPDevice.objects.count() == 1


def test_what_was_started_long_ago_or_never_is_not_finished(alice, customer) -> None:
    made = second_factor.start(alice, password=PASSWORD)
    bob = customer("bob").user

    with pytest.raises(SetUpExpiredError):
        second_factor.finish(
            alice, code=code_of(made.secret), now=utc_now() + second_factor.SET_UP_WITHIN + timedelta(minutes=1)
        )
    with pytest.raises(SetUpExpiredError):
        second_factor.finish(bob, code=code_of(made.secret), now=utc_now())
    assert not TOTPDevice.objects.filter(confirmed=True).exists()


def test_who_has_a_device_sets_up_no_other(alice, secret) -> None:
    with pytest.raises(SecondFactorExistsError):
        second_factor.start(alice, password=PASSWORD)
    with pytest.raises(SecondFactorExistsError):
        second_factor.finish(alice, code=code_of(secret), now=utc_now())

    assert TOTPDevice.objects.count() == 1


def test_the_device_is_removed_by_its_code_and_not_by_the_password(alice, secret) -> None:
    with pytest.raises(ConfirmationWrongError):
        second_factor.remove(alice, code=PASSWORD, now=utc_now())
    assert second_factor.has_device(alice)
    # A later code is not there yet: let the device forget that the first one was used, and the wrong try.
    TOTPDevice.objects.update(last_t=-1, throttling_failure_count=0, throttling_failure_timestamp=None)

    second_factor.remove(alice, code=code_of(secret), now=utc_now())

    assert not TOTPDevice.objects.exists()
    assert Notice.objects.order_by("-pk").values_list("kind", flat=True)[0] == "SECOND_FACTOR_REMOVED"


def test_codes_cannot_be_tried_for_long(alice) -> None:
    made = second_factor.start(alice, password=PASSWORD)
    wrong = other_than(code_of(made.secret))

    for _ in range(second_factor.WRITES.count - 1):
        with pytest.raises(CodeWrongError):
            second_factor.finish(alice, code=wrong, now=utc_now())
    with pytest.raises(TooManyRequestsError):
        second_factor.finish(alice, code=code_of(made.secret), now=utc_now())


def test_the_web_process_may_do_all_of_it(alice) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL ROLE exchange_web")

    made = second_factor.start(alice, password=PASSWORD)
    second_factor.finish(alice, code=code_of(made.secret), now=utc_now())
    TOTPDevice.objects.update(last_t=-1)
    second_factor.remove(alice, code=code_of(made.secret), now=utc_now())

    assert not TOTPDevice.objects.exists()
