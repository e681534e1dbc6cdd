"""Fixtures that every app's tests use: `customer`, and `books`, which audits the ledger after the test."""

import itertools
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest

NAMES = {"available": "1010", "order_hold": "1020", "withdraw_hold": "1030", "margin": "1040"}
FIAT = {"USD", "TWD", "EUR"}
CRYPTO_DECIMALS = 8
FIAT_DECIMALS = 2
_numbers = itertools.count(1)


class Customer:
    """A user with a gate and funds, as tests speak of one."""

    def __init__(self, user: Any) -> None:
        self.user = user
        self.id: int = user.pk

    def deposit(self, **funds: float | str | Decimal) -> "Customer":
        """Credit funds: `alice.deposit(USDT=100)`."""
        from exchange.kernel.clock import utc_now
        from ledger.services import transfers

        transfers.deposit(
            [
                transfers.Deposit(self.id, asset, Decimal(str(amount)), f"test:{self.id}:{next(_numbers)}", "test")
                for asset, amount in funds.items()
            ],
            utc_now(),
        )
        return self

    def balances(self, asset: str) -> dict[str, Decimal]:
        """Return the available and the order_hold wallet of an asset."""
        return {name: self.balance(asset, name) for name in ("available", "order_hold")}

    def balance(self, asset: str, name: str = "available") -> Decimal:
        """Return one wallet."""
        from ledger.services import accounts

        key = accounts.AccountKey(self.id, NAMES[name], asset)
        return accounts.balances([key])[key]


def make_asset(code: str, *, decimals: int | None = None) -> None:
    """Make an asset unless it is there: fiat with 2 decimals, digits (stocks) with 0, else 8."""
    from ledger.models import Asset, AssetKind

    if code in FIAT:
        kind, usual = AssetKind.FIAT, FIAT_DECIMALS
    elif code.isdigit() or code in {"AAPL", "TSLA"}:
        kind, usual = AssetKind.STOCK, 0
    else:
        kind, usual = AssetKind.CRYPTO, CRYPTO_DECIMALS
    Asset.objects.get_or_create(
        code=code, defaults={"name": code, "decimals": usual if decimals is None else decimals, "kind": kind}
    )


@pytest.fixture
def customer(db: None) -> Callable[..., Customer]:
    """Return a maker of users with a gate and funds: `customer("alice", USDT=100, BTC="0.5")`."""
    from django.contrib.auth import get_user_model

    from ledger.services import accounts

    def make(name: str, **funds: float | str | Decimal) -> Customer:
        made = Customer(get_user_model().objects.create_user(name, password="correct horse battery"))
        accounts.open_gates([made.id])
        for asset in funds:
            make_asset(asset)
        return made.deposit(**funds)

    return make


@pytest.fixture
def books(db: None) -> Iterator[None]:
    """Audit the ledger after the test: any broken invariant fails it, by name."""
    yield
    from ledger import audit

    broken = [invariant for invariant in audit.invariants() if not invariant.ok]
    assert broken == []


@pytest.fixture(autouse=True)
def _no_memory_of_other_tests() -> None:
    """Forget account ids: those of the previous test vanished with its transaction."""
    from ledger.services import accounts

    accounts.forget_ids()


def _is_transactional(request: pytest.FixtureRequest) -> bool:
    marker = request.node.get_closest_marker("django_db")
    return bool(
        {"transactional_db", "live_server", "django_db_reset_sequences"} & set(request.fixturenames)
        or (marker and (marker.kwargs.get("transaction") or (marker.args and marker.args[0])))
    )


@pytest.fixture(autouse=True)
def _books_emptied_after_commits(request: pytest.FixtureRequest) -> Iterator[None]:
    """After a test that really commits, throw the books away.

    Django's flush cannot: the books refuse TRUNCATE, from their owner too. Only a superuser can tell the
    whole server session to fire no triggers; the test cluster's login is one, production's are not.
    """
    yield
    if not _is_transactional(request):
        return
    from django.db import connection, transaction

    blocker = request.getfixturevalue("django_db_blocker")
    with blocker.unblock(), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(
            "TRUNCATE ledger_account, ledger_entry, ledger_line, ledger_period, ledger_total RESTART IDENTITY"
        )
        cursor.execute(
            "UPDATE ledger_head SET entry_id = 0, hash = sha256(''), recorded_at = '-infinity',"
            " closed_before = '2000-01-01 00:00:00+00' WHERE id = 1"
        )
