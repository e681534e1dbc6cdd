"""What pays for what: pure arithmetic over whole quanta of one asset, and the only place that decides it.

Note [Waterfall]
    Losses and fees draw on the margin that the event releases, then on the order's own share of its hold, then
    on available; what is still missing becomes debt. Margin is never financed by debt: a position gets what
    there is, possibly nothing, and `margin_short` tells its caller to queue it for liquidation.

Note [Debt first]
    Any credit to available repays its owner's debt first, in the same entry. Together with the waterfall,
    which borrows only when available is empty, nobody ever owes while having something available; the audit
    looks for it.
"""

from collections.abc import Iterable
from datetime import timedelta
from decimal import Decimal
from typing import ClassVar, Final, NamedTuple

from exchange.kernel.errors import InvariantViolationError
from exchange.kernel.money import EXACT, from_quanta
from ledger.chart import AccountCode
from ledger.entries import AccountKey

DEBT_TERM: Final = timedelta(days=7)
"""A debt is due so long after it began."""


class OpenAmounts(NamedTuple):
    """The named amounts of the rules that open a position, in quanta.

    hold_share + drawn + borrowed = margin + fee + credited
    """

    hold_share: int
    drawn: int
    borrowed: int
    margin: int
    fee: int
    credited: int


class CloseAmounts(NamedTuple):
    """The named amounts of the rules that close a position, in quanta.

    margin + hold_share + profit + drawn + borrowed = loss + fee + credited
    """

    margin: int
    hold_share: int
    drawn: int
    borrowed: int
    profit: int
    loss: int
    fee: int
    credited: int


class FundingAmounts(NamedTuple):
    """The named amounts of a funding payment, in quanta."""

    from_available: int
    from_margin: int


class Cover(NamedTuple):
    """Where the money for something due comes from; `missing` is what nothing covered."""

    from_first: int
    from_second: int
    missing: int


def cover(due: int, first: int, second: int) -> Cover:
    """Take what is due from one fund, then from another.

    Raises:
        InvariantViolationError: An amount is negative.
    """
    if due < 0 or first < 0 or second < 0:
        raise InvariantViolationError(f"negative amount in cover{(due, first, second)}")
    from_first = min(due, first)
    from_second = min(due - from_first, second)
    return Cover(from_first, from_second, due - from_first - from_second)


def open_position(*, fee: int, margin: int, hold_share: int, available: int) -> tuple[OpenAmounts, int]:
    """Say what pays for opening: the fee first, to the end; then margin, as far as funds go.

    Args:
        margin: What the position should get.
        hold_share: The order's own share of its hold, used up or given back; 0 for a fill that was meant to close.

    Returns:
        The amounts of the entry, and how much margin is missing.
    """
    paid = cover(fee, hold_share, available)
    funded = cover(margin, hold_share - paid.from_first, available - paid.from_second)
    amounts = OpenAmounts(
        hold_share=hold_share,
        drawn=paid.from_second + funded.from_second,
        borrowed=paid.missing,
        margin=margin - funded.missing,
        fee=fee,
        credited=hold_share - paid.from_first - funded.from_first,
    )
    return amounts, funded.missing


def close_position(*, result: int, fee: int, margin: int, hold_share: int, available: int) -> CloseAmounts:
    """Say what a close gives back, or what pays for it.

    Args:
        result: The realised profit, or minus the loss.
        margin: What the position releases.
        hold_share: The order's own share of its hold, all of which it gives back; mostly 0.
    """
    profit, loss = max(result, 0), max(-result, 0)
    released = margin + hold_share + profit
    paid = cover(loss + fee, released, available)
    return CloseAmounts(
        margin=margin,
        hold_share=hold_share,
        drawn=paid.from_second,
        borrowed=paid.missing,
        profit=profit,
        loss=loss,
        fee=fee,
        credited=released - paid.from_first,
    )


def pay_funding(*, due: int, available: int, margin: int) -> tuple[FundingAmounts, int]:
    """Say what pays funding: available, then the position's margin, never debt.

    Returns:
        The amounts of the entry, and what is missing: the insurance fund covers it when the run is rounded off.
    """
    paid = cover(due, available, margin)
    return FundingAmounts(paid.from_first, paid.from_second), paid.missing


def amounts(quanta: OpenAmounts | CloseAmounts | FundingAmounts, decimals: int) -> dict[str, Decimal]:
    """Turn amounts in quanta into what `posting_rules.draft` takes."""
    return {name: from_quanta(value, decimals) for name, value in zip(quanta._fields, quanta, strict=True)}


class Debts:
    """What users owe, while a batch of entries is drafted: credits repay it, and charges add to it.

    Args:
        owed: Owner, asset and what is owed, above zero.
    """

    MET_BY: ClassVar = frozenset({AccountCode.AVAILABLE, AccountCode.DEBT})
    """Users' accounts whose lines repay what is owed, or change it."""

    def __init__(self, owed: Iterable[tuple[int, str, Decimal]] = ()) -> None:
        self._owed = {(owner_id, asset): amount for owner_id, asset, amount in owed}

    def of(self, owner_id: int, asset: str) -> Decimal:
        """Return what a user owes."""
        return self._owed.get((owner_id, asset), Decimal(0))

    def first(self, key: AccountKey, amount: Decimal) -> list[tuple[AccountKey, Decimal]]:
        """Return the line, or for a credit to available the repayment and what is left of it.

        Args:
            key: The line's account.
            amount: In the user's view: above zero, the user owns more.
        """
        if key.owner_id is None or key.code not in self.MET_BY:
            return [(key, amount)]
        place = key.owner_id, key.asset
        owed = self._owed.get(place, Decimal(0))
        if key.code == AccountCode.DEBT:
            self._owed[place] = EXACT.subtract(owed, amount)
            return [(key, amount)]
        repaid = min(amount, owed) if amount > 0 else Decimal(0)
        if not repaid:
            return [(key, amount)]
        self._owed[place] = EXACT.subtract(owed, repaid)
        rest = EXACT.subtract(amount, repaid)
        repayment = key._replace(code=AccountCode.DEBT), repaid
        return [repayment, (key, rest)] if rest else [repayment]
