"""What the back office does with withdrawals, in its own role: lets requests into review, settles, gives back.

Each withdrawal has a transaction of its own, so that a faulty one holds up no other. A step and its entry commit
together and the entry's key names the withdrawal, so that a run that died is simply repeated.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final

import structlog
from django.db import IntegrityError, OperationalError, transaction

from exchange.kernel.errors import DomainError, gettext_noop
from exchange.kernel.money import plain
from ledger import posting_rules
from ledger.entries import EntryDraft
from ledger.posting_rules import EventKind
from ledger.services import accounts, debts, journal, periods
from ledger.services.journal import LedgerBoundError
from ledger.transfers import checks, steps, withdrawals
from ledger.transfers.errors import DebtBlocksWithdrawalError, WithdrawalMovedOnError
from ledger.transfers.models import Withdrawal, WithdrawalState
from ledger.transfers.outside import OUTSIDE

logger = structlog.get_logger(__name__)

BATCH_MAX: Final = 500
REASON_DEBT: Final = gettext_noop("a debt is open; the funds repay it")
PROBLEM_CUSTODY: Final = gettext_noop("the custody account does not hold enough, says the ledger")

_ENDS: Final = {
    WithdrawalState.REJECTING: WithdrawalState.REJECTED,
    WithdrawalState.CANCELLING: WithdrawalState.CANCELLED,
}


def advance(now: datetime) -> int:
    """Let requests into review whose log heads settlement has passed: Note [Waiting for the logs]."""
    return _each([WithdrawalState.REQUESTED], _advance_one, now)


def settle(now: datetime) -> int:
    """Post what was paid out."""
    return _each([WithdrawalState.SETTLING], _settle_one, now)


def release(now: datetime) -> int:
    """Give back the funds of what was rejected or cancelled."""
    return _each(list(_ENDS), _release_one, now)


def _each(states: Sequence[WithdrawalState], work: Callable[[Withdrawal, datetime], bool], now: datetime) -> int:
    """Work on each withdrawal in these states, oldest first, each in a transaction of its own; count what was done."""
    waiting = Withdrawal.objects.filter(state__in=states).order_by("pk").values_list("pk", "owner_id")[:BATCH_MAX]
    done = 0
    for withdrawal_id, owner_id in waiting:
        try:
            with transaction.atomic():
                accounts.lock([owner_id])
                found = Withdrawal.objects.filter(pk=withdrawal_id, state__in=states).first()
                done += found is not None and work(found, now)
        except WithdrawalMovedOnError:
            continue
        except (DomainError, IntegrityError, OperationalError) as error:
            logger.exception("withdrawal_stuck", withdrawal_id=withdrawal_id, error=str(error))
    return done


def _advance_one(withdrawal: Withdrawal, now: datetime) -> bool:
    """Judge a request that is ready, and put it before people; one of a debtor is rejected."""
    if not OUTSIDE.ready_when(withdrawal.log_heads):
        return False
    try:
        withdrawals.check_debt(withdrawal.owner_id)
    except DebtBlocksWithdrawalError as error:
        steps.take(withdrawal, WithdrawalState.REJECTING, by=None, now=now, detail=dict(error.data), reason=REASON_DEBT)
        return True
    findings = checks.run(withdrawal, now=now)
    doubts = [finding["code"] for finding in findings if not finding["ok"]]
    steps.take(withdrawal, WithdrawalState.REVIEW, by=None, now=now, detail={"doubts": doubts}, checks=findings)
    return True


def _settle_one(withdrawal: Withdrawal, now: datetime) -> bool:
    """Post a payout; where the custody account does not cover it, the withdrawal goes back to be paid from another."""
    try:
        with transaction.atomic():
            entry = journal.post(_settlement(withdrawal, now), now)[0]
    except LedgerBoundError as error:
        steps.take(
            withdrawal,
            WithdrawalState.APPROVED,
            by=None,
            now=now,
            detail=dict(error.data),
            problem=PROBLEM_CUSTODY,
            payout_reference="",
        )
        return True
    steps.take(withdrawal, WithdrawalState.SETTLED, by=None, now=now, final_entry_id=entry.id, ended_at=now)
    return True


def _settlement(withdrawal: Withdrawal, now: datetime) -> list[EntryDraft]:
    """Draft the settlement, and the gas where it was paid in another asset or from another account."""
    account, gas = withdrawal.custody, withdrawal.gas_custody
    happened = max(withdrawal.paid_at or now, periods.closed_before())
    drafts = [
        posting_rules.draft(
            EventKind.WITHDRAWAL_SETTLE,
            key=withdrawals.settle_key(withdrawal.pk),
            effective_at=happened,
            trace=withdrawal.trace,
            roles={"user": withdrawal.owner_id},
            assets={"asset": str(withdrawal.asset_id)},
            amounts={
                "amount": withdrawal.amount,
                "fee": withdrawal.fee,
                "network_fee": withdrawal.network_fee if gas is None else Decimal(0),
            },
            parts={"custody": account.sub},  # type: ignore[union-attr]  # ledger_withdrawal_paid
        )
    ]
    if gas is not None and withdrawal.network_fee:
        drafts.append(
            posting_rules.draft(
                EventKind.CUSTODY_CHARGE,
                key=f"withdrawal:{withdrawal.pk}:gas",
                effective_at=happened,
                trace=withdrawal.trace,
                roles={},
                assets={"asset": str(gas.asset_id)},
                amounts={"amount": withdrawal.network_fee},
                parts={"custody": gas.sub},
            )
        )
    return drafts


def _release_one(withdrawal: Withdrawal, now: datetime) -> bool:
    """Give the funds back; a debt takes its part first, in the same entry."""
    owner_id, asset = withdrawal.owner_id, str(withdrawal.asset_id)
    draft = posting_rules.draft(
        EventKind.WITHDRAWAL_REJECT,
        key=withdrawals.release_key(withdrawal.pk),
        effective_at=now,
        trace=withdrawal.trace,
        roles={"user": owner_id},
        assets={"asset": asset},
        amounts={"amount": withdrawal.amount},
        debts=debts.owed([owner_id]),
    )
    [entry] = journal.post([draft], now)
    steps.take(
        withdrawal,
        _ENDS[WithdrawalState(withdrawal.state)],
        by=None,
        now=now,
        detail={"released": plain(withdrawal.amount)},
        final_entry_id=entry.id,
        ended_at=now,
    )
    return True
