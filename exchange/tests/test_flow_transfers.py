"""The whole road of money in and out, each step in its process's database role: bank, books, trader, bank again."""

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core import mail
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import DatabaseError, connection, transaction
from django.test import Client

from exchange.demo import seed
from exchange.kernel.clock import utc_now
from ledger import audit, posting_rules, tasks
from ledger.entries import AccountKey
from ledger.models import CustodyAccount, DepositNotice, JournalEntry, Withdrawal, WithdrawalAddress
from ledger.posting_rules import EventKind
from ledger.services import accounts, journal
from ledger.transfers import audit as transfers_audit
from ledger.transfers import deposit_addresses
from ledger.transfers.models import DepositState, WithdrawalState
from trading.models import CommandStream, SettlementCursor

pytestmark = pytest.mark.django_db
WEB, BACK_OFFICE = "exchange_web", "exchange_back_office"
HEADER = "date,reference,amount,balance,text\n"


@contextmanager
def acting(role: str) -> Iterator[None]:
    """Run as a process of this role would."""
    with connection.cursor() as cursor:
        cursor.execute(f"SET ROLE {role}")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("RESET ROLE")


class Browser:
    """A person of the demo at a browser, served by the web's role."""

    def __init__(self, name: str) -> None:
        self.user = get_user_model().objects.get(username=name)
        self.client = Client()
        self.client.force_login(self.user)

    def post(self, path: str, **values: Any) -> Any:
        with acting(WEB):
            answer = self.client.post(path, values)
        assert answer.status_code == 302, answer.content.decode()[:3000]
        return answer


def back_office() -> None:
    """Run the back office's task in its role, as Celery does."""
    with acting(BACK_OFFICE):
        tasks.carry_out()


def balance(owner_id: int | None, code: str, asset: str = "TWD", sub: str = "") -> Decimal:
    key = AccountKey(owner_id, code, asset, sub)
    return accounts.balances([key])[key]


@pytest.fixture
def demo(settings) -> dict[str, Browser]:
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    seed.seed(now=utc_now())
    get_user_model().objects.filter(username="alice").update(email="alice@example.com")
    return {name: Browser(name) for name in ("alice", "accountant", "approver")}


def test_money_comes_in_by_statement_and_leaves_by_two_people(demo, django_capture_on_commit_callbacks) -> None:
    alice, accountant, approver = demo["alice"], demo["accountant"], demo["approver"]
    bank = CustodyAccount.objects.get(asset_id="TWD", sub="main")
    code = deposit_addresses.assign(alice.user.pk, asset="TWD", network="BANK", now=utc_now()).memo
    before = balance(alice.user.pk, "1010")

    # a statement credits what is little at once, and what is much after a second person
    rows = f"2026-03-01,bk1,1000,1000,{code} salary\n2026-03-01,bk2,900000,901000,{code.lower()} house\n"
    file = SimpleUploadedFile("march.csv", (HEADER + rows).encode())
    preview = accountant.post(f"/admin/finance/custody/{bank.pk}/upload", file=file)["Location"]
    accountant.post(f"{preview}/import")
    back_office()
    assert balance(alice.user.pk, "1010") == before + 1000
    large = DepositNotice.objects.get(reference="bk2")
    approver.post(f"/admin/finance/deposits/{large.pk}/approve", version=large.version)
    with django_capture_on_commit_callbacks(execute=True):
        back_office()
    assert balance(alice.user.pk, "1010") == before + 901_000
    assert balance(None, "1110", sub="main") == 901_000

    # the customer asks for some of it; it waits until settlement has passed the log
    CommandStream.objects.filter(shard=0).update(sequence=5)
    SettlementCursor.objects.filter(shard=0).update(sequence=4)
    saved = WithdrawalAddress.objects.get(owner=alice.user, asset_id="TWD")
    alice.post(
        "/account/withdraw", request_key="k1", address=saved.pk, amount="50000", confirmation="let-me-trade-2330"
    )
    made = Withdrawal.objects.get()
    back_office()
    assert Withdrawal.objects.get().state == WithdrawalState.REQUESTED
    SettlementCursor.objects.filter(shard=0).update(sequence=5)
    back_office()

    # two people look, a bank pays, its statement settles
    queue = f"/admin/finance/withdrawals/{made.pk}"
    accountant.post(f"{queue}/pass", version=2)
    approver.post(f"{queue}/approve", version=3)
    rows = f"2026-03-02,bk3,-49985,851015,W-{made.pk}\n"
    file = SimpleUploadedFile("later.csv", (HEADER + rows).encode())
    preview = accountant.post(f"/admin/finance/custody/{bank.pk}/upload", file=file)["Location"]
    accountant.post(f"{preview}/import")
    back_office()

    ended = Withdrawal.objects.get()
    assert (ended.state, ended.payout_reference) == (WithdrawalState.SETTLED, "bk3")
    assert balance(alice.user.pk, "1010") == before + 851_000
    assert balance(alice.user.pk, "1030") == 0
    assert balance(None, "1110", sub="main") == 851_015
    assert balance(None, "4120") == -15
    assert [item for item in (*audit.invariants(), *transfers_audit.invariants()) if not item.ok] == []
    assert DepositNotice.objects.filter(state=DepositState.CREDITED, custody=bank).count() == 2


def test_a_mail_tells_the_customer_once_after_the_commit(demo, django_capture_on_commit_callbacks, monkeypatch) -> None:
    alice = demo["alice"]
    sent: list[int] = []
    monkeypatch.setattr(
        "ledger.transfers.notices.current_app.send_task", lambda _name, kwargs: sent.append(kwargs["notice_id"])
    )
    with django_capture_on_commit_callbacks(execute=True):
        alice.post(
            "/account/addresses",
            route="USDT:TRON",
            address="TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t",
            label="ledger",
            confirmation="let-me-trade-2330",
        )

    for _ in range(2):
        with acting(BACK_OFFICE):
            tasks.mail_notice(notice_id=sent[0])

    [letter] = mail.outbox
    assert (letter.subject, letter.to) == ("New withdrawal address", ["alice@example.com"])
    assert "If this was not you, remove it" in letter.body


@pytest.mark.parametrize("kind", ["WITHDRAWAL_SETTLE", "WITHDRAWAL_REJECT", "SUSPENSE_RECEIPT", "SUSPENSE_CREDIT"])
def test_the_webs_role_cannot_post_what_lets_money_go(demo, kind) -> None:
    alice = demo["alice"].user
    event = EventKind(kind)
    draft = posting_rules.draft(
        event,
        key="attack",
        effective_at=utc_now(),
        trace="t",
        roles={"user": alice.pk},
        assets={"asset": "TWD"},
        amounts=dict.fromkeys(("amount", "fee", "network_fee"), Decimal(1)),
        parts={"custody": "demo"},
    )

    accounts.lock([alice.pk])
    with acting(WEB), pytest.raises(DatabaseError, match="may not post"), transaction.atomic():
        journal.post([draft], utc_now())

    assert not JournalEntry.objects.filter(key="attack").exists()


@pytest.mark.parametrize(
    "attack",
    [
        "INSERT INTO ledger_line (entry_id, n, account_id, amount, balance_after) VALUES (1, 99, 1, 1, 1)",
        "UPDATE ledger_account SET balance = balance + 1",
        "DELETE FROM ledger_withdrawal",
        "TRUNCATE ledger_withdrawal CASCADE",
        "DELETE FROM ledger_transferevent",
        "UPDATE ledger_transferevent SET by_id = NULL",
        "UPDATE ledger_statementline SET amount = amount + 1",
        "UPDATE ledger_depositnotice SET amount = amount + 1, version = version + 1",
        "ALTER TABLE ledger_withdrawal DISABLE TRIGGER ALL",
        "DROP TRIGGER ledger_withdrawal_guard ON ledger_withdrawal",
        "SET session_replication_role = replica",
        "INSERT INTO ledger_posting_right (role, kind) VALUES ('exchange_web', 'WITHDRAWAL_SETTLE')",
    ],
)
@pytest.mark.parametrize("role", [WEB, BACK_OFFICE])
def test_no_process_gets_around_the_guards(demo, attack, role) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL ROLE {role}")
        with pytest.raises(DatabaseError), transaction.atomic():
            cursor.execute(attack)
        cursor.execute("RESET ROLE")

    assert [item for item in (*audit.invariants(), *transfers_audit.invariants()) if not item.ok] == []
