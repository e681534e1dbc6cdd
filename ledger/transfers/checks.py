"""What the exchange itself has to say about a withdrawal before people look: checks with their findings in words.

A check that is not fine decides nothing: it tells the reviewer where to look. Findings are stored as facts and put
into words when they are read.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, NamedTuple

from django.contrib.auth import get_user_model
from django.db.models import Sum
from django.utils.translation import gettext

from exchange.kernel.errors import gettext_noop
from exchange.kernel.money import EXACT, plain
from ledger.transfers import identity, limits, profiles
from ledger.transfers.models import DepositNotice, DepositState, Withdrawal, WithdrawalState

RECENT: Final = timedelta(days=3)
YOUNG_ACCOUNT: Final = timedelta(days=30)
MANY_A_DAY: Final = 3
LARGE_SHARE_PERCENT: Final = 50
QUICK_SHARE_PERCENT: Final = 80
_PERCENT: Final = 100

Finding = dict[str, Any]
"""`code`, `ok`, and `data`: the texts that the check's words need."""


class Words(NamedTuple):
    """What a check says when all is well, and when it is not."""

    fine: str
    doubt: str


WORDS: Final[dict[str, Words]] = {
    "ADDRESS": Words(
        gettext_noop("The customer has been paid out to this address before."),
        gettext_noop("Nothing was ever paid to this address for this customer; it was saved on %(saved)s."),
    ),
    "ADDRESS_SHARED": Words(
        gettext_noop("No other customer has saved this address."),
        gettext_noop("%(count)s other customers have saved the same address."),
    ),
    "AMOUNT": Words(
        gettext_noop("It is %(percent)s %% of what the tier allows in 24 hours."),
        gettext_noop("It is %(percent)s %% of what the tier allows in 24 hours (%(limit)s)."),
    ),
    "VELOCITY": Words(
        gettext_noop("It is withdrawal %(count)s in 24 hours."),
        gettext_noop("It is withdrawal %(count)s in 24 hours: many."),
    ),
    "QUICK": Words(
        gettext_noop("It is not money that came in within the last 24 hours."),
        gettext_noop("%(deposited)s came in within the last 24 hours and most of it would leave again."),
    ),
    "PASSWORD": Words(
        gettext_noop("The password has not been changed lately."),
        gettext_noop("The password was changed on %(changed)s."),
    ),
    "SECOND_FACTOR": Words(
        gettext_noop("A second factor confirmed it, and has not been changed lately."),
        gettext_noop("The second factor is new, of %(changed)s."),
    ),
    "NO_SECOND_FACTOR": Words(
        gettext_noop("A second factor is set up."),
        gettext_noop("The customer has no second factor; the password confirmed it."),
    ),
    "ACCOUNT_AGE": Words(
        gettext_noop("The account is older than %(days)s days."),
        gettext_noop("The account was opened on %(opened)s."),
    ),
    "PROFILE": Words(
        gettext_noop("The profile names the holder: %(name)s."),
        gettext_noop("The profile names no legal holder and country."),
    ),
}


def words(finding: Finding) -> str:
    """Put a finding into words, in the language that is active."""
    said = WORDS[finding["code"]]
    return str(gettext(said.fine if finding["ok"] else said.doubt) % finding["data"])


def run(withdrawal: Withdrawal, *, now: datetime) -> list[Finding]:
    """Judge a withdrawal; findings in a fixed order."""
    user = get_user_model().objects.get(pk=withdrawal.owner_id)
    return [check(withdrawal, user, now) for check in _CHECKS]


def _finding(code: str, *, ok: bool, **data: object) -> Finding:
    return {"code": code, "ok": ok, "data": {name: str(value) for name, value in data.items()}}


def _moment(moment: datetime) -> str:
    """Write a moment as reviewers compare it."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _address(withdrawal: Withdrawal, _user: Any, _now: datetime) -> Finding:
    paid = Withdrawal.objects.filter(
        owner_id=withdrawal.owner_id,
        network=withdrawal.network,
        address=withdrawal.address,
        state=WithdrawalState.SETTLED,
    ).exists()
    return _finding("ADDRESS", ok=paid, saved=_moment(withdrawal.saved_address.created_at))


def _address_shared(withdrawal: Withdrawal, _user: Any, _now: datetime) -> Finding:
    others = type(withdrawal.saved_address).objects.filter(network=withdrawal.network, address=withdrawal.address)
    count = others.exclude(owner_id=withdrawal.owner_id).values("owner_id").distinct().count()
    return _finding("ADDRESS_SHARED", ok=not count, count=count)


def _amount(withdrawal: Withdrawal, _user: Any, now: datetime) -> Finding:
    allowed = limits.of(withdrawal.owner_id, str(withdrawal.asset_id), now=now)
    limit = allowed.per_day if allowed is not None else Decimal(0)
    percent = int(EXACT.divide_int(EXACT.multiply(withdrawal.amount, Decimal(_PERCENT)), limit)) if limit else _PERCENT
    return _finding("AMOUNT", ok=percent < LARGE_SHARE_PERCENT, percent=percent, limit=plain(limit))


def _velocity(withdrawal: Withdrawal, _user: Any, _now: datetime) -> Finding:
    count = Withdrawal.objects.filter(
        owner_id=withdrawal.owner_id, requested_at__gt=withdrawal.requested_at - limits.DAY, pk__lte=withdrawal.pk
    ).count()
    return _finding("VELOCITY", ok=count < MANY_A_DAY, count=count)


def _quick(withdrawal: Withdrawal, _user: Any, _now: datetime) -> Finding:
    deposited: Decimal = DepositNotice.objects.filter(
        owner_id=withdrawal.owner_id,
        amount_currency=withdrawal.asset_id,
        state=DepositState.CREDITED,
        created_at__gt=withdrawal.requested_at - limits.DAY,
    ).aggregate(total=Sum("amount"))["total"] or Decimal(0)
    share = EXACT.multiply(withdrawal.amount, Decimal(_PERCENT))
    quick = bool(deposited) and share >= EXACT.multiply(deposited, Decimal(QUICK_SHARE_PERCENT))
    return _finding("QUICK", ok=not quick, deposited=plain(deposited))


def _password(_withdrawal: Withdrawal, user: Any, now: datetime) -> Finding:
    changed = getattr(user, "password_changed_at", None)
    recent = changed is not None and now - changed < RECENT
    return _finding("PASSWORD", ok=not recent, changed="" if changed is None else _moment(changed))


def _second_factor(_withdrawal: Withdrawal, user: Any, now: datetime) -> Finding:
    changed = identity.newest_device_at(user)
    if identity.method(user) != identity.OTP:
        return _finding("NO_SECOND_FACTOR", ok=False)
    recent = changed is not None and now - changed < RECENT
    return _finding("SECOND_FACTOR", ok=not recent, changed="" if changed is None else _moment(changed))


def _account_age(_withdrawal: Withdrawal, user: Any, now: datetime) -> Finding:
    old = now - user.date_joined >= YOUNG_ACCOUNT
    return _finding("ACCOUNT_AGE", ok=old, days=YOUNG_ACCOUNT.days, opened=_moment(user.date_joined))


def _profile(withdrawal: Withdrawal, _user: Any, _now: datetime) -> Finding:
    profile = profiles.of(withdrawal.owner_id)
    return _finding("PROFILE", ok=bool(profile.legal_name and profile.country), name=profile.legal_name)


_CHECKS: Final[tuple[Callable[[Withdrawal, Any, datetime], Finding], ...]] = (
    _address,
    _address_shared,
    _amount,
    _velocity,
    _quick,
    _password,
    _second_factor,
    _account_age,
    _profile,
)
