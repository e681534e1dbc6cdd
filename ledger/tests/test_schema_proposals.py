"""Attacks on entries that people make: no role and not the tables' owner gets one in without two people."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import psycopg
import pytest
from django.db import DatabaseError, connection, transaction

from exchange.kernel.clock import utc_now
from exchange.kernel.errors import InvariantViolationError
from ledger.access import Role
from ledger.control_models import Proposal, ProposalKind, ProposalLine
from ledger.entries import AccountKey, EntryDraft
from ledger.models import JournalEntry, Line
from ledger.services import accounts, grants, journal
from ledger.tests.factories import staff

pytestmark = pytest.mark.usefixtures("books")
ADD_LINE = """
INSERT INTO ledger_proposalline (proposal_id, n, code, asset, sub, amount)
SELECT id, 3, '5140', 'USDT', '', 5 FROM ledger_proposal
"""
WITHOUT_REASON = """
INSERT INTO ledger_proposal (kind, reason, maker_id, made_at, state, remark, refusal)
SELECT 'MANUAL', '   ', maker_id, now(), 'PROPOSED', '', '' FROM ledger_proposal
"""
BORN_APPROVED = """
INSERT INTO ledger_proposal (kind, reason, maker_id, made_at, state, checker_id, checked_at, remark, refusal)
SELECT 'MANUAL', 'why', maker_id, now(), 'APPROVED', maker_id + 1, now(), '', '' FROM ledger_proposal
"""
WHO = [None, *grants.ROLES]


def _refused(statement: str, role: str | None = None) -> str:
    """Run a statement that must be refused; return the constraint."""
    with pytest.raises(DatabaseError) as caught:
        _run(statement, role)
    assert isinstance(caught.value.__cause__, psycopg.Error)
    return caught.value.__cause__.diag.constraint_name or ""


def _run(statement: str, role: str | None) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL ROLE {role or 'none'}")
        cursor.execute(statement)


def _propose(kind: ProposalKind, *, days_ago: int | None = None, reverses: int | None = None) -> Proposal:
    """Store a proposal without asking the services; for a manual one, of 20 from suspense to expense."""
    proposal = Proposal.objects.create(
        kind=kind,
        reason="attack",
        effective_at=None if days_ago is None else utc_now() - timedelta(days=days_ago),
        reverses_id=reverses,
        maker_id=staff(Role.ACCOUNTANT).pk,
        made_at=utc_now(),
    )
    if reverses is None:
        for n, (key, amount) in enumerate(_lines(), start=1):
            ProposalLine.objects.create(proposal=proposal, n=n, code=key.code, asset_id=key.asset, amount=amount)
    return proposal


def _approve(proposal: Proposal) -> None:
    proposal.state, proposal.checker, proposal.checked_at = "APPROVED", staff(Role.APPROVER), utc_now()
    proposal.save()


def _lines(amount: int = 20) -> list[tuple[AccountKey, Decimal]]:
    return [
        (AccountKey(None, "5140", "USDT"), Decimal(amount)),
        (AccountKey(None, "1190", "USDT"), Decimal(-amount)),
    ]


def _negated(entry_id: int) -> list[tuple[AccountKey, Decimal]]:
    lines = Line.objects.filter(entry_id=entry_id).select_related("account").order_by("n")
    return [
        (AccountKey(line.account.owner_id, line.account.code, line.account.asset_id, line.account.sub), -line.amount)
        for line in lines
    ]


def _draft(proposal: Proposal, lines: list[tuple[AccountKey, Decimal]]) -> EntryDraft:
    effective_at = proposal.effective_at or utc_now()
    key = f"proposal:{proposal.pk}"
    return EntryDraft(proposal.kind, key, effective_at, "t", lines, reverses=proposal.reverses_id)


def _refused_by_the_door(draft: EntryDraft, constraint: str) -> None:
    before = JournalEntry.objects.count()
    with pytest.raises(InvariantViolationError, match=constraint), transaction.atomic():
        journal.post([draft], utc_now())
    assert JournalEntry.objects.count() == before


@pytest.mark.parametrize("role", WHO)
@pytest.mark.parametrize(
    ("attack", "constraint"),
    [
        ("UPDATE ledger_proposal SET reason = 'other'", "ledger_proposal_kept"),
        ("UPDATE ledger_proposal SET maker_id = maker_id + 1", "ledger_proposal_kept"),
        ("UPDATE ledger_proposal SET kind = 'CORRECTION', effective_at = now()", "ledger_proposal_kept"),
        ("UPDATE ledger_proposal SET reverses_id = 1, kind = 'REVERSAL'", "ledger_proposal_kept"),
        ("UPDATE ledger_proposal SET transaction_id = pg_current_xact_id()", "ledger_proposal_kept"),
        ("UPDATE ledger_proposal SET state = 'POSTED', entry_id = 1", "ledger_proposal_state"),
        ("UPDATE ledger_proposal SET state = 'REFUSED'", "ledger_proposal_state"),
        ("UPDATE ledger_proposal SET state = 'APPROVED'", "ledger_proposal_checked"),
        (
            "UPDATE ledger_proposal SET state = 'APPROVED', checker_id = maker_id, checked_at = now()",
            "ledger_proposal_two_people",
        ),
        ("DELETE FROM ledger_proposal", "ledger_append_only"),
        ("DELETE FROM ledger_proposalline", "ledger_append_only"),
        ("UPDATE ledger_proposalline SET amount = amount * 2", "ledger_append_only"),
        (ADD_LINE, "ledger_proposalline_together"),
        (WITHOUT_REASON, "ledger_proposal_reason"),
        (BORN_APPROVED, "ledger_proposal_state"),
    ],
)
@pytest.mark.django_db(transaction=True)
def test_a_proposal_stays_as_it_was_made(customer, attack, constraint, role) -> None:
    customer("alice", USDT=1)
    with transaction.atomic():
        _propose(ProposalKind.MANUAL)

    assert _refused(attack, role) == constraint

    assert Proposal.objects.get().state == "PROPOSED"
    assert ProposalLine.objects.count() == 2


@pytest.mark.parametrize("role", WHO)
@pytest.mark.parametrize(
    "attack",
    [
        "UPDATE ledger_proposal SET checker_id = checker_id + 1",
        "UPDATE ledger_proposal SET remark = 'other'",
        "UPDATE ledger_proposal SET checked_at = now() + interval '1 day'",
    ],
)
def test_a_decision_stays_as_it_was_made(customer, attack, role) -> None:
    customer("alice", USDT=1)
    _approve(_propose(ProposalKind.MANUAL))

    assert _refused(attack, role) == "ledger_proposal_kept"


@pytest.mark.parametrize("entry_id", [1, 99])
def test_a_proposal_is_not_posted_without_its_entry(customer, entry_id) -> None:
    customer("alice", USDT=1)
    _approve(_propose(ProposalKind.MANUAL))

    assert _refused(f"UPDATE ledger_proposal SET state = 'POSTED', entry_id = {entry_id}") == "ledger_proposal_entry"


def test_a_proposal_of_one_person_is_not_posted(customer) -> None:
    customer("alice", USDT=1)
    proposal = _propose(ProposalKind.MANUAL)

    _refused_by_the_door(_draft(proposal, _lines()), "ledger_entry_two_people")


def test_an_approved_entry_is_posted_exactly_as_proposed(customer) -> None:
    alice = customer("alice", USDT=1)
    proposal = _propose(ProposalKind.MANUAL)
    _approve(proposal)
    other_account = [(AccountKey(None, "5120", "USDT"), Decimal(20)), _lines()[1]]
    other_part = [_lines()[0], (AccountKey(None, "1190", "USDT", "x"), Decimal(-20))]
    more = [*_lines(), *_lines(5)]
    a_users = [
        (AccountKey(alice.id, "1010", "USDT"), Decimal(20)),
        (AccountKey(alice.id, "4050", "USDT"), Decimal(-20)),
        (AccountKey(None, "5140", "USDT"), Decimal(20)),
    ]

    for lines in (_lines(19), list(reversed(_lines())), other_account, other_part, more, a_users):
        _refused_by_the_door(_draft(proposal, lines), "ledger_entry_as_proposed")
    for forged in (
        replace(_draft(proposal, _lines()), kind="CORRECTION"),
        replace(_draft(proposal, _lines()), key=f"proposal:{proposal.pk + 1}"),
        replace(_draft(proposal, _lines()), key=f"proposal:{proposal.pk}:again"),
        replace(_draft(proposal, _lines()), reverses=1),
    ):
        _refused_by_the_door(forged, "ledger_entry_two_people")
    backdated = replace(_draft(proposal, _lines()), effective_at=utc_now() - timedelta(days=1))
    _refused_by_the_door(backdated, "ledger_entry_effective_today")

    [entry] = journal.post([_draft(proposal, _lines())], utc_now())
    assert JournalEntry.objects.get(pk=entry.id).kind == "MANUAL"


def test_a_correction_is_effective_when_it_was_proposed_to_be(customer) -> None:
    customer("alice", USDT=1)
    proposal = _propose(ProposalKind.CORRECTION, days_ago=40)
    _approve(proposal)

    other = replace(_draft(proposal, _lines()), effective_at=utc_now() - timedelta(days=39))
    _refused_by_the_door(other, "ledger_entry_effective_today")

    assert journal.post([_draft(proposal, _lines())], utc_now())[0].kind == "CORRECTION"


def test_a_reversal_has_the_negated_lines_of_its_entry_today_and_is_not_reversed(customer) -> None:
    customer("alice", USDT=100)
    proposal = _propose(ProposalKind.REVERSAL, reverses=1)
    _approve(proposal)
    negated = _negated(1)

    half = [(key, amount / 2) for key, amount in negated]
    for lines in (half, negated[::-1]):
        _refused_by_the_door(_draft(proposal, lines), "ledger_entry_as_proposed")
    backdated = replace(_draft(proposal, negated), effective_at=utc_now() - timedelta(days=1))
    _refused_by_the_door(backdated, "ledger_entry_effective_today")
    [entry] = journal.post([_draft(proposal, negated)], utc_now())

    again = _propose(ProposalKind.REVERSAL, reverses=entry.id)
    _approve(again)
    _refused_by_the_door(_draft(again, _negated(entry.id)), "ledger_entry_reverses_original")


@pytest.mark.parametrize("role", grants.ROLES)
def test_a_role_can_do_its_part_of_a_proposal_and_no_more(customer, role) -> None:
    """Each may write proposals down; only the back office's kinds are posted, and as proposed."""
    customer("alice", USDT=1)
    accounts.ids(key for key, _ in _lines())
    with connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL ROLE {role}")
    proposal = _propose(ProposalKind.MANUAL)
    _approve(proposal)

    if role == grants.BACK_OFFICE_ROLE:
        _refused_by_the_door(_draft(proposal, _lines(19)), "ledger_entry_as_proposed")
        journal.post([_draft(proposal, _lines())], utc_now())
    else:
        with pytest.raises(DatabaseError, match=f"{role} may not post MANUAL"), transaction.atomic():
            journal.post([_draft(proposal, _lines())], utc_now())

    with connection.cursor() as cursor:
        cursor.execute("RESET ROLE")
    assert JournalEntry.objects.count() == (2 if role == grants.BACK_OFFICE_ROLE else 1)
