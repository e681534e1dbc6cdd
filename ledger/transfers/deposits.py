"""Deposits from announcement to credit: by hand, from a statement, or told by a provider. `crediting.py` posts them.

Note [One deposit a reference]
    A custody account and a reference name one transfer in the world, whoever tells of it first. An accountant's
    notice, the line of a statement and a provider's call that bear the same reference are therefore one row, and
    the later ones only confirm it. What says something else under a known reference is refused.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from django.db import transaction
from moneyed import Money

from exchange.kernel.money import to_quanta
from exchange.observability.tracing import current_trace
from ledger.currencies import currency
from ledger.models import Asset
from ledger.services import accounts, back_office
from ledger.services.transfers import DEPOSIT_MAX, DepositAmountError
from ledger.transfers import custody, steps
from ledger.transfers.errors import (
    DepositKnownError,
    DepositMovedOnError,
    DepositNotFoundError,
    OwnTransferError,
    ReasonRequiredError,
    SamePersonError,
)
from ledger.transfers.models import CustodyAccount, DepositNotice, DepositSource, DepositState, StatementLine

OPEN: Final = (DepositState.ANNOUNCED, DepositState.CONFIRMED)
ENDED: Final = (DepositState.CREDITED, DepositState.REFUSED)
TEXT_LENGTH_MAX: Final = 300


@dataclass(frozen=True, slots=True)
class Announcement:
    """A transfer that somebody says has come in, or will.

    Args:
        reference: The bank's or chain's own: names the transfer for ever within its custody account.
        owner_id: Whom it is for; None while nobody knows.
        confirmations: Blocks that confirm it; None where there are none, as with a bank: it is then final.
        line: The statement's line that reports it.
    """

    reference: str
    amount: Decimal
    owner_id: int | None
    occurred_at: datetime
    address: str = ""
    text: str = ""
    note: str = ""
    confirmations: int | None = None
    line: StatementLine | None = None


def key(custody_id: int, reference: str) -> str:
    """Return the key of a deposit and of its entry."""
    return f"deposit:{custody_id}:{reference}"


def check_amount(account: CustodyAccount, amount: Decimal) -> None:
    """Refuse an amount that no deposit can have.

    Raises:
        DepositAmountError: It is not above zero, or not a number.
        InexactAmountError: It has more decimals than the asset.
    """
    if not (amount.is_finite() and 0 < amount < DEPOSIT_MAX):
        raise DepositAmountError(field="amount", amount=str(amount))
    to_quanta(amount, Asset.objects.values_list("decimals", flat=True).get(pk=account.asset_id))


@transaction.atomic
def record_by_hand(
    custody_id: int,
    *,
    owner_id: int,
    amount: Decimal,
    reference: str,
    occurred_at: datetime,
    by: int,
    now: datetime,
    note: str = "",
) -> DepositNotice:
    """Write down a deposit that an accountant has seen; above the account's limit a second person confirms it.

    Raises:
        CustodyUnknownError, DepositAmountError, InexactAmountError: It cannot be.
        OwnTransferError: It would credit the accountant's own account.
        DepositKnownError: The reference is known, with another amount or owner.
    """
    account = custody.active(custody_id)
    if owner_id == by:
        raise OwnTransferError
    check_amount(account, amount)
    accounts.lock([owner_id])
    found = DepositNotice.objects.filter(custody=account, reference=reference).first()
    if found is not None:
        if (found.amount.amount, found.owner_id) != (amount, owner_id):
            raise DepositKnownError(field="reference", reference=reference)
        return found
    told = Announcement(reference, amount, owner_id, occurred_at, note=note)
    made = _make(account, told, source=DepositSource.MANUAL, by=by, now=now)
    made.save(force_insert=True)
    steps.record_deposits([(made, "")], by=by, now=now)
    back_office.wake()
    return made


def _make(
    account: CustodyAccount, told: Announcement, *, source: DepositSource, by: int | None, now: datetime
) -> DepositNotice:
    """Make the row of a deposit, in the state that what was told allows; not stored yet."""
    made = DepositNotice(
        owner_id=told.owner_id,
        amount=Money(told.amount, currency(str(account.asset_id))),  # type: ignore[misc]  # unknown to the stubs
        key=key(account.pk, told.reference),
        note=told.note[:200],
        created_at=now,
        source=source,
        custody=account,
        reference=told.reference,
        occurred_at=min(told.occurred_at, now),
        address=told.address,
        memo=told.text[:TEXT_LENGTH_MAX],
        confirmations=_confirmations(account, told),
        second_person=told.amount > account.second_person_above,
        made_by_id=by,
        line=told.line,
        trace=current_trace(),
    )
    made.state = DepositState.CONFIRMED if _is_certain(made, account) else DepositState.ANNOUNCED
    return made


def _confirmations(account: CustodyAccount, told: Announcement) -> int:
    return account.confirmations if told.confirmations is None else told.confirmations


def _is_certain(deposit: DepositNotice, account: CustodyAccount) -> bool:
    """Tell whether the money is surely there: enough blocks, and for what a person typed a second one if it is much."""
    if deposit.source == DepositSource.MANUAL and deposit.line is None and deposit.second_person:
        return deposit.approved_by_id is not None
    return deposit.confirmations >= account.confirmations


def announce(
    account: CustodyAccount, told: Sequence[Announcement], *, source: DepositSource, by: int | None, now: datetime
) -> list[DepositNotice]:
    """Take in a batch of transfers, new or known, in the caller's transaction: Note [One deposit a reference].

    Statements are constant for what is new, and a few for each that is known. The gates of all owners are taken here.

    Args:
        told: Each amount checked, each reference once.

    Raises:
        DepositKnownError: A reference is known with another amount or another owner.
    """
    references = [item.reference for item in told]
    people = {item.owner_id for item in told}
    known = _known(account, references)
    people |= {deposit.owner_id for deposit in known.values()}
    accounts.lock({owner_id for owner_id in people if owner_id is not None})
    known = _known(account, references)
    made = {
        item.reference: _make(account, item, source=source, by=by, now=now)
        for item in told
        if item.reference not in known
    }
    DepositNotice.objects.bulk_create(made.values())
    steps.record_deposits([(deposit, "") for deposit in made.values()], by=by, now=now)
    for item in told:
        if item.reference in known:
            _confirm(known[item.reference], account, item, by=by, now=now)
    return [made.get(item.reference) or known[item.reference] for item in told]


def _known(account: CustodyAccount, references: Sequence[str]) -> dict[str, DepositNotice]:
    """Return the deposits that bear these references."""
    rows = DepositNotice.objects.filter(custody=account, reference__in=references)
    return {deposit.reference: deposit for deposit in rows}


def _confirm(
    deposit: DepositNotice, account: CustodyAccount, told: Announcement, *, by: int | None, now: datetime
) -> None:
    """Take what is told anew about a known deposit.

    Raises:
        DepositKnownError: It contradicts what is known.
    """
    other_owner = told.owner_id is not None and deposit.owner_id not in {None, told.owner_id}
    if deposit.amount.amount != told.amount or other_owner or (told.line and deposit.line):
        raise DepositKnownError(reference=told.reference)
    changes: dict[str, object] = {}
    if told.line is not None:
        changes["line"] = deposit.line = told.line
    if _confirmations(account, told) > deposit.confirmations:
        changes["confirmations"] = deposit.confirmations = _confirmations(account, told)
    state = DepositState(deposit.state)
    if state in OPEN and deposit.owner_id is None and told.owner_id is not None:
        changes["owner_id"] = deposit.owner_id = told.owner_id
    if state == DepositState.ANNOUNCED and _is_certain(deposit, account):
        state = DepositState.CONFIRMED
    if changes or state != deposit.state:
        detail = {"confirmations": deposit.confirmations, **({"line": told.line.pk} if told.line else {})}
        steps.move(deposit, state, by=by, now=now, detail=detail, **changes)


# --- Staff's decisions ---------------------------------------------------------------------------------


def find(deposit_id: int) -> DepositNotice:
    """Return any customer's deposit.

    Raises:
        DepositNotFoundError: There is none.
    """
    found = DepositNotice.objects.select_related("custody").filter(pk=deposit_id).first()
    if found is None:
        raise DepositNotFoundError(deposit_id=deposit_id)
    return found


def _seen(deposit_id: int, version: int, by: int, *, also: int | None = None) -> DepositNotice:
    """Return an open deposit as the person saw it, under the gates of its owner and of one more.

    Raises:
        OwnTransferError: It is the person's own.
        DepositMovedOnError: It has changed since, or has ended.
    """
    people = {find(deposit_id).owner_id, also} - {None}
    accounts.lock(sorted(owner_id for owner_id in people if owner_id is not None))
    found = find(deposit_id)
    if by in {found.owner_id, also}:
        raise OwnTransferError
    if found.version != version or found.state not in OPEN or found.owner_id not in people | {None}:
        raise DepositMovedOnError(deposit_id=deposit_id, state=str(found.state))
    return found


@transaction.atomic
def assign_owner(deposit_id: int, owner_id: int, *, version: int, by: int, now: datetime) -> DepositNotice:
    """Say whom a deposit is for that named nobody; above the account's limit a second person confirms it.

    Raises:
        OwnTransferError, DepositMovedOnError: See `_seen`. A deposit that has an owner keeps it.
    """
    found = _seen(deposit_id, version, by, also=owner_id)
    if found.owner_id is not None:
        raise DepositMovedOnError(deposit_id=deposit_id, state=str(found.state))
    steps.move(
        found,
        DepositState(found.state),
        by=by,
        now=now,
        detail={"owner": str(owner_id)},
        owner_id=owner_id,
        made_by_id=by,
    )
    back_office.wake()
    return found


@transaction.atomic
def approve(deposit_id: int, *, version: int, by: int, now: datetime) -> DepositNotice:
    """Confirm as the second person that a large deposit is there and belongs to its owner.

    Raises:
        SamePersonError: The person who recorded it, or found its owner, is the same.
        OwnTransferError, DepositMovedOnError: See `_seen`; one without owner, or approved before, is not approved.
    """
    found = _seen(deposit_id, version, by)
    if found.made_by_id == by:
        raise SamePersonError
    if found.owner_id is None or found.approved_by_id is not None or found.custody is None:
        raise DepositMovedOnError(deposit_id=deposit_id, state=str(found.state))
    found.approved_by_id = by
    certain = found.state == DepositState.CONFIRMED or _is_certain(found, found.custody)
    state = DepositState.CONFIRMED if certain else DepositState.ANNOUNCED
    steps.move(found, state, by=by, now=now, detail={"approved": True}, approved_by_id=by)
    back_office.wake()
    return found


@transaction.atomic
def refuse(deposit_id: int, *, version: int, by: int, reason: str, now: datetime) -> DepositNotice:
    """Refuse a deposit that was not credited: an error, or money that goes back where it came from.

    What has come in stays in suspense until a manual entry of two people pays it back.

    Raises:
        ReasonRequiredError: No reason is given.
        OwnTransferError, DepositMovedOnError: See `_seen`.
    """
    reason = reason.strip()[:TEXT_LENGTH_MAX]
    if not reason:
        raise ReasonRequiredError(field="reason")
    found = _seen(deposit_id, version, by)
    return steps.move(found, DepositState.REFUSED, by=by, now=now, detail={"reason": reason}, reason=reason)


def page(owner_id: int, *, before_id: int | None = None, limit: int) -> list[DepositNotice]:
    """Return a page of a customer's deposits, newest first."""
    rows = DepositNotice.objects.select_related("custody").filter(owner_id=owner_id)
    if before_id is not None:
        rows = rows.filter(pk__lt=before_id)
    return list(rows.order_by("-pk")[:limit])


def waits_for(deposit: DepositNotice) -> str:
    """Return the code of what an open deposit waits for; "" for one that has ended."""
    if deposit.state in ENDED or deposit.custody is None:
        return ""
    if deposit.confirmations < deposit.custody.confirmations:
        return "CONFIRMATIONS"
    if deposit.owner_id is None:
        return "OWNER"
    if deposit.second_person and deposit.approved_by_id is None:
        return "SECOND_PERSON"
    return "POSTING"
