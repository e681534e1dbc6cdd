"""Checks of deposits, withdrawals and custody; and the stop of withdrawals by a break, with its way back."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils.translation import override

from ledger import posting_rules
from ledger.posting_rules import EventKind
from ledger.reconciliation.models import Break, BreakEvent
from ledger.services import journal
from ledger.tests.factories import NOW, event
from ledger.tests.reconciling import damage, full, look
from ledger.transfers import custody, stops
from ledger.transfers.errors import WithdrawalsStoppedError
from ledger.transfers.models import CustodyStatement, Network, StatementUpload

pytestmark = pytest.mark.django_db
Compare = Callable[..., set[tuple[str, str]]]


@pytest.mark.parametrize("compare", [look, full], ids=["look", "full"])
def test_a_withdrawal_hold_without_a_withdrawal_is_found_and_passes_when_it_is_released(customer, compare) -> None:
    alice = customer("alice", USDT=100)
    journal.post([event(EventKind.WITHDRAWAL_HOLD, "hold", alice.id, 30)], NOW)

    assert compare("withdrawals.holds") == {("withdrawals.holds", f"user {alice.id}, USDT")}

    [row] = Break.objects.all()
    assert (row.amount, row.asset) == (Decimal(30), "USDT")
    journal.post([event(EventKind.WITHDRAWAL_REJECT, "release", alice.id, 30)], NOW)
    assert compare("withdrawals.holds") == set()
    assert set(BreakEvent.objects.values_list("kind", flat=True)) == {"FOUND", "PASSED"}


@pytest.fixture
def bank(customer, django_user_model):
    """A custody account that the books see 100 USDT in since NOW, and a maker of statements of it."""
    user = django_user_model.objects.create_user("eve", is_staff=True)
    customer("alice")
    account = custody.open_account("USDT", "bank", kind="BANK", network=Network.BANK, name="The bank", now=NOW)
    alice = customer("bob", USDT=1)
    journal.post([_deposit(alice.id, "first", 100, NOW)], NOW)

    def state(balance: object, *, minutes: int) -> None:
        number = StatementUpload.objects.count()
        upload = StatementUpload.objects.create(
            custody=account, file_name="x", digest=str(number), content=b"", uploaded_by=user, uploaded_at=NOW
        )
        CustodyStatement.objects.create(
            custody=account,
            upload=upload,
            as_of=NOW + timedelta(minutes=minutes),
            balance=Decimal(str(balance)),
            imported_by=user,
            imported_at=NOW,
        )

    state.owner = alice.id  # type: ignore[attr-defined]
    return state


def _deposit(owner_id: int, key: str, amount: object, at):
    return posting_rules.draft(
        EventKind.DEPOSIT,
        key=key,
        effective_at=at,
        trace="trace-1",
        roles={"user": owner_id},
        assets={"asset": "USDT"},
        amounts={"amount": Decimal(str(amount))},
        parts={"custody": "bank"},
    )


def test_a_statement_that_agrees_is_no_break(bank) -> None:
    bank(100, minutes=600_000)

    assert look("custody.statements") == set()


def test_a_statement_that_says_something_else_is_a_break_until_the_books_agree_with_it(bank) -> None:
    bank(130, minutes=600_000)

    assert look("custody.statements") == {("custody.statements", "bank, USDT")}

    [row] = Break.objects.all()
    assert (row.amount, row.asset) == (Decimal(-30), "USDT")
    with override("en"):
        assert "the books have 100 USDT in The bank; its statement says 130." in row.told
    journal.post([_deposit(bank.owner, "late", 30, NOW)], NOW)
    assert look("custody.statements") == set()


def test_books_are_compared_as_of_the_statements_moment(bank) -> None:
    journal.post([_deposit(bank.owner, "of the next day", 50, NOW + timedelta(days=2))], NOW)
    bank(100, minutes=0)

    # what was recorded by the statement's moment, and what had happened by then, count; what happened later does not
    assert look("custody.statements") == set()


def test_only_the_newest_statement_counts(bank) -> None:
    bank(1, minutes=600_000)
    bank(100, minutes=600_001)

    assert look("custody.statements") == set()
    assert full("custody.statements") == set()


def test_a_break_stops_withdrawals_and_people_let_them_go_on(customer, django_user_model) -> None:
    person = django_user_model.objects.create_user("ann", is_staff=True)
    customer("alice", USDT=100)
    damage("UPDATE ledger_account SET balance = balance + 1 WHERE code = '1110'")

    look("platform.owed")

    with pytest.raises(WithdrawalsStoppedError):
        stops.check("USDT")
    [stop] = stops.active()
    assert (stop.asset_id, stop.stopped_by, stop.reason) == (None, None, "platform.owed: USDT")
    damage("UPDATE ledger_account SET balance = balance - 1 WHERE code = '1110'")
    assert look("platform.owed") == set()
    with pytest.raises(WithdrawalsStoppedError):
        stops.check("USDT")
    stops.lift(stop.pk, reason="the break is resolved", by=person.pk, now=NOW)
    stops.check("USDT")


@pytest.mark.parametrize("compare", [look, full], ids=["look", "full"])
def test_suspense_without_a_deposit_that_waits_in_it_is_found_and_passes_when_it_is_paid_back(
    customer, compare
) -> None:
    customer("alice", USDT=1)
    journal.post([_in_suspense(EventKind.SUSPENSE_RECEIPT, "unknown", 30)], NOW)

    assert compare("suspense.deposits", "suspense.empty") == {("suspense.deposits", "USDT")}

    [row] = Break.objects.all()
    assert (row.amount, row.asset) == (Decimal(30), "USDT")
    with override("en"):
        assert row.told == "Suspense holds 30 USDT of deposits; 0 wait, and 0 were refused."
    journal.post([_in_suspense(EventKind.SUSPENSE_PAYMENT, "back", 30)], NOW)
    assert compare("suspense.deposits") == set()


def _in_suspense(kind: EventKind, key: str, amount: int):
    return posting_rules.draft(
        kind,
        key=key,
        effective_at=NOW,
        trace="trace-1",
        roles={},
        assets={"asset": "USDT"},
        amounts={"amount": Decimal(amount)},
        parts={"custody": "main", "suspense": "deposits"},
    )
