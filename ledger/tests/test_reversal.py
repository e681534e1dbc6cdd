"""Which entries may be proposed for reversal."""

from dataclasses import replace

import pytest
from django.db import transaction

from exchange.kernel.clock import utc_now
from ledger.access import NotAllowedError, Role
from ledger.control_models import Proposal
from ledger.entries import EntryDraft
from ledger.models import JournalEntry
from ledger.posting_rules import RULES, EventKind
from ledger.services import journal, proposals, reversal
from ledger.services.journal import AlreadyReversedError, EntryUnknownError
from ledger.services.periods import ReasonMissingError
from ledger.services.reversal import MIRRORED, NotReversibleError
from ledger.tests.factories import NOW, event, freeze, staff

pytestmark = pytest.mark.usefixtures("books")


def propose(entry_id: int, reason: str = "a mistake") -> Proposal:
    return reversal.propose(staff(Role.ACCOUNTANT), entry_id, reason, now=utc_now())


def reverse(entry_id: int) -> JournalEntry:
    proposal = propose(entry_id)
    proposals.approve(staff(Role.APPROVER), proposal.pk, now=utc_now())
    proposals.carry_out(utc_now())
    return JournalEntry.objects.get(reverses_id=entry_id)


def test_an_entry_is_reversed_once(customer) -> None:
    customer("alice", USDT=100)
    reverse(1)

    with pytest.raises(AlreadyReversedError):
        propose(1)

    assert JournalEntry.objects.count() == 2


def test_while_a_reversal_waits_no_other_is_proposed_but_after_a_rejection_one_is(customer) -> None:
    customer("alice", USDT=100)
    first = propose(1)

    with pytest.raises(AlreadyReversedError):
        propose(1)
    proposals.reject(staff(Role.APPROVER), first.pk, now=utc_now())

    assert propose(1).reverses_id == 1


def test_a_reversal_is_not_reversed(customer) -> None:
    customer("alice", USDT=100)
    undone = reverse(1)

    with pytest.raises(NotReversibleError):
        propose(undone.pk)


@pytest.mark.parametrize(
    ("kind", "held"), [(EventKind.ORDER_FREEZE, 95), (EventKind.FUNDING_RECEIVED, 100), (EventKind.DEBT_CHARGE, 100)]
)
def test_what_other_tables_mirror_is_not_reversed(customer, kind, held) -> None:
    alice = customer("alice", USDT=100)
    [_, entry] = journal.post([freeze("f", alice.id, held), event(kind, "e", alice.id, 5)], NOW)

    with pytest.raises(NotReversibleError, match=kind):
        propose(entry.id)

    assert set(RULES) > MIRRORED


def test_a_reversal_needs_an_entry_a_reason_and_the_right(customer) -> None:
    customer("alice", USDT=100)

    with pytest.raises(EntryUnknownError):
        propose(2)
    with pytest.raises(ReasonMissingError):
        propose(1, " ")
    with pytest.raises(NotAllowedError):
        reversal.propose(staff(Role.APPROVER), 1, "a mistake", now=utc_now())

    assert not Proposal.objects.exists()


def test_the_door_translates_a_second_reversal(customer) -> None:
    alice = customer("alice", USDT=100)
    wrong = event(EventKind.DEPOSIT, "wrong", alice.id, 30)
    [entry] = journal.post([wrong], NOW)
    reverse(entry.id)
    again: EntryDraft = replace(wrong, kind=EventKind.REVERSAL, key="again", reverses=entry.id)

    with pytest.raises(AlreadyReversedError), transaction.atomic():
        journal.post([again], NOW)
