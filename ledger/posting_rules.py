"""What each event does to the books, as one table: event -> lines. Nothing else composes entries.

A line names a side, a place and an amount. The place is `role.account.asset`: the role is a user of the
event or the platform; the asset is one of the event's. Wallets and debt stand in the user's view (debit =
the user owns more); the platform sees the same line with the sign turned. The amount is a sum of named
amounts of the event, such as `notional-seller_fee`. An account that is kept in parts takes the part of the
event that `PARTS` names, or one that the place names itself: `role.account.asset.part`.

A debit of available repays first what its owner owes, in the same entry: Note [Debt first] in `waterfall.py`.
`POSTING.md` tells every event with its numbers, in both views.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

from exchange.kernel.errors import InvariantViolationError, require
from exchange.kernel.money import EXACT
from ledger.chart import CHART, AccountCode, Face
from ledger.entries import AccountKey, EntryDraft
from ledger.waterfall import Debts

DR = 1
CR = -1
PLATFORM = "platform"


class EventKind(StrEnum):
    """What happened. Names are permanent: they are stored in every entry."""

    DEPOSIT = "DEPOSIT"
    WITHDRAWAL_HOLD = "WITHDRAWAL_HOLD"
    WITHDRAWAL_SETTLE = "WITHDRAWAL_SETTLE"
    WITHDRAWAL_REJECT = "WITHDRAWAL_REJECT"
    ORDER_FREEZE = "ORDER_FREEZE"
    ORDER_UNFREEZE = "ORDER_UNFREEZE"
    SPOT_FILL = "SPOT_FILL"
    MAKER_REBATE = "MAKER_REBATE"
    OPEN_FILL = "OPEN_FILL"
    CLOSE_FILL = "CLOSE_FILL"
    FLIP_CLOSE = "FLIP_CLOSE"
    FLIP_OPEN = "FLIP_OPEN"
    CLOSE_TO_OPEN = "CLOSE_TO_OPEN"
    OPEN_TO_CLOSE = "OPEN_TO_CLOSE"
    MARGIN_ADD = "MARGIN_ADD"
    MARGIN_REMOVE = "MARGIN_REMOVE"
    FUNDING_PAID = "FUNDING_PAID"
    FUNDING_RECEIVED = "FUNDING_RECEIVED"
    FUNDING_ROUNDING = "FUNDING_ROUNDING"
    LIQUIDATION_TAKE_OVER = "LIQUIDATION_TAKE_OVER"
    ENGINE_CLOSE = "ENGINE_CLOSE"
    ADL_CLOSE = "ADL_CLOSE"
    DEBT_CHARGE = "DEBT_CHARGE"
    DEBT_REPAYMENT = "DEBT_REPAYMENT"
    DEBT_WRITE_OFF = "DEBT_WRITE_OFF"
    DEBT_INSURED = "DEBT_INSURED"
    INSURANCE_TOP_UP = "INSURANCE_TOP_UP"
    CAPITAL = "CAPITAL"
    CAPITAL_PAYOUT = "CAPITAL_PAYOUT"
    CUSTODY_TRANSFER = "CUSTODY_TRANSFER"
    CUSTODY_CHARGE = "CUSTODY_CHARGE"
    SUSPENSE_RECEIPT = "SUSPENSE_RECEIPT"
    SUSPENSE_PAYMENT = "SUSPENSE_PAYMENT"
    SUSPENSE_CREDIT = "SUSPENSE_CREDIT"
    SUSPENSE_FILL = "SUSPENSE_FILL"
    SUSPENSE_SPOT_FILL = "SUSPENSE_SPOT_FILL"
    REVERSAL = "REVERSAL"
    MANUAL = "MANUAL"
    CORRECTION = "CORRECTION"


WITHOUT_RULE = frozenset({EventKind.REVERSAL, EventKind.MANUAL, EventKind.CORRECTION})
"""Their lines come from people: the negated lines of an entry (`services/reversal.py`), or a proposal that a
second person has checked (`services/manual_entries.py`)."""


FACTS = frozenset(
    {
        EventKind.ORDER_FREEZE,
        EventKind.ORDER_UNFREEZE,
        EventKind.SPOT_FILL,
        EventKind.MAKER_REBATE,
        EventKind.OPEN_FILL,
        EventKind.CLOSE_FILL,
        EventKind.FLIP_CLOSE,
        EventKind.FLIP_OPEN,
        EventKind.CLOSE_TO_OPEN,
        EventKind.OPEN_TO_CLOSE,
        EventKind.MARGIN_ADD,
        EventKind.MARGIN_REMOVE,
        EventKind.FUNDING_PAID,
        EventKind.FUNDING_RECEIVED,
        EventKind.FUNDING_ROUNDING,
        EventKind.LIQUIDATION_TAKE_OVER,
        EventKind.ENGINE_CLOSE,
        EventKind.ADL_CLOSE,
        EventKind.DEBT_CHARGE,
        EventKind.DEBT_REPAYMENT,
        EventKind.SUSPENSE_FILL,
        EventKind.SUSPENSE_SPOT_FILL,
    }
)
"""What happened elsewhere already and cannot be refused: Note [Closed periods] in `services/periods.py`. The database
has them as `ledger_fact_kind`."""


class Line(NamedTuple):
    """One line of a rule: DR or CR, `role.account.asset`, and the amount's name or sum of names."""

    side: int
    place: str
    amount: str


ACCOUNTS: dict[str, AccountCode] = {code.name.lower(): code for code in AccountCode}

PARTS: dict[AccountCode, str] = {
    AccountCode.MARGIN: "contract",
    AccountCode.CLEARING: "contract",
    AccountCode.FUNDING_CLEARING: "contract",
    AccountCode.CUSTODY: "custody",
    AccountCode.SUSPENSE: "suspense",
}
"""Accounts that are kept in parts, and the name under which an event says which part it means."""

_OPEN = (
    Line(CR, "user.order_hold.asset", "hold_share"),
    Line(CR, "user.available.asset", "drawn"),
    Line(CR, "user.debt.asset", "borrowed"),
    Line(DR, "user.margin.asset", "margin"),
    Line(DR, "user.cost_fee.asset", "fee"),
    Line(DR, "user.available.asset", "credited"),
    Line(CR, "platform.revenue_trading_fee.asset", "fee"),
)
"""A position grows; `waterfall.open_position` says what pays for it."""

_CLOSE = (
    Line(CR, "user.margin.asset", "margin"),
    Line(CR, "user.order_hold.asset", "hold_share"),
    Line(CR, "user.available.asset", "drawn"),
    Line(CR, "user.debt.asset", "borrowed"),
    Line(CR, "user.gain_realised.asset", "profit"),
    Line(DR, "user.cost_realised.asset", "loss"),
    Line(DR, "user.cost_fee.asset", "fee"),
    Line(DR, "user.available.asset", "credited"),
    Line(DR, "platform.clearing.asset", "profit"),
    Line(CR, "platform.clearing.asset", "loss"),
    Line(CR, "platform.revenue_trading_fee.asset", "fee"),
)
"""A position shrinks; `waterfall.close_position` says what pays a loss, and what is left."""

RULES: dict[EventKind, tuple[Line, ...]] = {
    EventKind.DEPOSIT: (
        Line(DR, "user.available.asset", "amount"),
        Line(CR, "user.external.asset", "amount"),
        Line(DR, "platform.custody.asset", "amount"),
    ),
    EventKind.WITHDRAWAL_HOLD: (
        Line(DR, "user.withdraw_hold.asset", "amount"),
        Line(CR, "user.available.asset", "amount"),
    ),
    EventKind.WITHDRAWAL_SETTLE: (
        Line(CR, "user.withdraw_hold.asset", "amount"),
        Line(DR, "user.external.asset", "amount-fee"),
        Line(DR, "user.cost_withdraw_fee.asset", "fee"),
        Line(CR, "platform.custody.asset", "amount-fee"),
        Line(CR, "platform.revenue_withdraw_fee.asset", "fee"),
        Line(DR, "platform.expense_network.asset", "network_fee"),
        Line(CR, "platform.custody.asset", "network_fee"),
    ),
    EventKind.WITHDRAWAL_REJECT: (
        Line(DR, "user.available.asset", "amount"),
        Line(CR, "user.withdraw_hold.asset", "amount"),
    ),
    EventKind.ORDER_FREEZE: (
        Line(DR, "user.order_hold.asset", "amount"),
        Line(CR, "user.available.asset", "amount"),
    ),
    EventKind.ORDER_UNFREEZE: (
        Line(DR, "user.available.asset", "amount"),
        Line(CR, "user.order_hold.asset", "amount"),
    ),
    EventKind.SPOT_FILL: (
        Line(CR, "buyer.order_hold.quote", "hold_share"),
        Line(DR, "buyer.available.quote", "improvement"),
        Line(DR, "buyer.cost_fee.quote", "buyer_fee"),
        Line(DR, "buyer.conversion.quote", "notional"),
        Line(DR, "buyer.available.base", "quantity"),
        Line(CR, "buyer.conversion.base", "quantity"),
        Line(CR, "seller.order_hold.base", "quantity"),
        Line(DR, "seller.conversion.base", "quantity"),
        Line(DR, "seller.available.quote", "notional-seller_fee"),
        Line(DR, "seller.cost_fee.quote", "seller_fee"),
        Line(CR, "seller.conversion.quote", "notional"),
        Line(CR, "platform.revenue_trading_fee.quote", "total_fee"),
    ),
    EventKind.MAKER_REBATE: (
        Line(DR, "user.available.asset", "amount"),
        Line(CR, "user.gain_rebate.asset", "amount"),
        Line(DR, "platform.expense_maker_rebate.asset", "amount"),
    ),
    EventKind.OPEN_FILL: _OPEN,
    EventKind.CLOSE_FILL: _CLOSE,
    EventKind.FLIP_CLOSE: _CLOSE,
    EventKind.FLIP_OPEN: _OPEN,
    EventKind.CLOSE_TO_OPEN: _OPEN,
    EventKind.OPEN_TO_CLOSE: _CLOSE,
    EventKind.MARGIN_ADD: (
        Line(DR, "user.margin.asset", "amount"),
        Line(CR, "user.available.asset", "amount"),
    ),
    EventKind.MARGIN_REMOVE: (
        Line(CR, "user.margin.asset", "amount"),
        Line(DR, "user.available.asset", "amount"),
    ),
    EventKind.FUNDING_PAID: (
        Line(CR, "user.available.asset", "from_available"),
        Line(CR, "user.margin.asset", "from_margin"),
        Line(DR, "user.cost_funding.asset", "from_available+from_margin"),
        Line(CR, "platform.funding_clearing.asset", "from_available+from_margin"),
    ),
    EventKind.FUNDING_RECEIVED: (
        Line(DR, "user.available.asset", "amount"),
        Line(CR, "user.gain_funding.asset", "amount"),
        Line(DR, "platform.funding_clearing.asset", "amount"),
    ),
    EventKind.FUNDING_ROUNDING: (
        Line(DR, "platform.funding_clearing.asset", "surplus"),
        Line(CR, "platform.insurance.asset", "surplus"),
        Line(DR, "platform.insurance.asset", "shortfall"),
        Line(CR, "platform.funding_clearing.asset", "shortfall"),
    ),
    EventKind.LIQUIDATION_TAKE_OVER: (
        Line(CR, "user.margin.asset", "loss+fee"),
        Line(DR, "user.cost_realised.asset", "loss"),
        Line(DR, "user.cost_liquidation_fee.asset", "fee"),
        Line(CR, "platform.clearing.asset", "loss"),
        Line(CR, "platform.insurance.asset", "fee"),
    ),
    EventKind.ENGINE_CLOSE: (
        Line(DR, "platform.clearing.asset", "gain"),
        Line(CR, "platform.insurance.asset", "gain"),
        Line(DR, "platform.insurance.asset", "insured"),
        Line(DR, "platform.expense_bad_debt.asset", "uninsured"),
        Line(CR, "platform.clearing.asset", "insured+uninsured"),
    ),
    EventKind.ADL_CLOSE: _CLOSE,
    EventKind.DEBT_CHARGE: (
        Line(DR, "user.cost_realised.asset", "amount"),
        Line(CR, "user.debt.asset", "amount"),
        Line(CR, "platform.clearing.asset", "amount"),
    ),
    EventKind.DEBT_REPAYMENT: (
        Line(DR, "user.debt.asset", "amount"),
        Line(CR, "user.available.asset", "amount"),
    ),
    EventKind.DEBT_WRITE_OFF: (
        Line(DR, "user.debt.asset", "amount"),
        Line(CR, "user.gain_debt_forgiven.asset", "amount"),
        Line(DR, "platform.expense_bad_debt.asset", "amount"),
    ),
    EventKind.DEBT_INSURED: (
        Line(DR, "user.debt.asset", "amount"),
        Line(CR, "user.gain_debt_forgiven.asset", "amount"),
        Line(DR, "platform.insurance.asset", "amount"),
    ),
    EventKind.INSURANCE_TOP_UP: (
        Line(DR, "platform.capital.asset", "amount"),
        Line(CR, "platform.insurance.asset", "amount"),
    ),
    EventKind.CAPITAL: (
        Line(DR, "platform.custody.asset", "amount"),
        Line(CR, "platform.capital.asset", "amount"),
    ),
    EventKind.CAPITAL_PAYOUT: (
        Line(DR, "platform.capital.asset", "amount"),
        Line(CR, "platform.custody.asset", "amount"),
    ),
    EventKind.CUSTODY_TRANSFER: (
        Line(DR, "platform.custody.asset.to_custody", "amount"),
        Line(CR, "platform.custody.asset.from_custody", "amount"),
        Line(DR, "platform.expense_network.asset", "network_fee"),
        Line(CR, "platform.custody.asset.from_custody", "network_fee"),
    ),
    EventKind.CUSTODY_CHARGE: (
        Line(DR, "platform.expense_network.asset", "amount"),
        Line(CR, "platform.custody.asset", "amount"),
    ),
    EventKind.SUSPENSE_RECEIPT: (
        Line(DR, "platform.custody.asset", "amount"),
        Line(CR, "platform.suspense.asset", "amount"),
    ),
    EventKind.SUSPENSE_PAYMENT: (
        Line(DR, "platform.suspense.asset", "amount"),
        Line(CR, "platform.custody.asset", "amount"),
    ),
    EventKind.SUSPENSE_CREDIT: (
        Line(DR, "user.available.asset", "amount"),
        Line(CR, "user.external.asset", "amount"),
        Line(DR, "platform.suspense.asset", "amount"),
    ),
    EventKind.SUSPENSE_FILL: (
        Line(DR, "platform.clearing.asset", "profit"),
        Line(CR, "platform.suspense.asset", "profit"),
        Line(DR, "platform.suspense.asset", "loss"),
        Line(CR, "platform.clearing.asset", "loss"),
    ),
    EventKind.SUSPENSE_SPOT_FILL: (
        Line(DR, "platform.suspense.quote.buyer", "notional"),
        Line(CR, "platform.suspense.quote.seller", "notional"),
        Line(DR, "platform.suspense.base.seller", "quantity"),
        Line(CR, "platform.suspense.base.buyer", "quantity"),
    ),
}

_TERM = re.compile(r"([+-]?)([a-z_]+)")


class _Place(NamedTuple):
    """A rule's line, parsed: who, which account, which asset, which part, the side, the terms, signed but the first."""

    role: str
    code: AccountCode
    asset: str
    part: str
    side: int
    amount: str
    first_term: str
    other_terms: tuple[tuple[int, str], ...]
    meets_debt: bool
    """Whether what its owner owes is concerned: Note [Debt first]. What is taken from available repays nothing."""


def _parse(line: Line) -> _Place:
    """Parse a line of the table, once, when the module is loaded."""
    role, account, asset, *part = line.place.split(".")
    code = ACCOUNTS[account]
    require((role == PLATFORM) == (CHART[code].face == Face.PLATFORM), f"{line.place} has the wrong owner")
    (_, first), *others = _TERM.findall(line.amount)
    terms = tuple((CR if sign == "-" else DR, name) for sign, name in others)
    part_name = part[0] if part else PARTS.get(code, "")
    meets_debt = code in Debts.MET_BY and not (code == AccountCode.AVAILABLE and line.side == CR)
    return _Place(role, code, asset, part_name, line.side, line.amount, first, terms, meets_debt)


_PARSED: dict[EventKind, tuple[_Place, ...]] = {
    kind: tuple(_parse(line) for line in lines) for kind, lines in RULES.items()
}
_NOTHING: Mapping[str, str] = {}


def draft(
    kind: EventKind,
    *,
    key: str,
    effective_at: datetime,
    trace: str,
    roles: Mapping[str, int],
    assets: Mapping[str, str],
    amounts: Mapping[str, Decimal],
    parts: Mapping[str, str] = _NOTHING,
    debts: Debts | None = None,
) -> EntryDraft:
    """Compose the entry of an event by its rule.

    Args:
        kind: Which rule; none of `WITHOUT_RULE`.
        key: Idempotency key.
        effective_at: When it happened.
        trace: Trace id.
        roles: User ids: `user`, or `buyer` and `seller`.
        assets: Asset codes: `asset`, or `base` and `quote`.
        amounts: The rule's named amounts, none negative.
        parts: For accounts kept in parts: `custody`, `contract`. A part that is not named is "".
        debts: What the event's users owe; credits repay it first. Changed by what this entry repays or borrows,
            so that it can be handed from draft to draft of a batch.

    Raises:
        InvariantViolationError: An amount, or a difference of amounts, is negative.
    """
    if min(amounts.values()) < 0:
        for name, amount in amounts.items():
            require(amount >= 0, f"{kind} {key}: {name} is {amount}")
    lines: list[tuple[AccountKey, Decimal]] = []
    for role, code, asset, part_name, side, written, first_term, other_terms, meets_debt in _PARSED[kind]:
        amount = amounts[first_term]
        for sign, name in other_terms:
            amount = (EXACT.add if sign == DR else EXACT.subtract)(amount, amounts[name])
            if amount < 0:
                raise InvariantViolationError(f"{kind} {key}: {written} is {amount}")
        if amount:
            owner_id = None if role == PLATFORM else roles[role]
            part = parts.get(part_name, "") if part_name else ""
            account = AccountKey(owner_id, code, assets[asset], part)
            signed = amount if side == DR else amount.copy_negate()  # a minus sign would round to 28 digits
            if meets_debt and debts is not None:
                lines += debts.first(account, signed)
            else:
                lines.append((account, signed))
    return EntryDraft(kind, key, effective_at, trace, lines)
