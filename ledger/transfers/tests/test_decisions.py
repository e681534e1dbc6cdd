"""The road of a withdrawal through people: review, a second person, payout, rejection."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import IntegrityError, connection, transaction

from exchange.kernel.money import InexactAmountError
from ledger.entries import AccountKey
from ledger.models import FinanceLog, JournalEntry, Notice, TransferEvent, Withdrawal
from ledger.services import accounts, journal
from ledger.tests.factories import NOW
from ledger.tests.fixtures import make_asset
from ledger.transfers import checks, custody, decisions, errors, payouts, steps, stops
from ledger.transfers.models import Network, WithdrawalState
from ledger.transfers.tests.conftest import debt

pytestmark = pytest.mark.usefixtures("books", "transfers_audited")


@pytest.fixture
def alice(customer, desk):
    return customer("alice", USDT=1000)


def platform(code: str, asset: str = "USDT", sub: str = ""):
    key = AccountKey(None, code, asset, sub)
    return accounts.balances([key])[key]


def test_a_withdrawal_goes_from_request_to_settlement_by_two_people(desk, alice) -> None:
    made = desk.paid(alice, 100, reference="tx-9", network_fee=Decimal("0.5"))

    assert (made.state, made.reviewed_by, made.approved_by) == ("SETTLED", desk.accountant, desk.approver)
    assert (alice.balance("USDT"), alice.balance("USDT", "withdraw_hold")) == (900, 0)
    assert platform("1110", sub="main") == 1000 - 99 - Decimal("0.5")
    assert (platform("4120"), platform("5120")) == (-1, Decimal("0.5"))
    entry = JournalEntry.objects.get(pk=made.final_entry_id)
    assert (entry.kind, entry.key) == ("WITHDRAWAL_SETTLE", f"withdrawal:{made.pk}:settle")
    taken = TransferEvent.objects.filter(withdrawal=made).order_by("version")
    assert [(step.version, step.to_state, step.by_id) for step in taken] == [
        (1, "REQUESTED", alice.id),
        (2, "REVIEW", None),
        (3, "APPROVAL", desk.accountant.pk),
        (4, "APPROVED", desk.approver.pk),
        (5, "SETTLING", desk.accountant.pk),
        (6, "SETTLED", None),
    ]
    logged = FinanceLog.objects.filter(subject=str(made.pk), action__startswith="withdrawal.").order_by("pk")
    assert [row.action for row in logged] == [f"withdrawal.{step.to_state.lower()}" for step in taken]
    told = Notice.objects.filter(owner_id=alice.id).order_by("pk")
    assert [notice.kind.removeprefix("WITHDRAWAL_") for notice in told] == [
        "REQUESTED",
        "REVIEW",
        "APPROVED",
        "SETTLED",
    ]
    assert {entry.trace for entry in JournalEntry.objects.filter(key__startswith="withdrawal:")} == {made.trace}


def test_gas_from_another_account_is_an_entry_of_its_own(desk, alice, customer) -> None:
    customer("miner", TRX=10)
    gas = custody.open_account("TRX", "main", kind="WALLET", network=Network.TRON, name="Gas", now=NOW)

    made = desk.paid(alice, 100, network_fee=Decimal("2.5"), gas_custody_id=gas.pk)

    assert platform("1110", sub="main") == 1000 - 99
    assert platform("1110", "TRX", "main") == Decimal("7.5")
    assert JournalEntry.objects.get(key=f"withdrawal:{made.pk}:gas").kind == "CUSTODY_CHARGE"


def test_the_reviewer_cannot_approve(desk, alice, counted) -> None:
    made = desk.to_approval(alice, 100)
    before = counted()

    with pytest.raises(errors.SamePersonError):
        decisions.approve(made.pk, version=made.version, by=desk.accountant.pk, now=NOW)

    assert counted() == before


def test_nobody_decides_on_a_withdrawal_of_their_own(desk, customer, counted) -> None:
    ann = customer("annie", USDT=100)
    made = desk.to_review(ann, 50)
    before = counted()

    for decide in (
        lambda: decisions.pass_review(made.pk, version=made.version, by=ann.id, now=NOW),
        lambda: decisions.reject(made.pk, version=made.version, by=ann.id, reason="mine", now=NOW),
    ):
        with pytest.raises(errors.OwnTransferError):
            decide()

    assert counted() == before


def test_a_decision_on_what_has_changed_since_is_refused(desk, alice, counted) -> None:
    made = desk.to_approval(alice, 100)
    before = counted()

    for decide in (
        lambda: decisions.pass_review(made.pk, version=made.version, by=desk.approver.pk, now=NOW),
        lambda: decisions.approve(made.pk, version=made.version - 1, by=desk.approver.pk, now=NOW),
        lambda: decisions.record_payout(made.pk, desk.payout(), version=made.version, by=desk.accountant.pk, now=NOW),
    ):
        with pytest.raises(errors.WithdrawalMovedOnError):
            decide()

    assert counted() == before


def test_an_unknown_withdrawal_is_refused(desk) -> None:
    with pytest.raises(errors.WithdrawalNotFoundError):
        decisions.approve(7, version=1, by=desk.approver.pk, now=NOW)


@pytest.mark.parametrize("state", ["REVIEW", "APPROVAL", "APPROVED"])
def test_a_rejection_gives_the_funds_back_and_says_why(desk, alice, state) -> None:
    made = {"REVIEW": desk.to_review, "APPROVAL": desk.to_approval, "APPROVED": desk.to_approved}[state](alice, 100)

    decisions.reject(made.pk, version=made.version, by=desk.accountant.pk, reason="the name differs", now=NOW)
    assert payouts.release(NOW) == 1

    ended = decisions.find(made.pk)
    assert (ended.state, ended.reason) == (WithdrawalState.REJECTED, "the name differs")
    assert (alice.balance("USDT"), alice.balance("USDT", "withdraw_hold")) == (1000, 0)
    assert Notice.objects.get(kind="WITHDRAWAL_REJECTED").data["reason"] == "the name differs"


def test_a_rejection_without_a_reason_is_refused(desk, alice) -> None:
    made = desk.to_review(alice, 100)

    with pytest.raises(errors.ReasonRequiredError):
        decisions.reject(made.pk, version=made.version, by=desk.accountant.pk, reason="  ", now=NOW)


def test_a_stop_lets_nothing_forward_but_lets_it_back(desk, alice) -> None:
    in_review = desk.to_review(alice, 100)
    stops.stop(None, reason="a break", by=None, now=NOW)

    with pytest.raises(errors.WithdrawalsStoppedError):
        decisions.pass_review(in_review.pk, version=in_review.version, by=desk.accountant.pk, now=NOW)
    decisions.reject(in_review.pk, version=in_review.version, by=desk.accountant.pk, reason="a break", now=NOW)

    assert payouts.release(NOW) == 1


def test_a_debt_meanwhile_lets_nothing_forward(desk, customer) -> None:
    alice = customer("alice", USDT=100)
    made = desk.to_approval(alice, 100)
    accounts.lock([alice.id])
    journal.post([debt(alice.id, 10)], NOW)

    with pytest.raises(errors.DebtBlocksWithdrawalError):
        decisions.approve(made.pk, version=made.version, by=desk.approver.pk, now=NOW)


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"reference": ""}, errors.PayoutError),
        ({"reference": "x" * 101}, errors.PayoutError),
        ({"network_fee": Decimal(-1)}, errors.PayoutError),
        ({"network_fee": Decimal("NaN")}, errors.PayoutError),
        ({"network_fee": Decimal("0.000000001")}, InexactAmountError),
        ({"custody_id": 10**9}, errors.CustodyUnknownError),
        ({"gas_custody_id": 10**9}, errors.CustodyUnknownError),
        ({"paid_at": NOW + timedelta(seconds=1)}, errors.PayoutError),
        ({"paid_at": NOW - timedelta(days=1)}, errors.PayoutError),
    ],
)
def test_a_payout_that_does_not_fit_is_refused(desk, alice, counted, changes, refusal) -> None:
    made = desk.to_approved(alice, 100)
    before = counted()

    with pytest.raises(refusal):
        decisions.record_payout(made.pk, desk.payout(**changes), version=made.version, by=desk.accountant.pk, now=NOW)

    assert counted() == before
    assert decisions.find(made.pk).state == WithdrawalState.APPROVED


def test_a_payout_from_an_account_of_another_asset_is_refused(desk, alice) -> None:
    make_asset("BTC")
    other = custody.open_account("BTC", "main", kind="CHAIN", network=Network.BITCOIN, name="Cold", now=NOW)
    made = desk.to_approved(alice, 100)

    with pytest.raises(errors.PayoutError):
        decisions.record_payout(
            made.pk, desk.payout(custody_id=other.pk), version=made.version, by=desk.accountant.pk, now=NOW
        )


def test_one_payout_pays_one_withdrawal(desk, alice, customer) -> None:
    desk.paid(alice, 100, reference="tx-1")
    second = desk.to_approved(customer("bob", USDT=100), 50)

    with pytest.raises(errors.PayoutError):
        decisions.record_payout(
            second.pk, desk.payout(reference="tx-1"), version=second.version, by=desk.accountant.pk, now=NOW
        )


def test_a_payout_that_the_custody_account_does_not_cover_goes_back_to_be_paid_from_another(desk, alice) -> None:
    cold = custody.open_account("USDT", "cold", kind="CHAIN", network=Network.TRON, name="Cold wallet", now=NOW)
    made = desk.paid(alice, 100, custody_id=cold.pk)

    assert (made.state, made.problem, made.payout_reference) == ("APPROVED", payouts.PROBLEM_CUSTODY, "")
    assert alice.balance("USDT", "withdraw_hold") == 100

    decisions.record_payout(made.pk, desk.payout(), version=made.version, by=desk.accountant.pk, now=NOW)
    payouts.settle(NOW)
    assert decisions.find(made.pk).state == WithdrawalState.SETTLED


def test_a_faulty_withdrawal_holds_up_no_other(desk, alice, customer, monkeypatch) -> None:
    first = desk.request(alice, 100)
    second = desk.request(customer("bob", USDT=100), 50)
    run = checks.run

    def judge(withdrawal, *, now):
        if withdrawal.pk == first.pk:
            raise errors.CustodyUnknownError
        return run(withdrawal, now=now)

    monkeypatch.setattr(checks, "run", judge)

    assert payouts.advance(NOW) == 1
    assert decisions.find(second.pk).state == WithdrawalState.REVIEW


def test_a_run_that_dies_between_entry_and_step_is_simply_repeated(desk, alice, monkeypatch) -> None:
    made = desk.to_approved(alice, 100)
    decisions.record_payout(made.pk, desk.payout(), version=made.version, by=desk.accountant.pk, now=NOW)
    take = steps.take

    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(steps, "take", die)
    with pytest.raises(KeyboardInterrupt):
        payouts.settle(NOW)
    monkeypatch.setattr(steps, "take", take)

    assert decisions.find(made.pk).state == WithdrawalState.SETTLING
    assert not JournalEntry.objects.filter(kind="WITHDRAWAL_SETTLE").exists()
    assert payouts.settle(NOW) == 1
    assert payouts.settle(NOW) == 0
    assert JournalEntry.objects.filter(kind="WITHDRAWAL_SETTLE").count() == 1


ATTACKS = {
    "skip the review": "state = 'APPROVED'",
    "approve as the reviewer": "state = 'APPROVED', approved_by_id = reviewed_by_id, approved_at = now()",
    "approve as the owner": "state = 'APPROVED', approved_by_id = owner_id, approved_at = now()",
    "change the amount": "amount = amount + 1",
    "change the destination": "address = 'TLa2f6VPqDgRE67v1736s7bJ8Ray5wYjU7'",
    "change the owner": "owner_id = reviewed_by_id",
    "rewrite the reviewer": "reviewed_by_id = NULL",
    "say it is settled": "state = 'SETTLED'",
    "say it is cancelled": "state = 'CANCELLED'",
    "keep the version": "version = version - 1, review_note = 'x'",
}


@pytest.mark.parametrize("role", ["exchange_web", "exchange_back_office", None])
@pytest.mark.parametrize("attack", ATTACKS)
def test_the_table_refuses_what_the_services_would_not_do(desk, alice, attack, role) -> None:
    made = desk.to_approval(alice, 100)

    with transaction.atomic(), connection.cursor() as cursor:
        if role:
            cursor.execute(f"SET LOCAL ROLE {role}")
        with pytest.raises(IntegrityError), transaction.atomic():
            cursor.execute(
                f"UPDATE ledger_withdrawal SET version = version + 1, {ATTACKS[attack]} WHERE id = %s"
                if "version" not in ATTACKS[attack]
                else f"UPDATE ledger_withdrawal SET {ATTACKS[attack]} WHERE id = %s",
                [made.pk],
            )
        cursor.execute("RESET ROLE")

    assert Withdrawal.objects.get(pk=made.pk).state == WithdrawalState.APPROVAL


def test_what_has_ended_stays(desk, alice) -> None:
    made = desk.paid(alice, 100)

    for change in ("state = 'APPROVED'", "reason = 'x'", "payout_reference = 'other'", "network_fee = 5"):
        with pytest.raises(IntegrityError), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"UPDATE ledger_withdrawal SET version = version + 1, {change} WHERE id = %s", [made.pk])
    with pytest.raises(IntegrityError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("DELETE FROM ledger_withdrawal WHERE id = %s", [made.pk])
