"""The chart of accounts: the only place in Python that knows account codes, and the sign each must keep.

The same chart stands in the database as the view `ledger_chart`; a test compares the two.
"""

from dataclasses import dataclass
from enum import StrEnum


class AccountCode(StrEnum):
    """What an account is for. Codes are permanent: they are stored in every account."""

    AVAILABLE = "1010"
    ORDER_HOLD = "1020"
    WITHDRAW_HOLD = "1030"
    MARGIN = "1040"
    DEBT = "2010"
    EXTERNAL = "3010"
    CONVERSION = "3020"
    GAIN_REALISED = "4010"
    GAIN_FUNDING = "4020"
    GAIN_REBATE = "4030"
    GAIN_DEBT_FORGIVEN = "4040"
    GAIN_ADJUSTMENT = "4050"
    COST_REALISED = "5010"
    COST_FUNDING = "5020"
    COST_FEE = "5030"
    COST_LIQUIDATION_FEE = "5040"
    COST_WITHDRAW_FEE = "5050"
    COST_ADJUSTMENT = "5060"
    CUSTODY = "1110"
    SUSPENSE = "1190"
    CLEARING = "2110"
    FUNDING_CLEARING = "2120"
    INSURANCE = "2130"
    CAPITAL = "3110"
    REVENUE_TRADING_FEE = "4110"
    REVENUE_WITHDRAW_FEE = "4120"
    REVENUE_OTHER = "4130"
    EXPENSE_MAKER_REBATE = "5110"
    EXPENSE_NETWORK = "5120"
    EXPENSE_BAD_DEBT = "5130"
    EXPENSE_OTHER = "5140"


class Face(StrEnum):
    """Whose journal a line of the account stands in.

    BOTH: one stored line, seen by the user with its sign and by the platform with the sign turned.
    """

    BOTH = "BOTH"
    USER = "USER"
    PLATFORM = "PLATFORM"


class Root(StrEnum):
    """The part of a balance sheet or income statement that an account belongs to."""

    ASSET = "ASSET"
    LIABILITY = "LIABILITY"
    EQUITY = "EQUITY"
    REVENUE = "REVENUE"
    EXPENSE = "EXPENSE"


@dataclass(frozen=True)
class ChartAccount:
    """One row of the chart.

    Args:
        name: As accountants read it.
        face: Whose journal its lines stand in.
        bound: 1: balance never below zero; -1: never above; 0: free. Debit positive.
        user_root: Its place in the user's statements; None where the user does not see it.
        platform_root: Its place in the platform's statements; None where the platform does not see it.
    """

    code: AccountCode
    name: str
    face: Face
    bound: int
    user_root: Root | None
    platform_root: Root | None


def _wallet(code: AccountCode, name: str) -> ChartAccount:
    return ChartAccount(code, name, Face.BOTH, 1, Root.ASSET, Root.LIABILITY)


def _user(code: AccountCode, name: str, root: Root) -> ChartAccount:
    return ChartAccount(code, name, Face.USER, 0, root, None)


def _platform(code: AccountCode, name: str, root: Root, bound: int = 0) -> ChartAccount:
    return ChartAccount(code, name, Face.PLATFORM, bound, None, root)


_ROWS = (
    _wallet(AccountCode.AVAILABLE, "wallet.available"),
    _wallet(AccountCode.ORDER_HOLD, "wallet.order_hold"),
    _wallet(AccountCode.WITHDRAW_HOLD, "wallet.withdraw_hold"),
    _wallet(AccountCode.MARGIN, "wallet.margin"),
    ChartAccount(AccountCode.DEBT, "debt", Face.BOTH, -1, Root.LIABILITY, Root.ASSET),
    _user(AccountCode.EXTERNAL, "external", Root.EQUITY),
    _user(AccountCode.CONVERSION, "conversion", Root.EQUITY),
    _user(AccountCode.GAIN_REALISED, "gain.realised", Root.REVENUE),
    _user(AccountCode.GAIN_FUNDING, "gain.funding", Root.REVENUE),
    _user(AccountCode.GAIN_REBATE, "gain.rebate", Root.REVENUE),
    _user(AccountCode.GAIN_DEBT_FORGIVEN, "gain.debt_forgiven", Root.REVENUE),
    _user(AccountCode.GAIN_ADJUSTMENT, "gain.adjustment", Root.REVENUE),
    _user(AccountCode.COST_REALISED, "cost.realised", Root.EXPENSE),
    _user(AccountCode.COST_FUNDING, "cost.funding", Root.EXPENSE),
    _user(AccountCode.COST_FEE, "cost.fee", Root.EXPENSE),
    _user(AccountCode.COST_LIQUIDATION_FEE, "cost.liquidation_fee", Root.EXPENSE),
    _user(AccountCode.COST_WITHDRAW_FEE, "cost.withdraw_fee", Root.EXPENSE),
    _user(AccountCode.COST_ADJUSTMENT, "cost.adjustment", Root.EXPENSE),
    _platform(AccountCode.CUSTODY, "custody", Root.ASSET, bound=1),
    _platform(AccountCode.SUSPENSE, "suspense", Root.ASSET),
    _platform(AccountCode.CLEARING, "clearing", Root.LIABILITY),
    _platform(AccountCode.FUNDING_CLEARING, "funding_clearing", Root.LIABILITY),
    _platform(AccountCode.INSURANCE, "insurance", Root.LIABILITY, bound=-1),
    _platform(AccountCode.CAPITAL, "capital", Root.EQUITY),
    _platform(AccountCode.REVENUE_TRADING_FEE, "revenue.trading_fee", Root.REVENUE),
    _platform(AccountCode.REVENUE_WITHDRAW_FEE, "revenue.withdraw_fee", Root.REVENUE),
    _platform(AccountCode.REVENUE_OTHER, "revenue.other", Root.REVENUE),
    _platform(AccountCode.EXPENSE_MAKER_REBATE, "expense.maker_rebate", Root.EXPENSE),
    _platform(AccountCode.EXPENSE_NETWORK, "expense.network", Root.EXPENSE),
    _platform(AccountCode.EXPENSE_BAD_DEBT, "expense.bad_debt", Root.EXPENSE),
    _platform(AccountCode.EXPENSE_OTHER, "expense.other", Root.EXPENSE),
)

CHART: dict[AccountCode, ChartAccount] = {row.code: row for row in _ROWS}
WALLETS = (AccountCode.AVAILABLE, AccountCode.ORDER_HOLD, AccountCode.WITHDRAW_HOLD, AccountCode.MARGIN)
