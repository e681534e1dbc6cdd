"""Draws the events of a random history: one function an event, or a run of events that belong together."""

from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING

from exchange.kernel.money import from_quanta
from ledger import waterfall
from ledger.chart import CHART, AccountCode
from ledger.control_models import ProposalKind
from ledger.entries import AccountKey, EntryDraft
from ledger.posting_rules import EventKind

if TYPE_CHECKING:
    from ledger.tests.random_history import History

CUSTODY = ("main", "cold_1", "冷錢包")
CONTRACTS = ("BTC-PERP", "eth_perp")
MARGIN_ASSET = "USDT"

Event = Callable[["History"], list[EntryDraft]]


def one_amount(history: "History", kind: EventKind, source: AccountCode | None) -> list[EntryDraft]:
    """Draw an event of one user and one amount, which one of the user's accounts must cover."""
    contract = history.random.choice(CONTRACTS)
    if source is None:
        user, asset = history.user(), history.asset()
        amount = history.some(asset)
    else:
        holders = history.holders(source)
        if not holders:
            return []
        user, asset, sub = history.random.choice(holders)
        contract = sub or contract
        amount = history.upto(history.held(user, source, asset, sub))
    return [
        history.rule(
            kind,
            {"amount": amount},
            roles={"user": user},
            assets={"asset": asset},
            parts={"custody": history.random.choice(CUSTODY), "contract": contract, "suspense": "unknown sender"},
        )
    ]


def platform_amount(history: "History", kind: EventKind, source: AccountCode | None) -> list[EntryDraft]:
    """Draw an event of the platform alone."""
    asset, custody = history.asset(), history.random.choice(CUSTODY)
    sub = custody if source == AccountCode.CUSTODY else ""
    amount = history.some(asset) if source is None else history.upto(history.held(None, source, asset, sub))
    parts = {"custody": custody, "suspense": "unknown sender"}
    return [history.rule(kind, {"amount": amount}, assets={"asset": asset}, parts=parts)]


def withdrawal_settle(history: "History") -> list[EntryDraft]:
    """Draw a withdrawal that is paid out, with a fee and a cost of the network."""
    holders = history.holders(AccountCode.WITHDRAW_HOLD)
    if not holders:
        return []
    user, asset, _ = history.random.choice(holders)
    custody = history.random.choice(CUSTODY)
    in_custody = history.held(None, AccountCode.CUSTODY, asset, custody)
    amount = history.upto(min(in_custody, history.held(user, AccountCode.WITHDRAW_HOLD, asset)))
    fee = history.random.randint(0, amount // 10)
    network_fee = history.random.randint(0, min(in_custody - amount + fee, 1_000))
    return [
        history.rule(
            EventKind.WITHDRAWAL_SETTLE,
            {"amount": amount, "fee": fee, "network_fee": network_fee},
            roles={"user": user},
            assets={"asset": asset},
            parts={"custody": custody},
        )
    ]


def spot_fill(history: "History") -> list[EntryDraft]:
    """Draw a match of two users' orders."""
    offers = history.holders(AccountCode.ORDER_HOLD)
    if not offers:
        return []
    seller, base, _ = history.random.choice(offers)
    bids = [bid for bid in offers if bid[0] != seller and bid[1] != base]
    if not bids:
        return []
    buyer, quote, _ = history.random.choice(bids)
    quantity = history.upto(history.held(seller, AccountCode.ORDER_HOLD, base))
    hold_share = history.upto(history.held(buyer, AccountCode.ORDER_HOLD, quote))
    notional = hold_share - history.random.randint(0, hold_share // 3)
    buyer_fee = history.random.randint(0, min(hold_share - notional, notional // 100))
    seller_fee = history.random.randint(0, notional // 100)
    amounts = {
        "hold_share": hold_share,
        "improvement": hold_share - notional - buyer_fee,
        "notional": notional,
        "quantity": quantity,
        "buyer_fee": buyer_fee,
        "seller_fee": seller_fee,
        "total_fee": buyer_fee + seller_fee,
    }
    if not (quantity and notional):
        return []
    roles, assets = {"buyer": buyer, "seller": seller}, {"base": base, "quote": quote}
    return [history.rule(EventKind.SPOT_FILL, amounts, roles=roles, assets=assets)]


def suspense_spot_fill(history: "History") -> list[EntryDraft]:
    """Draw a match that could not be posted."""
    base, quote = history.random.sample(list(history.decimals), 2)
    amounts = {"notional": history.some(quote), "quantity": history.some(base)}
    parts = {"buyer": "U1", "seller": "U2"}
    return [
        history.rule(EventKind.SUSPENSE_SPOT_FILL, amounts, assets={"base": base, "quote": quote}, parts=parts),
    ]


def opened(history: "History", kind: EventKind) -> list[EntryDraft]:
    """Draw a fill that opens, paid by what the waterfall says."""
    user, contract = history.user(), history.random.choice(CONTRACTS)
    amounts, _ = waterfall.open_position(
        fee=history.random.randint(0, 50_000),
        margin=history.random.randint(0, 10**9),
        hold_share=history.upto(history.held(user, AccountCode.ORDER_HOLD, MARGIN_ASSET)),
        available=history.held(user, AccountCode.AVAILABLE, MARGIN_ASSET),
    )
    return [_of_contract(history, kind, amounts._asdict(), contract, user)]


def closed(history: "History", kind: EventKind) -> list[EntryDraft]:
    """Draw a fill that closes with a profit or a loss, which may become debt."""
    user, contract = history.user(), history.random.choice(CONTRACTS)
    amounts = waterfall.close_position(
        result=history.random.randint(-(10**8), 10**8),
        fee=0 if kind == EventKind.ADL_CLOSE else history.random.randint(0, 50_000),
        margin=history.upto(history.held(user, AccountCode.MARGIN, MARGIN_ASSET, contract)),
        hold_share=0,
        available=history.held(user, AccountCode.AVAILABLE, MARGIN_ASSET),
    )
    return [_of_contract(history, kind, amounts._asdict(), contract, user)]


def _of_contract(
    history: "History", kind: EventKind, amounts: dict[str, int], contract: str, user: int | None = None
) -> EntryDraft:
    roles = {} if user is None else {"user": user}
    return history.rule(
        kind, amounts, roles=roles, assets={"asset": MARGIN_ASSET}, parts={"contract": contract, "suspense": "orphan"}
    )


def funding(history: "History") -> list[EntryDraft]:
    """Draw a run of funding: one pays, one receives, the rest is rounded off."""
    payer, receiver = history.random.sample(history.users, 2)
    contract = history.random.choice(CONTRACTS)
    due = history.random.randint(1, 10**8)
    amounts, missing = waterfall.pay_funding(
        due=due,
        available=history.held(payer, AccountCode.AVAILABLE, MARGIN_ASSET),
        margin=history.held(payer, AccountCode.MARGIN, MARGIN_ASSET, contract),
    )
    insured = min(missing, history.held(None, AccountCode.INSURANCE, MARGIN_ASSET))
    paid = due - missing
    received = history.random.randint(0, paid) if not insured else paid + insured
    rounding = {"surplus": max(paid - received, 0), "shortfall": insured}
    drawn = [_of_contract(history, EventKind.FUNDING_PAID, amounts._asdict(), contract, payer)]
    drawn.append(_of_contract(history, EventKind.FUNDING_RECEIVED, {"amount": received}, contract, receiver))
    return [*drawn, _of_contract(history, EventKind.FUNDING_ROUNDING, rounding, contract)]


def taken_over(history: "History") -> list[EntryDraft]:
    """Draw a liquidation, and the engine's close of what it took over, at a better or a worse price."""
    holders = history.holders(AccountCode.MARGIN)
    if not holders:
        return []
    user, _, contract = history.random.choice(holders)
    margin = history.held(user, AccountCode.MARGIN, MARGIN_ASSET, contract)
    fee = history.random.randint(0, margin // 50)
    taken = {"loss": margin - fee, "fee": fee}
    drawn = [_of_contract(history, EventKind.LIQUIDATION_TAKE_OVER, taken, contract, user)]
    loss = history.random.choice([0, history.random.randint(1, 10**8)])
    insured = min(loss, history.held(None, AccountCode.INSURANCE, MARGIN_ASSET))
    closing = {"gain": 0 if loss else history.random.randint(1, 10**7), "insured": insured, "uninsured": loss - insured}
    return [*drawn, _of_contract(history, EventKind.ENGINE_CLOSE, closing, contract)]


def charged(history: "History") -> list[EntryDraft]:
    """Draw a debt of somebody who has nothing left to pay with."""
    user = history.user()
    if history.held(user, AccountCode.AVAILABLE, MARGIN_ASSET):
        return []
    amount = {"amount": history.random.randint(1, 10**7)}
    return [_of_contract(history, EventKind.DEBT_CHARGE, amount, CONTRACTS[0], user)]


def insured(history: "History") -> list[EntryDraft]:
    """Draw a debt that the insurance fund pays."""
    debtors = history.holders(AccountCode.DEBT)
    if not debtors:
        return []
    user, _, _ = history.random.choice(debtors)
    owed = history.held(user, AccountCode.DEBT, MARGIN_ASSET)
    amount = history.upto(min(owed, history.held(None, AccountCode.INSURANCE, MARGIN_ASSET)))
    return [_of_contract(history, EventKind.DEBT_INSURED, {"amount": amount}, "", user)]


def repaid(history: "History") -> list[EntryDraft]:
    """Draw a credit by hand to somebody who owes, and the repayment that follows it."""
    debtors = history.holders(AccountCode.DEBT)
    if not debtors:
        return []
    user, _, _ = history.random.choice(debtors)
    owed = history.held(user, AccountCode.DEBT, MARGIN_ASSET)
    amount = from_quanta(history.random.randint(1, owed), history.decimals[MARGIN_ASSET])
    drawn = [history.by_hand(ProposalKind.MANUAL, _granted(user, MARGIN_ASSET, amount))]
    history.debts.first(AccountKey(user, AccountCode.DEBT, MARGIN_ASSET), Decimal(0))
    quanta = {"amount": history.held(user, AccountCode.AVAILABLE, MARGIN_ASSET)}
    return [*drawn, _of_contract(history, EventKind.DEBT_REPAYMENT, quanta, "", user)]


def granted(history: "History") -> list[EntryDraft]:
    """Draw a credit by hand to somebody who owes nothing."""
    user, asset = history.user(), history.asset()
    if history.held(user, AccountCode.DEBT, asset):
        return []
    kind = history.random.choice([ProposalKind.MANUAL, ProposalKind.CORRECTION])
    amount = from_quanta(history.some(asset), history.decimals[asset])
    return [history.by_hand(kind, _granted(user, asset, amount))]


def _granted(user: int, asset: str, amount: Decimal) -> list[tuple[AccountKey, Decimal]]:
    return [
        (AccountKey(user, AccountCode.AVAILABLE, asset), amount),
        (AccountKey(user, AccountCode.GAIN_ADJUSTMENT, asset), amount.copy_negate()),
        (AccountKey(None, AccountCode.EXPENSE_OTHER, asset), amount),
    ]


def reversal(history: "History") -> list[EntryDraft]:
    """Draw the reversal of an earlier entry, where balances still allow it and it touches no debt."""
    if not history.posted:
        return []
    entry = history.random.choice(history.posted)
    lines = [(key, amount.copy_negate()) for key, amount in entry.draft.lines]
    balances = {key: history.balances[key] for key, _ in lines}
    for key, amount in lines:
        balances[key] += amount
        if balances[key] * CHART[AccountCode(key.code)].bound < 0:
            return []
    touches_debt = any(
        key.code == AccountCode.DEBT or (key.owner_id and history.held(key.owner_id, AccountCode.DEBT, key.asset))
        for key, _ in lines
    )
    if touches_debt or entry.id in history.reversed or entry.draft.reverses:
        return []
    history.reversed.add(entry.id)
    return [history.by_hand(ProposalKind.REVERSAL, lines, entry.id)]


def custody_transfer(history: "History") -> list[EntryDraft]:
    """Draw a transfer between two custody accounts, with what the network takes."""
    asset = history.asset()
    source, target = history.random.sample(CUSTODY, 2)
    held = history.held(None, AccountCode.CUSTODY, asset, source)
    amount = history.upto(held)
    amounts = {"amount": amount, "network_fee": history.random.randint(0, min(held - amount, 500))}
    parts = {"from_custody": source, "to_custody": target}
    return [history.rule(EventKind.CUSTODY_TRANSFER, amounts, assets={"asset": asset}, parts=parts)]


def suspense_fill(history: "History") -> list[EntryDraft]:
    """Draw a fill whose trader could not be charged or credited."""
    result = history.random.randint(-(10**7), 10**7)
    amounts = {"profit": max(result, 0), "loss": max(-result, 0)}
    return [_of_contract(history, EventKind.SUSPENSE_FILL, amounts, history.random.choice(CONTRACTS))]


_OPENING = (EventKind.OPEN_FILL, EventKind.FLIP_OPEN, EventKind.CLOSE_TO_OPEN)
_CLOSING = (EventKind.CLOSE_FILL, EventKind.FLIP_CLOSE, EventKind.OPEN_TO_CLOSE, EventKind.ADL_CLOSE)
_OF_A_USER = {
    EventKind.DEPOSIT: None,
    EventKind.WITHDRAWAL_HOLD: AccountCode.AVAILABLE,
    EventKind.WITHDRAWAL_REJECT: AccountCode.WITHDRAW_HOLD,
    EventKind.ORDER_FREEZE: AccountCode.AVAILABLE,
    EventKind.ORDER_UNFREEZE: AccountCode.ORDER_HOLD,
    EventKind.MAKER_REBATE: None,
    EventKind.MARGIN_ADD: AccountCode.AVAILABLE,
    EventKind.MARGIN_REMOVE: AccountCode.MARGIN,
    EventKind.DEBT_WRITE_OFF: AccountCode.DEBT,
    EventKind.SUSPENSE_CREDIT: None,
}
_OF_THE_PLATFORM = {
    EventKind.CAPITAL: None,
    EventKind.CAPITAL_PAYOUT: AccountCode.CUSTODY,
    EventKind.INSURANCE_TOP_UP: None,
    EventKind.CUSTODY_CHARGE: AccountCode.CUSTODY,
    EventKind.SUSPENSE_RECEIPT: None,
    EventKind.SUSPENSE_PAYMENT: AccountCode.CUSTODY,
}
EVENTS: tuple[Event, ...] = (
    *(partial(one_amount, kind=kind, source=source) for kind, source in _OF_A_USER.items()),
    partial(one_amount, kind=EventKind.ORDER_FREEZE, source=AccountCode.AVAILABLE),
    *(partial(platform_amount, kind=kind, source=source) for kind, source in _OF_THE_PLATFORM.items()),
    *(partial(opened, kind=kind) for kind in _OPENING),
    *(partial(closed, kind=kind) for kind in _CLOSING),
    spot_fill,
    spot_fill,
    spot_fill,
    suspense_spot_fill,
    suspense_fill,
    withdrawal_settle,
    funding,
    taken_over,
    charged,
    insured,
    repaid,
    granted,
    reversal,
    custody_transfer,
)
