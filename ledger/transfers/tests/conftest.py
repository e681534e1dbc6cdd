"""Fixtures of this package: `desk`, an exchange's back office with custody, routes, limits and staff."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.messages import get_messages
from django.db import connection
from django.test import Client

from ledger import posting_rules
from ledger.access import Role
from ledger.entries import EntryDraft
from ledger.models import CustodyAccount, TransferRoute, Withdrawal, WithdrawalAddress, WithdrawalLimit
from ledger.posting_rules import EventKind
from ledger.services import accounts, roles
from ledger.tests.factories import NOW
from ledger.tests.fixtures import Customer, make_asset
from ledger.transfers import audit, crediting, custody, decisions, payouts, withdrawals
from ledger.transfers.decisions import Payout
from ledger.transfers.models import Network
from ledger.transfers.withdrawals import WithdrawalRequest

TRON = "TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t"
OTHER_TRON = "TLa2f6VPqDgRE67v1736s7bJ8Ray5wYjU7"


def debt(owner_id: int, amount: object, asset: str = "USDT") -> EntryDraft:
    """Draft a debt, such as a lost position leaves."""
    return posting_rules.draft(
        EventKind.DEBT_CHARGE,
        key=f"debt:{owner_id}",
        effective_at=NOW,
        trace="trace-1",
        roles={"user": owner_id},
        assets={"asset": asset},
        amounts={"amount": Decimal(str(amount))},
        parts={"contract": "BTC-PERP"},
    )


class Desk:
    """The back office as tests speak of it: USDT on Tron, fee 1, at least 10, one custody account."""

    def __init__(self) -> None:
        make_asset("USDT")
        TransferRoute.objects.create(asset_id="USDT", network="TRON", withdraw_fee=1, withdraw_min=10)
        WithdrawalLimit.objects.create(tier="STANDARD", asset_id="USDT", per_day=1000, per_month=5000)
        self.custody: CustodyAccount = custody.open_account(
            "USDT",
            "main",
            kind="CHAIN",
            network=Network.TRON,
            name="Hot wallet",
            address=OTHER_TRON,
            confirmations=3,
            second_person_above=Decimal(500),
            now=NOW,
        )
        self.accountant = self.staff("ann", Role.ACCOUNTANT)
        self.approver = self.staff("ben", Role.APPROVER)

    def staff(self, name: str, role: Role) -> Any:
        """Make a member of staff."""
        user = get_user_model().objects.create_user(name, password="correct horse battery", is_staff=True)
        accounts.open_gates([user.pk])
        roles.grant(user.pk, role)
        return user

    def address(self, person: Customer, text: str = TRON, *, asset: str = "USDT") -> WithdrawalAddress:
        """Return a saved address whose delay is over."""
        saved, _ = WithdrawalAddress.objects.get_or_create(
            owner_id=person.id,
            asset_id=asset,
            network="TRON",
            address=text,
            defaults={
                "label": "my wallet",
                "created_at": NOW - timedelta(days=30),
                "usable_from": NOW - timedelta(days=29),
            },
        )
        return saved

    def request(self, person: Customer, amount: object, **changes: Any) -> Withdrawal:
        """Request a withdrawal to a saved address."""
        address_id = changes.pop("address_id", None) or self.address(person).pk
        wanted = WithdrawalRequest(address_id, Decimal(str(amount)), **changes)
        return withdrawals.request(person.id, wanted, now=NOW)[0]

    def to_review(self, person: Customer, amount: object) -> Withdrawal:
        """Bring a withdrawal into review."""
        made = self.request(person, amount)
        payouts.advance(NOW)
        return decisions.find(made.pk)

    def to_approval(self, person: Customer, amount: object) -> Withdrawal:
        """Bring a withdrawal before the second person."""
        made = self.to_review(person, amount)
        return decisions.pass_review(made.pk, version=made.version, by=self.accountant.pk, now=NOW)

    def to_approved(self, person: Customer, amount: object) -> Withdrawal:
        """Bring a withdrawal to where it may be paid."""
        made = self.to_approval(person, amount)
        return decisions.approve(made.pk, version=made.version, by=self.approver.pk, now=NOW)

    def payout(self, **changes: Any) -> Payout:
        """Return a payout from the one custody account."""
        return Payout(**{"custody_id": self.custody.pk, "reference": "tx-1", "paid_at": NOW, **changes})

    def paid(self, person: Customer, amount: object, **changes: Any) -> Withdrawal:
        """Bring a withdrawal to its end."""
        made = self.to_approved(person, amount)
        decisions.record_payout(made.pk, self.payout(**changes), version=made.version, by=self.accountant.pk, now=NOW)
        payouts.settle(NOW)
        return decisions.find(made.pk)

    def work(self) -> None:
        """Do all that waits for the back office."""
        for work in (payouts.advance, payouts.settle, payouts.release, crediting.credit, crediting.receive):
            work(NOW)


@pytest.fixture
def desk(db: None) -> Desk:
    """Return an exchange that takes and pays USDT."""
    return Desk()


@pytest.fixture
def counted(db: None) -> Callable[[], dict[str, int]]:
    """Return a counter of everything that a refusal must leave as it was."""

    def count() -> dict[str, int]:
        tables = (
            "ledger_withdrawal",
            "ledger_depositnotice",
            "ledger_transferevent",
            "ledger_withdrawaladdress",
            "ledger_notice",
            "ledger_entry",
            "ledger_line",
            "ledger_custodystatement",
            "ledger_statementline",
        )
        with connection.cursor() as cursor:
            found = {}
            for table in tables:
                cursor.execute(f"SELECT count(*) FROM {table}")
                found[table] = cursor.fetchone()[0]
            cursor.execute("SELECT coalesce(sum(balance), 0)::text FROM ledger_account WHERE code = '1030'")
            found["held"] = cursor.fetchone()[0]
        return found

    return count


@pytest.fixture
def transfers_audited(db: None) -> Iterator[None]:
    """Audit deposits and withdrawals after the test: any broken invariant fails it, by name."""
    yield
    assert [invariant for invariant in audit.invariants() if not invariant.ok] == []


class Staff:
    """A member of staff at a browser."""

    def __init__(self, user: Any) -> None:
        self.user = user
        self.client = Client()
        self.client.force_login(user)

    def get(self, path: str) -> Any:
        return self.client.get(f"/admin/finance/{path}")

    def post(self, path: str, **values: Any) -> Any:
        return self.client.post(f"/admin/finance/{path}", values)

    def told(self, path: str, **values: Any) -> str:
        """Post, and return what the person is told."""
        answer = self.post(path, **values)
        assert answer.status_code == 302, answer.content.decode()[:2000]
        return [str(message) for message in get_messages(answer.wsgi_request)][-1]


@pytest.fixture
def people(desk) -> dict[str, Staff]:
    return {
        "accountant": Staff(desk.accountant),
        "approver": Staff(desk.approver),
        "auditor": Staff(desk.staff("audrey", Role.AUDITOR)),
        "support": Staff(desk.staff("sue", Role.SUPPORT)),
    }
