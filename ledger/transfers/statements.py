"""Imports statements of custody accounts: first a preview of what each row would do, then that, in one transaction.

The preview and the import judge by the same function. A row whose reference was imported before does nothing again,
so that overlapping statements are harmless; the same file is refused.
"""

import hashlib
import re
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Final, NamedTuple

from django.db import transaction
from django.utils.translation import gettext

from exchange.kernel.errors import DomainError, gettext_noop
from exchange.kernel.money import EXACT, plain
from ledger.models import Asset
from ledger.services import accounts, back_office, finance_log
from ledger.transfers import custody, decisions, deposit_addresses, deposits, statement_csv, steps
from ledger.transfers.deposits import Announcement
from ledger.transfers.errors import StatementKnownError
from ledger.transfers.models import (
    CustodyAccount,
    CustodyStatement,
    DepositNotice,
    DepositSource,
    DepositState,
    StatementLine,
    StatementUpload,
    Withdrawal,
    WithdrawalState,
)
from ledger.transfers.statement_csv import StatementRow

_WITHDRAWAL: Final = re.compile(r"\bW-?([0-9]{1,16})\b")


class Outcome(StrEnum):
    """What a row of a statement does."""

    CREDIT = "CREDIT"
    SECOND_PERSON = "SECOND_PERSON"
    CONFIRMATIONS = "CONFIRMATIONS"
    OWNER = "OWNER"
    MATCH_DEPOSIT = "MATCH_DEPOSIT"
    CONFIRM = "CONFIRM"
    PAYOUT = "PAYOUT"
    MATCH_PAYOUT = "MATCH_PAYOUT"
    UNMATCHED = "UNMATCHED"
    REPEAT = "REPEAT"
    REFUSED = "REFUSED"


WORDS: Final = {
    Outcome.CREDIT: gettext_noop("will be credited"),
    Outcome.SECOND_PERSON: gettext_noop("waits for a second person"),
    Outcome.CONFIRMATIONS: gettext_noop("waits for confirmations"),
    Outcome.OWNER: gettext_noop("names no customer: goes to suspense"),
    Outcome.MATCH_DEPOSIT: gettext_noop("matches a deposit"),
    Outcome.CONFIRM: gettext_noop("was imported before, and has more confirmations now"),
    Outcome.PAYOUT: gettext_noop("pays out an approved withdrawal"),
    Outcome.MATCH_PAYOUT: gettext_noop("matches a payout"),
    Outcome.UNMATCHED: gettext_noop("went out for no known withdrawal: stays open for reconciliation"),
    Outcome.REPEAT: gettext_noop("was imported before"),
    Outcome.REFUSED: gettext_noop("contradicts what is known: not used"),
}
"""Outcomes, in the words of the preview."""

REASON_AMOUNT: Final = gettext_noop("the amount is %(known)s in the books")
REASON_OWNER: Final = gettext_noop("the books know another owner")
REASON_LINE: Final = gettext_noop("another row of a statement belongs to it already")


class Judged(NamedTuple):
    """A row with what it does.

    Args:
        subject: The deposit or withdrawal that it concerns, where there is one.
        reason: Why it is refused.
    """

    row: StatementRow
    outcome: Outcome
    owner_id: int | None = None
    deposit: DepositNotice | None = None
    withdrawal: Withdrawal | None = None
    reason: str = ""

    @property
    def words(self) -> str:
        """What the row does, in the reader's language."""
        return gettext(WORDS[self.outcome])


class Preview(NamedTuple):
    """What a file would do: each row judged, and the balance it ends with."""

    custody: CustodyAccount
    rows: list[Judged]
    as_of: datetime
    balance: Decimal

    def count(self, *outcomes: Outcome) -> int:
        """Return how many rows have one of these outcomes."""
        return sum(judged.outcome in outcomes for judged in self.rows)


@transaction.atomic
def upload(custody_id: int, *, file_name: str, content: bytes, by: int, now: datetime) -> StatementUpload:
    """Keep a file as it came; the same file again is the same upload.

    Raises:
        CustodyUnknownError: There is no such active account.
        StatementRefusedError: The file has errors; it is not kept.
        StatementKnownError: It was imported before.
    """
    account = custody.active(custody_id)
    _read(account, content)
    digest = hashlib.sha256(content).hexdigest()
    kept, made = StatementUpload.objects.get_or_create(
        custody=account,
        digest=digest,
        defaults={"file_name": file_name[-100:], "content": content, "uploaded_by_id": by, "uploaded_at": now},
    )
    if not made and CustodyStatement.objects.filter(upload=kept).exists():
        raise StatementKnownError
    if made:
        detail = {"custody": account.sub, "asset": str(account.asset_id), "file": kept.file_name, "sha256": digest}
        finance_log.record("statement.upload", now=now, user_id=by, subject=str(kept.pk), detail=detail)
    return kept


def _read(account: CustodyAccount, content: bytes) -> list[StatementRow]:
    decimals = Asset.objects.values_list("decimals", flat=True).get(pk=account.asset_id)
    return statement_csv.read(content, account.kind, decimals)


def preview(kept: StatementUpload, *, now: datetime) -> Preview:
    """Say what a file would do, row by row, if it were imported now. Nothing changes."""
    rows = _read(kept.custody, bytes(kept.content))
    return Preview(kept.custody, _judge(kept.custody, rows), min(rows[-1].holds_until, now), rows[-1].balance)


def _judge(account: CustodyAccount, rows: Sequence[StatementRow]) -> list[Judged]:
    """Judge the rows of a file. Statements are constant, whatever their number."""
    references = [row.reference for row in rows]
    imported = dict(
        StatementLine.objects.filter(custody=account, reference__in=references).values_list("reference", "amount")
    )
    known = {
        deposit.reference: deposit
        for deposit in DepositNotice.objects.filter(custody=account, reference__in=references)
    }
    incoming = [row for row in rows if row.amount > 0]
    named = deposit_addresses.owners(account, [(row.address, row.text) for row in incoming])
    owners = {row.n: owner_id for row, owner_id in zip(incoming, named, strict=True)}
    payouts = _payouts(account, [row for row in rows if row.amount < 0])
    judged = []
    for row in rows:
        if row.reference in imported:
            judged.append(_judge_repeat(row, imported[row.reference], known.get(row.reference)))
        elif row.amount > 0:
            judged.append(_judge_incoming(account, row, owners[row.n], known.get(row.reference)))
        else:
            judged.append(_judge_outgoing(row, payouts.get(row.n)))
    return judged


def _judge_repeat(row: StatementRow, amount: Decimal, deposit: DepositNotice | None) -> Judged:
    """Judge a row whose reference was imported before: a chain says later that more blocks confirm it."""
    if amount != row.amount:
        return Judged(row, Outcome.REFUSED, reason=gettext(REASON_AMOUNT) % {"known": plain(amount)})
    if deposit is not None and deposit.state == DepositState.ANNOUNCED:
        more = row.confirmations is not None and row.confirmations > deposit.confirmations
        if more:
            return Judged(row, Outcome.CONFIRM, deposit.owner_id, deposit)
    return Judged(row, Outcome.REPEAT)


def _judge_incoming(
    account: CustodyAccount, row: StatementRow, owner_id: int | None, deposit: DepositNotice | None
) -> Judged:
    """Judge money that came in."""
    if deposit is not None:
        reason = ""
        if deposit.amount.amount != row.amount:
            reason = gettext(REASON_AMOUNT) % {"known": plain(deposit.amount.amount)}
        elif owner_id is not None and deposit.owner_id not in {None, owner_id}:
            reason = gettext(REASON_OWNER)
        elif deposit.line_id is not None:
            reason = gettext(REASON_LINE)
        outcome = Outcome.REFUSED if reason else Outcome.MATCH_DEPOSIT
        return Judged(row, outcome, deposit.owner_id or owner_id, deposit, reason=reason)
    if row.confirmations is not None and row.confirmations < account.confirmations:
        return Judged(row, Outcome.CONFIRMATIONS, owner_id)
    if owner_id is None:
        return Judged(row, Outcome.OWNER)
    large = row.amount > account.second_person_above
    return Judged(row, Outcome.SECOND_PERSON if large else Outcome.CREDIT, owner_id)


def _payouts(account: CustodyAccount, rows: Sequence[StatementRow]) -> dict[int, Withdrawal]:
    """Find the withdrawals that rows pay: by the recorded reference, else by a number such as W-17 in their words."""
    by_reference = {
        found.payout_reference: found
        for found in Withdrawal.objects.filter(custody=account, payout_reference__in=[row.reference for row in rows])
    }
    numbers = {row.n: [int(text) for text in _WITHDRAWAL.findall(row.text)] for row in rows}
    by_number = {
        found.pk: found
        for found in Withdrawal.objects.filter(
            pk__in={number for found in numbers.values() for number in found},
            asset_id=account.asset_id,
            network=account.network,
            state=WithdrawalState.APPROVED,
        )
    }
    found: dict[int, Withdrawal] = {}
    for row in rows:
        candidates = [by_number[number] for number in numbers[row.n] if number in by_number]
        if row.reference in by_reference:
            found[row.n] = by_reference[row.reference]
        elif len(candidates) == 1:
            found[row.n] = candidates[0]
    return found


def _judge_outgoing(row: StatementRow, withdrawal: Withdrawal | None) -> Judged:
    """Judge money that went out."""
    if withdrawal is None:
        return Judged(row, Outcome.UNMATCHED)
    arrives = EXACT.subtract(withdrawal.amount, withdrawal.fee)
    if row.amount.copy_negate() != arrives:
        reason = gettext(REASON_AMOUNT) % {"known": plain(arrives.copy_negate())}
        return Judged(row, Outcome.REFUSED, withdrawal.owner_id, withdrawal=withdrawal, reason=reason)
    paid = withdrawal.state in {WithdrawalState.SETTLING, WithdrawalState.SETTLED}
    if paid and withdrawal.line_id is not None:
        reason = gettext(REASON_LINE)
        return Judged(row, Outcome.REFUSED, withdrawal.owner_id, withdrawal=withdrawal, reason=reason)
    outcome = Outcome.MATCH_PAYOUT if paid else Outcome.PAYOUT
    return Judged(row, outcome, withdrawal.owner_id, withdrawal=withdrawal)


@transaction.atomic
def import_upload(upload_id: int, *, by: int, may_pay: bool, now: datetime) -> tuple[CustodyStatement, Preview]:
    """Store a statement with its lines and do what its rows ask for; the back office posts what follows.

    Rows are judged again, as of now. A payout that a person may not record at this moment (withdrawals are stopped, the
    customer owes something, it is the person's own) is left to that person's own page, and its line stays unmatched.

    Args:
        may_pay: Whether this person may record payouts.

    Raises:
        StatementKnownError: The file was imported before.
    """
    kept = StatementUpload.objects.select_for_update().select_related("custody").get(pk=upload_id)
    if CustodyStatement.objects.filter(upload=kept).exists():
        raise StatementKnownError
    account = kept.custody
    _lock_owners(preview(kept, now=now))
    found = preview(kept, now=now)
    statement = CustodyStatement.objects.create(
        custody=account, upload=kept, as_of=found.as_of, balance=found.balance, imported_by_id=by, imported_at=now
    )
    lines = _store_lines(statement, [judged for judged in found.rows if judged.outcome not in _NO_LINE])
    _announce(account, found.rows, lines, by=by, now=now)
    for judged in found.rows:
        if judged.withdrawal is not None and judged.row.n in lines:
            _pay(account, judged, lines[judged.row.n], by=by, may_pay=may_pay, now=now)
    counts = {str(outcome): found.count(outcome) for outcome in Outcome if found.count(outcome)}
    detail = {"custody": account.sub, "as_of": found.as_of.isoformat(), "balance": plain(found.balance), **counts}
    finance_log.record("statement.import", now=now, user_id=by, subject=str(statement.pk), detail=detail)
    back_office.wake()
    return statement, found


_NO_LINE: Final = frozenset({Outcome.REPEAT, Outcome.CONFIRM, Outcome.REFUSED})
_INCOMING: Final = frozenset(
    {
        Outcome.CREDIT,
        Outcome.SECOND_PERSON,
        Outcome.CONFIRMATIONS,
        Outcome.OWNER,
        Outcome.MATCH_DEPOSIT,
        Outcome.CONFIRM,
    }
)


def _lock_owners(found: Preview) -> None:
    """Take the gates of all whom the file concerns, before anything is judged for good."""
    people = {judged.owner_id for judged in found.rows if judged.owner_id is not None}
    accounts.lock(people)


def _store_lines(statement: CustodyStatement, rows: Sequence[Judged]) -> dict[int, StatementLine]:
    """Store the lines that are new, by row number."""
    made = StatementLine.objects.bulk_create(
        [
            StatementLine(
                statement=statement,
                custody_id=statement.custody_id,
                n=judged.row.n,
                reference=judged.row.reference,
                occurred_at=judged.row.occurred_at,
                amount=judged.row.amount,
                fee=judged.row.fee,
                balance=judged.row.balance,
                address=judged.row.address,
                text=judged.row.text,
                confirmations=judged.row.confirmations,
            )
            for judged in rows
        ]
    )
    return {line.n: line for line in made}


def _announce(
    account: CustodyAccount, rows: Sequence[Judged], lines: dict[int, StatementLine], *, by: int, now: datetime
) -> None:
    """Take in the money that came in."""
    told = [
        Announcement(
            reference=judged.row.reference,
            amount=judged.row.amount,
            owner_id=judged.owner_id,
            occurred_at=judged.row.occurred_at,
            address=judged.row.address,
            text=judged.row.text,
            confirmations=judged.row.confirmations,
            line=lines.get(judged.row.n),
        )
        for judged in rows
        if judged.outcome in _INCOMING
    ]
    for begin in range(0, len(told), steps.STEPS_MAX):
        part = told[begin : begin + steps.STEPS_MAX]
        deposits.announce(account, part, source=DepositSource.STATEMENT, by=by, now=now)


def _pay(
    account: CustodyAccount, judged: Judged, line: StatementLine, *, by: int, may_pay: bool, now: datetime
) -> None:
    """Record a payout that the statement reports, and tie its line to the withdrawal."""
    withdrawal = decisions.find(judged.withdrawal.pk)  # type: ignore[union-attr]  # the caller has looked
    if judged.outcome == Outcome.PAYOUT:
        if not may_pay:
            return
        payout = decisions.Payout(
            custody_id=account.pk,
            reference=judged.row.reference,
            network_fee=judged.row.fee,
            paid_at=min(now, max(judged.row.occurred_at, withdrawal.requested_at)),
        )
        try:
            with transaction.atomic():
                withdrawal = decisions.record_payout(withdrawal.pk, payout, version=withdrawal.version, by=by, now=now)
        except DomainError:
            return
    steps.take(withdrawal, WithdrawalState(withdrawal.state), by=by, now=now, detail={"line": line.pk}, line_id=line.pk)
