"""What accounts, kinds of entry and terms of accounting are called, and what they mean, in the reader's language."""

from typing import Final, NamedTuple

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from ledger.chart import CHART, AccountCode, Face, Root
from ledger.reports.cash import Activity
from ledger.reports.scopes import Scope
from ledger.reports.sheet import RETAINED as RETAINED_CODE

Words = str | Promise
STATEMENTS: Final = _("Statements")
ACCOUNTS: Final = _("Accounts behind a figure")


class Term(NamedTuple):
    """A title, and what it means in a sentence."""

    title: Words
    meaning: Words


_OF_USERS: Final[dict[str, Term]] = {
    "1010": Term(_("Available funds"), _("What the user may use at once: to trade or to withdraw.")),
    "1020": Term(_("Held for orders"), _("Set aside for open orders; comes back when an order ends unfilled.")),
    "1030": Term(_("Held for withdrawals"), _("Set aside for withdrawals that are on their way.")),
    "1040": Term(_("Margin of positions"), _("Set aside as security for open positions, one part a contract.")),
    "2010": Term(_("Debt to the platform"), _("Losses beyond all funds; every credit repays it first.")),
    "3010": Term(_("Net deposits"), _("All deposits less all withdrawals: what the user brought in from outside.")),
    "3020": Term(
        _("Conversion between assets"),
        _("What was given of this asset for others, less what was received: the trading account of a currency."),
    ),
    "4010": Term(_("Realised gains"), _("Profits of positions that were closed.")),
    "4020": Term(_("Funding received"), _("Funding payments of perpetuals that came in.")),
    "4030": Term(_("Rebates received"), _("Fees given back for orders that rested on the book.")),
    "4040": Term(_("Debt forgiven"), _("Debt that the platform gave up.")),
    "4050": Term(_("Adjustments received"), _("Corrections by the platform's staff in the user's favour.")),
    "5010": Term(_("Realised losses"), _("Losses of positions that were closed.")),
    "5020": Term(_("Funding paid"), _("Funding payments of perpetuals that went out.")),
    "5030": Term(_("Trading fees paid"), _("Fees of trades, charged in the quote asset.")),
    "5040": Term(_("Liquidation fees paid"), _("Fees of liquidations, paid to the insurance fund.")),
    "5050": Term(_("Withdrawal fees paid"), _("Fees of withdrawals.")),
    "5060": Term(_("Adjustments borne"), _("Corrections by the platform's staff at the user's cost.")),
}
RETAINED: Final = Term(_("Result of closed periods"), _("Revenue less expenses of all periods that were closed."))
_OF_THE_PLATFORM: Final[dict[str, Term]] = {
    "1010": Term(_("Customers' available funds"), _("Owed to customers, who may use it at once.")),
    "1020": Term(_("Customers' funds held for orders"), _("Owed to customers, set aside for their open orders.")),
    "1030": Term(
        _("Customers' funds held for withdrawals"), _("Owed to customers, set aside for withdrawals on their way.")
    ),
    "1040": Term(_("Customers' margin"), _("Owed to customers, set aside as security for their positions.")),
    "2010": Term(
        _("Receivable from customers"), _("Debts of customers: losses beyond their funds, repaid from any credit.")
    ),
    "1110": Term(_("Custody"), _("What lies in the platform's wallets and bank accounts, one part each.")),
    "1190": Term(_("Suspense"), _("Amounts whose place is not settled yet; each has a break that somebody works on.")),
    "2110": Term(
        _("Clearing of derivatives"),
        _(
            "The net of all open positions, one part a contract: profits paid to those who closed are owed by those who"
            " have not. At a mark price it is what winning positions are owed less what losing ones owe."
        ),
    ),
    "2120": Term(_("Clearing of funding"), _("Funding on its way from payers to receivers; zero after each run.")),
    "2130": Term(_("Insurance fund"), _("Ring-fenced: covers losses of liquidations that margin does not.")),
    "3110": Term(_("Capital"), _("What the owners put in.")),
    "4110": Term(_("Trading fees"), _("Earned from both sides of trades.")),
    "4120": Term(_("Withdrawal fees"), _("Earned from withdrawals.")),
    "4130": Term(_("Other revenue"), _("Earned in other ways, by entries of the staff.")),
    "5110": Term(_("Maker rebates"), _("Fees given back for orders that rested on the book; deducted from revenue.")),
    "5120": Term(_("Network fees"), _("Paid to chains and banks for sending withdrawals.")),
    "5130": Term(_("Bad debt"), _("Debts of customers that were given up.")),
    "5140": Term(_("Other expenses"), _("Borne in other ways, by entries of the staff.")),
}

ROOTS: Final[dict[Root, Term]] = {
    Root.ASSET: Term(_("Assets"), _("What is owned, and what others owe.")),
    Root.LIABILITY: Term(_("Liabilities"), _("What is owed to others.")),
    Root.EQUITY: Term(_("Equity"), _("What belongs to the owner: assets less liabilities, before the result.")),
    Root.REVENUE: Term(_("Revenue"), _("What was earned since the last closed period, not yet carried to equity.")),
    Root.EXPENSE: Term(_("Expenses"), _("What was spent since the last closed period, not yet carried to equity.")),
}
SCOPES: Final[dict[Scope, Term]] = {
    Scope.PLATFORM: Term(_("Platform"), _("The company that runs the exchange; what users own is its liability.")),
    Scope.USERS: Term(_("Users"), _("All users together, or one of them; what they own is owed by the platform.")),
    Scope.CONSOLIDATED: Term(
        _("Consolidated"), _("Users and platform as one; what one side owes the other falls away.")
    ),
}
TERMS: Final[dict[str, Term]] = {
    "as_it_stands": Term(
        _("A + X = L + E + R"),
        _("Assets and expenses equal liabilities, equity and revenue: every entry has equal debits and credits."),
    ),
    "after_closing": Term(
        _("A = L + E after closing"),
        _("Once the result is carried to equity, assets equal liabilities and equity."),
    ),
    "result": Term(_("Result"), _("Revenue less expenses: a profit, or below zero a loss.")),
    "at_mark": Term(
        _("Unrealised, at the mark price"),
        _("What open positions would gain or lose if they were closed now; no entry was made for it."),
    ),
    "late": Term(_("late"), _("Recorded over a minute after it happened; counts from when it happened.")),
    "as_of": Term(_("As of"), _("All entries recorded by then, and late ones that had happened by then. UTC.")),
    "elimination": Term(_("Eliminated"), _("Stands on both sides, with users and platform, and falls away.")),
    "debit": Term(_("Debit"), _("The left side: adds to assets and expenses.")),
    "credit": Term(_("Credit"), _("The right side: adds to liabilities, equity and revenue.")),
}
"""Terms that pages explain where a reader points at them."""

KINDS: Final[dict[str, Words]] = {
    "DEPOSIT": _("Deposit"),
    "WITHDRAWAL_HOLD": _("Withdrawal requested"),
    "WITHDRAWAL_SETTLE": _("Withdrawal"),
    "WITHDRAWAL_REJECT": _("Withdrawal refused"),
    "ORDER_FREEZE": _("Order placed"),
    "ORDER_UNFREEZE": _("Order ended"),
    "SPOT_FILL": _("Trade"),
    "MAKER_REBATE": _("Maker rebate"),
    "OPEN_FILL": _("Position opened"),
    "CLOSE_FILL": _("Position closed"),
    "FLIP_CLOSE": _("Position closed by a reversal"),
    "FLIP_OPEN": _("Position opened by a reversal"),
    "CLOSE_TO_OPEN": _("Position opened instead of closed"),
    "OPEN_TO_CLOSE": _("Position closed instead of opened"),
    "MARGIN_ADD": _("Margin added"),
    "MARGIN_REMOVE": _("Margin taken out"),
    "FUNDING_PAID": _("Funding paid"),
    "FUNDING_RECEIVED": _("Funding received"),
    "FUNDING_ROUNDING": _("Rounding of funding"),
    "LIQUIDATION_TAKE_OVER": _("Liquidation"),
    "ENGINE_CLOSE": _("Liquidated position closed"),
    "ADL_CLOSE": _("Position closed by deleveraging"),
    "DEBT_CHARGE": _("Loss charged as debt"),
    "DEBT_REPAYMENT": _("Debt repaid"),
    "DEBT_WRITE_OFF": _("Debt written off"),
    "DEBT_INSURED": _("Debt covered by the insurance fund"),
    "INSURANCE_TOP_UP": _("Insurance fund topped up"),
    "CAPITAL": _("Capital paid in"),
    "CAPITAL_PAYOUT": _("Capital paid out"),
    "CUSTODY_TRANSFER": _("Transfer between custody accounts"),
    "CUSTODY_CHARGE": _("Charge on a custody account"),
    "SUSPENSE_RECEIPT": _("Receipt of unknown origin"),
    "SUSPENSE_PAYMENT": _("Payment of unknown purpose"),
    "SUSPENSE_CREDIT": _("Receipt credited to its owner"),
    "SUSPENSE_FILL": _("Fill that could not be posted"),
    "SUSPENSE_SPOT_FILL": _("Trade that could not be posted"),
    "REVERSAL": _("Reversal"),
    "MANUAL": _("Entry by staff"),
    "CORRECTION": _("Correction"),
}
ACTIVITIES: Final[dict[Activity, Words]] = {
    Activity.CUSTOMERS: _("Customers: deposits and withdrawals"),
    Activity.OPERATIONS: _("Operations: network fees and charges"),
    Activity.OWNERS: _("Owners: capital"),
    Activity.BETWEEN: _("Between custody accounts"),
    Activity.OTHER: _("Other"),
}


def account(scope: Scope, code: str) -> Term:
    """Return what an account is called in the statements of a scope, or the row of what closed periods earned."""
    if code == RETAINED_CODE:
        return RETAINED
    faces_users = scope == Scope.USERS or CHART[AccountCode(code)].face == Face.USER
    return (_OF_USERS if faces_users else _OF_THE_PLATFORM)[code]


def kind(name: str) -> Words:
    """Return what a kind of entry is called; a kind without a title keeps its name."""
    return KINDS.get(name, name)
