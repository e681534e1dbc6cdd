"""Makes the demo: assets, instruments, users and their funds. Repeating it changes nothing.

Funds are deposits in the ledger like any other, from a custody of their own name.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import make_password
from django.db import transaction

from exchange.demo import catalogue
from exchange.demo.catalogue import DemoInstrument, DemoUser
from exchange.kernel.errors import DomainError, gettext_noop, require
from ledger.access import Role
from ledger.models import Asset, TransferRoute, WithdrawalAddress, WithdrawalLimit
from ledger.reserves import publishing
from ledger.reserves.models import Publication
from ledger.services import accounts, roles, transfers
from ledger.transfers import custody
from marketdata import shards
from marketdata.models import Instrument, InstrumentKind, InstrumentStatus, LeverageBracket
from risk.models import DEFAULT_TIER, RiskTier, TraderProfile
from trading.services import mark_price, trading_state
from trading.services.mark_price import MarkPrice

CUSTODY = "demo"
DAYS_IN_LIMIT = 10


class DemoNameTakenError(DomainError):
    """A real user has the name of a demo user."""

    code = 9101
    name = "DEMO_NAME_TAKEN"
    status = 409
    message = gettext_noop("The name %(username)s belongs to a user who is not of the demo; use --no-demo.")


class Login(NamedTuple):
    """What a visitor types to sign in."""

    username: str
    password: str
    is_administrator: bool


@transaction.atomic
def seed(*, now: datetime) -> list[Login]:
    """Make what is missing of the demo and return its logins.

    What exists is left as it is, so that an administrator's change survives the next start.

    Raises:
        DemoNameTakenError: A real user has a demo user's name; nothing was made.
    """
    require(settings.DEMO, "the demo is seeded in demo mode only")
    seed_assets()
    seed_instruments(catalogue.INSTRUMENTS, now=now)
    owner_ids = _seed_users(catalogue.USERS, now=now)
    _seed_makers(owner_ids, now=now)
    _seed_transfers(owner_ids, now=now)
    _seed_funds(owner_ids, now=now)
    _seed_reserves(owner_ids, now=now)
    return logins()


def logins() -> list[Login]:
    """Return the logins that people use; makers are programs."""
    return [
        Login(user.username, catalogue.DEMO_PASSWORD, user.is_administrator)
        for user in catalogue.USERS
        if not user.is_maker
    ]


def lock_out() -> int:
    """Switch the demo's users off, whose password everybody knows; return how many there were.

    For a start without the demo on data that once had it; `seed` switches them on again.
    """
    names = [user.username for user in catalogue.USERS]
    return get_user_model().objects.filter(username__in=names, is_demo=True, is_active=True).update(is_active=False)


def seed_assets() -> None:
    """Make the assets that are missing."""
    Asset.objects.bulk_create([Asset(**asset._asdict()) for asset in catalogue.ASSETS], ignore_conflicts=True)


def seed_instruments(wanted: Sequence[DemoInstrument], *, now: datetime) -> None:
    """Make the instruments that are missing, labelled as demo; their assets exist."""
    for instrument in wanted:
        fields = instrument._asdict()
        fields |= {"base_id": fields.pop("base"), "quote_id": fields.pop("quote"), "is_demo": True}
        fields["shard"] = shards.for_new(instrument.symbol)
        del fields["underlying"], fields["brackets"]
        if instrument.brackets:
            fields |= {"kind": InstrumentKind.PERPETUAL, "status": InstrumentStatus.CLOSED}
        made, is_new = Instrument.objects.get_or_create(symbol=fields.pop("symbol"), defaults=fields)
        if is_new and instrument.brackets:
            _open_contract(made, instrument, now=now)


def _open_contract(made: Instrument, instrument: DemoInstrument, *, now: datetime) -> None:
    """Give a contract its brackets, and open it by command: the engine learns by it that it is one. Mark it."""
    for bracket in instrument.brackets:
        LeverageBracket.objects.create(instrument=made, **bracket._asdict())
    trading_state.change(made.symbol, InstrumentStatus.TRADING, now=now)
    mark_price.publish([MarkPrice(made.symbol, instrument.reference_price)], now=now)


def _seed_users(wanted: Sequence[DemoUser], *, now: datetime) -> dict[str, int]:
    """Make the users that are missing, with their ledger gates; return the id of every one by name.

    All have one hash: their password is published, and each hash takes a second of processor time or two.
    """
    users = get_user_model().objects
    hashed = ""
    owner_ids = {}
    for user in wanted:
        found = users.filter(username=user.username).first()
        if found is None:
            hashed = hashed or make_password(catalogue.DEMO_PASSWORD)
            found = users.create(
                username=user.username,
                password=hashed,
                first_name=user.first_name,
                is_staff=user.is_administrator or user.finance_role is not None,
                is_superuser=user.is_administrator,
                is_demo=True,
                date_joined=now,
                password_changed_at=now,
            )
            if user.finance_role is not None:
                roles.grant(found.pk, user.finance_role)
        if not found.is_demo:
            raise DemoNameTakenError(username=user.username)
        owner_ids[user.username] = int(found.pk)
    users.filter(pk__in=owner_ids.values(), is_active=False).update(is_active=True)
    accounts.open_gates(sorted(owner_ids.values()))
    return owner_ids


def _seed_makers(owner_ids: dict[str, int], *, now: datetime) -> None:
    """Give the makers a tier that allows a day of quoting."""
    tier, _ = RiskTier.objects.get_or_create(
        name=catalogue.MAKER_TIER, defaults={"daily_order_limit": catalogue.MAKER_ORDERS_PER_DAY}
    )
    for user in catalogue.USERS:
        if user.is_maker:
            TraderProfile.objects.get_or_create(
                user_id=owner_ids[user.username], defaults={"tier": tier, "counted_on": now.date()}
            )


def _seed_transfers(owner_ids: dict[str, int], *, now: datetime) -> None:
    """Describe custody accounts, open routes with their limits, and save a few addresses."""
    for route in catalogue.ROUTES:
        custody.open_account(
            route.asset,
            transfers.DEFAULT_CUSTODY,
            kind=route.kind,
            network=route.network,
            name=route.name,
            address=route.address,
            confirmations=route.confirmations,
            second_person_above=route.per_day * catalogue.SECOND_PERSON_SHARE,
            now=now,
        )
        custody.open_account(
            route.asset, CUSTODY, kind=route.kind, network=route.network, name=f"Demo funds, {route.asset}", now=now
        )
        TransferRoute.objects.get_or_create(
            asset_id=route.asset,
            network=route.network,
            defaults={"withdraw_fee": route.fee, "withdraw_min": route.minimum},
        )
        WithdrawalLimit.objects.get_or_create(
            tier=DEFAULT_TIER,
            asset_id=route.asset,
            defaults={"per_day": route.per_day, "per_month": route.per_day * DAYS_IN_LIMIT},
        )
    for username, saved in catalogue.SAVED_ADDRESSES.items():
        for asset, network, address in saved:
            named = {"owner_id": owner_ids[username], "asset_id": asset, "network": network, "address": address}
            if not WithdrawalAddress.objects.filter(**named).exists():  # one that was removed stays so
                WithdrawalAddress.objects.create(**named, label="demo", created_at=now, usable_from=now)


def _seed_funds(owner_ids: dict[str, int], *, now: datetime) -> None:
    """Deposit everyone's starting funds; a deposit's key keeps it from being made twice."""
    transfers.deposit(
        [
            transfers.Deposit(
                owner_id=owner_ids[user.username],
                asset=asset,
                amount=amount,
                key=f"demo:{owner_ids[user.username]}:{asset}",
                note="demo funds",
                custody=CUSTODY,
            )
            for user in catalogue.USERS
            for asset, amount in user.funds.items()
        ],
        now=now,
    )


def _seed_reserves(owner_ids: dict[str, int], *, now: datetime) -> None:
    """Publish a first proof of reserves, on behalf of the approver; later ones are made by hand."""
    if settings.RESERVES_PUBLISHING and not Publication.objects.exists():
        author = next(user.username for user in catalogue.USERS if user.finance_role == Role.APPROVER)
        request = Publication.objects.create(requested_by_id=owner_ids[author], requested_at=now)
        publishing.publish(request.pk, now=now)
