"""Entries that people make: who may decide them, what is posted of them, what the books refuse."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import DatabaseError, connection, transaction

from exchange.kernel.clock import utc_now
from ledger.access import NotAllowedError, Role
from ledger.control_models import Proposal, ProposalKind, ProposalState
from ledger.models import FinanceLog, JournalEntry
from ledger.posting_rules import EventKind
from ledger.services import debts, grants, journal, manual_entries, proposals, reversal
from ledger.services.manual_entries import ProposedLine
from ledger.services.proposals import NotMakerError, ProposalStateError, ProposalUnknownError, SamePersonError
from ledger.tasks import WORK
from ledger.tests.factories import NOW, event, freeze, staff

pytestmark = pytest.mark.usefixtures("books")


def goodwill(owner_id: int, amount: str = "5") -> list[ProposedLine]:
    """Return the lines of a gift to a user."""
    return [
        ProposedLine(owner_id, "1010", "USDT", Decimal(amount)),
        ProposedLine(owner_id, "4050", "USDT", -Decimal(amount)),
        ProposedLine(None, "5140", "USDT", Decimal(amount)),
    ]


def propose(owner_id: int, amount: str = "5") -> Proposal:
    return manual_entries.propose(staff(Role.ACCOUNTANT), goodwill(owner_id, amount), "goodwill", now=utc_now())


def approve(proposal: Proposal) -> Proposal:
    """Approve a proposal and let the back office post it."""
    proposals.approve(staff(Role.APPROVER), proposal.pk, remark="seen", now=utc_now())
    assert proposals.carry_out(utc_now()) == 1
    proposal.refresh_from_db()
    return proposal


def test_what_one_person_proposed_and_another_approved_is_posted(customer) -> None:
    alice = customer("alice", USDT=100)

    proposal = approve(propose(alice.id))

    entry = JournalEntry.objects.latest("id")
    assert (entry.kind, entry.key, entry.late) == ("MANUAL", f"proposal:{proposal.pk}", False)
    assert (proposal.state, proposal.entry_id) == (ProposalState.POSTED, entry.pk)
    assert (proposal.maker, proposal.checker) == (staff(Role.ACCOUNTANT), staff(Role.APPROVER))
    assert alice.balance("USDT") == 105


def test_nothing_is_posted_before_it_is_approved_or_when_it_is_rejected(customer) -> None:
    alice = customer("alice", USDT=100)
    proposal = propose(alice.id)

    assert proposals.carry_out(utc_now()) == 0
    proposals.reject(staff(Role.APPROVER), proposal.pk, remark="no", now=utc_now())

    assert proposals.carry_out(utc_now()) == 0
    proposal.refresh_from_db()
    assert (proposal.state, proposal.remark) == (ProposalState.REJECTED, "no")
    assert alice.balance("USDT") == 100


def test_the_maker_cannot_approve_even_as_a_superuser(customer, django_user_model) -> None:
    alice = customer("alice", USDT=100)
    root = django_user_model.objects.create_superuser("root", password="x")
    proposal = manual_entries.propose(root, goodwill(alice.id), "goodwill", now=utc_now())

    with pytest.raises(SamePersonError):
        proposals.approve(root, proposal.pk, now=utc_now())

    proposal.refresh_from_db()
    assert proposal.state == ProposalState.PROPOSED


@pytest.mark.parametrize("role", [Role.ACCOUNTANT, Role.AUDITOR, Role.SUPPORT])
def test_only_an_approver_decides(customer, role) -> None:
    proposal = propose(customer("alice", USDT=1).id)
    other = staff(role, "somebody else")

    with pytest.raises(NotAllowedError):
        proposals.approve(other, proposal.pk, now=utc_now())
    with pytest.raises(NotAllowedError):
        proposals.reject(other, proposal.pk, now=utc_now())

    proposal.refresh_from_db()
    assert proposal.state == ProposalState.PROPOSED


def test_a_proposal_is_decided_once(customer) -> None:
    proposal = propose(customer("alice", USDT=1).id)
    proposals.reject(staff(Role.APPROVER), proposal.pk, now=utc_now())

    with pytest.raises(ProposalStateError):
        proposals.approve(staff(Role.APPROVER), proposal.pk, now=utc_now())
    with pytest.raises(ProposalUnknownError):
        proposals.approve(staff(Role.APPROVER), proposal.pk + 1, now=utc_now())


def test_the_maker_alone_withdraws_and_only_before_the_decision(customer) -> None:
    proposal = propose(customer("alice", USDT=1).id)

    with pytest.raises(NotMakerError):
        proposals.withdraw(staff(Role.ACCOUNTANT, "another"), proposal.pk, now=utc_now())
    assert proposals.withdraw(staff(Role.ACCOUNTANT), proposal.pk, now=utc_now()).state == ProposalState.WITHDRAWN
    with pytest.raises(ProposalStateError):
        proposals.withdraw(staff(Role.ACCOUNTANT), proposal.pk, now=utc_now())


def test_what_the_books_refuse_stays_refused_with_the_reason_and_holds_up_nobody(customer) -> None:
    alice = customer("alice", USDT=100)
    taken = manual_entries.propose(
        staff(Role.ACCOUNTANT), [line._replace(amount=-line.amount) for line in goodwill(alice.id, "60")], "x" * 3,
        now=utc_now(),
    )  # fmt: skip
    given = propose(alice.id)
    for proposal in (taken, given):
        proposals.approve(staff(Role.APPROVER), proposal.pk, now=utc_now())
    journal.post([freeze("f", alice.id, 70)], NOW)

    assert proposals.carry_out(utc_now()) == 2

    taken.refresh_from_db()
    given.refresh_from_db()
    assert (taken.state, given.state) == (ProposalState.REFUSED, ProposalState.POSTED)
    assert "1010" in taken.refusal
    assert alice.balance("USDT") == 35


def test_a_credit_that_people_make_repays_debt_in_the_same_transaction(customer) -> None:
    alice = customer("alice", USDT=10)
    journal.post([freeze("f", alice.id, 10), event(EventKind.DEBT_CHARGE, "c", alice.id, 3)], NOW)

    approve(propose(alice.id))

    assert debts.owed([alice.id]).of(alice.id, "USDT") == 0
    assert alice.balance("USDT") == 2


def test_every_step_is_in_the_finance_log(customer) -> None:
    proposal = approve(propose(customer("alice", USDT=1).id))

    rows = FinanceLog.objects.order_by("id").values_list("action", "user__username", "subject")
    assert list(rows) == [
        ("proposal.make", "the-accountant", str(proposal.pk)),
        ("proposal.approve", "the-approver", str(proposal.pk)),
        ("proposal.post", None, str(proposal.pk)),
    ]


def test_the_back_office_posts_what_was_approved(customer) -> None:
    assert WORK["proposals"] is proposals.carry_out
    alice = customer("alice", USDT=1)
    proposal = propose(alice.id)
    proposals.approve(staff(Role.APPROVER), proposal.pk, now=utc_now())

    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL ROLE {grants.BACK_OFFICE_ROLE}")
        proposals.carry_out(utc_now())
        cursor.execute("RESET ROLE")

    assert alice.balance("USDT") == 6


def test_the_web_cannot_post_what_was_approved(customer) -> None:
    alice = customer("alice", USDT=1)
    proposals.approve(staff(Role.APPROVER), propose(alice.id).pk, now=utc_now())

    with pytest.raises(DatabaseError, match="exchange_web may not post MANUAL"), transaction.atomic():
        _carry_out_as("exchange_web")

    assert alice.balance("USDT") == 1


def _carry_out_as(role: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL ROLE {role}")
    proposals.carry_out(utc_now())


def test_a_correction_is_effective_as_proposed_and_flagged_late(customer) -> None:
    alice = customer("alice", USDT=1)
    effective_at = utc_now() - timedelta(days=40)
    proposal = manual_entries.propose(
        staff(Role.ACCOUNTANT), goodwill(alice.id), "last month", effective_at=effective_at, now=utc_now()
    )

    approve(proposal)

    entry = JournalEntry.objects.latest("id")
    assert (entry.kind, entry.effective_at, entry.late) == (ProposalKind.CORRECTION, effective_at, True)


def test_a_reversal_negates_its_entry_today(customer) -> None:
    alice = customer("alice", USDT=100)
    wrong = JournalEntry.objects.get()

    proposal = approve(reversal.propose(staff(Role.ACCOUNTANT), wrong.pk, "credited twice", now=utc_now()))

    entry = JournalEntry.objects.latest("id")
    assert (entry.kind, entry.reverses_id, entry.late) == ("REVERSAL", wrong.pk, False)
    assert proposal.reason == "credited twice"
    assert alice.balance("USDT") == 0
    amounts = {
        n: list(JournalEntry.objects.get(pk=n).lines.order_by("n").values_list("account_id", "amount"))
        for n in (wrong.pk, entry.pk)
    }
    assert amounts[entry.pk] == [(account, -amount) for account, amount in amounts[wrong.pk]]


def test_a_reversal_that_a_wallet_does_not_cover_is_refused(customer) -> None:
    alice = customer("alice", USDT=100)
    wrong = JournalEntry.objects.get()
    journal.post([freeze("f", alice.id, 1)], NOW)

    proposal = approve(reversal.propose(staff(Role.ACCOUNTANT), wrong.pk, "credited twice", now=utc_now()))

    assert proposal.state == ProposalState.REFUSED
    assert alice.balances("USDT") == {"available": 99, "order_hold": 1}
