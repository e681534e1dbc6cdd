"""What each event does to the books, as one table: event -> lines. Nothing else composes entries.

A line names a side, a place and an amount. The place is `role.account.asset`: the role is a user of the
event or the platform; the asset is one of the event's. Wallets and debt stand in the user's view (debit =
the user owns more); the platform sees the same line with the sign turned. The amount is a sum of named
amounts of the event, such as `notional-seller_fee`.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

from exchange.kernel.errors import require
from exchange.kernel.money import EXACT
from ledger.chart import CHART, AccountCode, Face
from ledger.entries import AccountKey, EntryDraft

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
    DEBT_REPAYMENT = "DEBT_REPAYMENT"
    DEBT_WRITE_OFF = "DEBT_WRITE_OFF"
    INSURANCE_TOP_UP = "INSURANCE_TOP_UP"
    CAPITAL = "CAPITAL"


class Line(NamedTuple):
    """One line of a rule: DR or CR, `role.account.asset`, and the amount's name or sum of names."""

    side: int
    place: str
    amount: str


ACCOUNTS: dict[str, AccountCode] = {
    "available": AccountCode.AVAILABLE,
    "order_hold": AccountCode.ORDER_HOLD,
    "withdraw_hold": AccountCode.WITHDRAW_HOLD,
    "margin": AccountCode.MARGIN,
    "debt": AccountCode.DEBT,
    "external": AccountCode.EXTERNAL,
    "conversion": AccountCode.CONVERSION,
    "gain_realised": AccountCode.GAIN_REALISED,
    "gain_funding": AccountCode.GAIN_FUNDING,
    "gain_rebate": AccountCode.GAIN_REBATE,
    "gain_debt_forgiven": AccountCode.GAIN_DEBT_FORGIVEN,
    "cost_realised": AccountCode.COST_REALISED,
    "cost_funding": AccountCode.COST_FUNDING,
    "cost_fee": AccountCode.COST_FEE,
    "cost_liquidation_fee": AccountCode.COST_LIQUIDATION_FEE,
    "cost_withdraw_fee": AccountCode.COST_WITHDRAW_FEE,
    "custody": AccountCode.CUSTODY,
    "suspense": AccountCode.SUSPENSE,
    "clearing": AccountCode.CLEARING,
    "funding_clearing": AccountCode.FUNDING_CLEARING,
    "insurance": AccountCode.INSURANCE,
    "capital": AccountCode.CAPITAL,
    "revenue_trading_fee": AccountCode.REVENUE_TRADING_FEE,
    "revenue_withdraw_fee": AccountCode.REVENUE_WITHDRAW_FEE,
    "expense_maker_rebate": AccountCode.EXPENSE_MAKER_REBATE,
    "expense_network": AccountCode.EXPENSE_NETWORK,
    "expense_bad_debt": AccountCode.EXPENSE_BAD_DEBT,
}

PARTS: dict[AccountCode, str] = {
    AccountCode.MARGIN: "contract",
    AccountCode.CLEARING: "contract",
    AccountCode.FUNDING_CLEARING: "contract",
    AccountCode.CUSTODY: "custody",
}
"""Accounts that are kept in parts, and the name under which an event says which part it means."""

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
    EventKind.DEBT_REPAYMENT: (
        Line(DR, "user.debt.asset", "amount"),
        Line(CR, "user.available.asset", "amount"),
    ),
    EventKind.DEBT_WRITE_OFF: (
        Line(DR, "user.debt.asset", "amount"),
        Line(CR, "user.gain_debt_forgiven.asset", "amount"),
        Line(DR, "platform.expense_bad_debt.asset", "amount"),
    ),
    EventKind.INSURANCE_TOP_UP: (
        Line(DR, "platform.capital.asset", "amount"),
        Line(CR, "platform.insurance.asset", "amount"),
    ),
    EventKind.CAPITAL: (
        Line(DR, "platform.custody.asset", "amount"),
        Line(CR, "platform.capital.asset", "amount"),
    ),
}

_TERM = re.compile(r"([+-]?)([a-z_]+)")


class _Place(NamedTuple):
    """A rule's line, parsed: who, which account, which asset, which part, the side, the signed terms."""

    role: str
    code: AccountCode
    asset: str
    part: str
    side: int
    amount: str
    terms: tuple[tuple[int, str], ...]


def _parse(line: Line) -> _Place:
    """Parse a line of the table, once, when the module is loaded."""
    role, account, asset = line.place.split(".")
    code = ACCOUNTS[account]
    require((role == PLATFORM) == (CHART[code].face == Face.PLATFORM), f"{line.place} has the wrong owner")
    terms = tuple((CR if sign == "-" else DR, name) for sign, name in _TERM.findall(line.amount))
    return _Place(role, code, asset, PARTS.get(code, ""), line.side, line.amount, terms)


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
) -> EntryDraft:
    """Compose the entry of an event by its rule.

    Args:
        kind: Which rule.
        key: Idempotency key.
        effective_at: When it happened.
        trace: Trace id.
        roles: User ids: `user`, or `buyer` and `seller`.
        assets: Asset codes: `asset`, or `base` and `quote`.
        amounts: The rule's named amounts, none negative.
        parts: For accounts kept in parts: `custody`, `contract`. A part that is not named is "".

    Raises:
        InvariantViolationError: An amount, or a difference of amounts, is negative.
    """
    for name, amount in amounts.items():
        require(amount >= 0, f"{kind} {key}: {name} is {amount}")
    lines: list[tuple[AccountKey, Decimal]] = []
    for place in _PARSED[kind]:
        amount = amounts[place.terms[0][1]]
        for sign, name in place.terms[1:]:
            amount = (EXACT.add if sign == DR else EXACT.subtract)(amount, amounts[name])
            require(amount >= 0, f"{kind} {key}: {place.amount} is {amount}")
        if amount:
            owner_id = None if place.role == PLATFORM else roles[place.role]
            part = parts.get(place.part, "") if place.part else ""
            signed = amount if place.side == DR else amount.copy_negate()  # a minus sign would round to 28 digits
            lines.append((AccountKey(owner_id, place.code, assets[place.asset], part), signed))
    return EntryDraft(kind, key, effective_at, trace, lines)
