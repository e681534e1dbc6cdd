"""Manual entries and corrections: lines that a person writes out; proposed here, decided in `proposals.py`."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final, NamedTuple

from django.contrib.auth.models import AbstractUser
from django.db import transaction

from exchange.kernel.errors import DomainError, gettext_noop
from exchange.kernel.money import EXACT, plain, to_quanta
from ledger.access import Right, check
from ledger.chart import CHART, AccountCode, Face
from ledger.control_models import Proposal, ProposalKind, ProposalLine
from ledger.entries import AccountKey
from ledger.models import Asset, Gate
from ledger.services import finance_log, periods
from ledger.services.journal import InFutureError, PeriodClosedError
from ledger.services.periods import REASON_LENGTH_MIN, ReasonMissingError

LINES_MIN: Final = 2
LINES_MAX: Final = 100
AMOUNT_MAX: Final = Decimal(10) ** 18
CLOCKS_APART: Final = timedelta(seconds=60)


class ProposedLine(NamedTuple):
    """One line as its maker writes it.

    Args:
        owner_id: The user; None for the platform's own accounts.
        code: An `AccountCode`.
        amount: Debit positive; for wallets and debt in the user's view. Not zero.
        sub: The account's part: a contract, a custody wallet.
    """

    owner_id: int | None
    code: str
    asset: str
    amount: Decimal
    sub: str = ""


class LineCountError(DomainError):
    """There are too few lines, or too many."""

    code = 4047
    name = "PROPOSED_LINE_COUNT"
    message = gettext_noop("An entry has %(lines_min)s to %(lines_max)s lines.")


class LinesError(DomainError):
    """The lines make no entry; `problem` says which and why."""

    code = 4045
    name = "PROPOSED_LINES"
    message = gettext_noop("These lines make no entry: %(problem)s")


class UnbalancedError(DomainError):
    """The lines do not balance in one of the journals."""

    code = 4046
    name = "PROPOSED_UNBALANCED"
    message = gettext_noop("Debits and credits differ by %(difference)s %(asset)s in the journal of %(journal)s.")


def propose(
    maker: AbstractUser,
    proposed: Sequence[ProposedLine],
    reason: str,
    *,
    effective_at: datetime | None = None,
    now: datetime,
) -> Proposal:
    """Propose an entry; a second person decides.

    Args:
        effective_at: For a correction of the past: when it shall count, in an open period; the entry is flagged late.
            None for an entry of today.

    Raises:
        NotAllowedError: The maker lacks the right to make entries.
        ReasonMissingError: No reason is given.
        LineCountError: There are too few lines, or too many.
        LinesError: A line names no account or no possible amount.
        UnbalancedError: Debits and credits differ in a user's journal or the platform's.
        PeriodClosedError: The moment lies in a closed period.
        InFutureError: The moment is to come.
    """
    check(maker, Right.MAKE_ENTRIES)
    if len(reason.strip()) < REASON_LENGTH_MIN:
        raise ReasonMissingError
    _check_lines(proposed)
    _check_balance(proposed)
    _check_moment(effective_at, now)
    kind = ProposalKind.MANUAL if effective_at is None else ProposalKind.CORRECTION
    with transaction.atomic():
        proposal = Proposal.objects.create(
            kind=kind, reason=reason.strip(), effective_at=effective_at, maker_id=maker.pk, made_at=now
        )
        ProposalLine.objects.bulk_create(
            ProposalLine(
                proposal=proposal,
                n=n,
                owner_id=line.owner_id,
                code=line.code,
                asset_id=line.asset,
                sub=line.sub,
                amount=line.amount,
            )
            for n, line in enumerate(proposed, start=1)
        )
        finance_log.record(
            "proposal.make",
            now=now,
            user_id=maker.pk,
            subject=str(proposal.pk),
            detail={"kind": kind, "reason": proposal.reason, "lines": [_told(line) for line in proposed]},
        )
    return proposal


def lines(proposal: Proposal) -> list[tuple[AccountKey, Decimal]]:
    """Return a proposal's lines as an entry has them."""
    return [
        (AccountKey(line.owner_id, line.code, line.asset_id, line.sub), line.amount)
        for line in proposal.lines.order_by("n")
    ]


def _told(line: ProposedLine) -> str:
    """Write a line for the finance log."""
    owner = "platform" if line.owner_id is None else f"user {line.owner_id}"
    return f"{owner} {line.code}{'/' if line.sub else ''}{line.sub} {plain(line.amount)} {line.asset}"


def _check_lines(proposed: Sequence[ProposedLine]) -> None:
    """Refuse lines that name no account, or no amount of their asset."""
    if not LINES_MIN <= len(proposed) <= LINES_MAX:
        raise LineCountError(lines_min=LINES_MIN, lines_max=LINES_MAX)
    decimals = dict(Asset.objects.filter(pk__in={line.asset for line in proposed}).values_list("pk", "decimals"))
    owners = {line.owner_id for line in proposed if line.owner_id is not None}
    known = set(Gate.objects.filter(owner_id__in=owners).values_list("owner_id", flat=True))
    for line in proposed:
        if line.code not in CHART:
            problem = f"{line.code}?"
        elif (line.owner_id is None) != (CHART[AccountCode(line.code)].face == Face.PLATFORM):
            problem = f"{line.code}: {'user' if line.owner_id is None else 'platform'}?"
        elif line.owner_id is not None and line.owner_id not in known:
            problem = f"user {line.owner_id}?"
        elif line.asset not in decimals:
            problem = f"{line.asset}?"
        elif not line.amount.is_finite() or not 0 < abs(line.amount) < AMOUNT_MAX:
            problem = f"{line.amount}?"
        else:
            to_quanta(line.amount, decimals[line.asset])
            continue
        raise LinesError(problem=problem)


def differences(proposed: Sequence[ProposedLine]) -> dict[tuple[int | None, str], Decimal]:
    """Return what debits exceed credits by, by journal (a user's id, None for the platform's) and asset.

    Every journal that the lines stand in is there, zero where it balances. The codes must be of the chart.
    """
    sums: dict[tuple[int | None, str], Decimal] = defaultdict(Decimal)
    for line in proposed:
        face = CHART[AccountCode(line.code)].face
        if line.owner_id is not None:
            sums[line.owner_id, line.asset] = EXACT.add(sums[line.owner_id, line.asset], line.amount)
        if face != Face.USER:
            seen = line.amount.copy_negate() if face == Face.BOTH else line.amount
            sums[None, line.asset] = EXACT.add(sums[None, line.asset], seen)
    return dict(sums)


def _check_balance(proposed: Sequence[ProposedLine]) -> None:
    """Refuse what the database would refuse as unbalanced, in words."""
    for (owner_id, asset), difference in differences(proposed).items():
        if difference:
            whose = "platform" if owner_id is None else f"user {owner_id}"
            raise UnbalancedError(difference=plain(difference), asset=asset, journal=whose)


def _check_moment(effective_at: datetime | None, now: datetime) -> None:
    """Refuse a moment in a closed period or to come."""
    if effective_at is None:
        return
    closed_before = periods.closed_before()
    if effective_at < closed_before:
        raise PeriodClosedError(effective_at=effective_at.isoformat(), closed_before=closed_before.isoformat())
    if effective_at > now + CLOCKS_APART:
        raise InFutureError(effective_at=effective_at.isoformat())
