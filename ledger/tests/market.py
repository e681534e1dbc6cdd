"""A small market beside the books: orders, positions, withdrawals and a bank as other apps would keep them.

`Market` lets each event of the posting rules happen: it posts through the door, moves positions by quantity and signed
open cost, and holds by order. Amounts are whole quanta of 1e-8; prices are quanta of USDT a contract.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import timedelta

import pytest
from django.db import connection

from exchange.kernel.clock import utc_now
from exchange.kernel.money import from_quanta
from ledger import waterfall
from ledger.access import Role
from ledger.chart import AccountCode
from ledger.control_models import Period, PeriodAction, RequestState
from ledger.entries import AccountKey
from ledger.posting_rules import EventKind
from ledger.services import manual_entries, periods, reversal
from ledger.services.journal import PeriodClosedError
from ledger.services.manual_entries import ProposedLine
from ledger.tests.factories import staff
from ledger.tests.market_books import DECIMALS, USERS, BooksAndCopy
from ledger.waterfall import FundingAmounts

CONTRACTS = ("A-PERP", "B-PERP")
TOTALS_EVERY = 10
TOTALS_MAX = 20


@dataclass
class Position:
    """A position in one contract: signed quantity, signed open cost, margin."""

    qty: int = 0
    cost: int = 0
    margin: int = 0

    def release(self, qty: int) -> tuple[int, int]:
        """Take a part out; return its cost and margin, toward zero, the last part taking the rest."""
        whole = abs(self.qty)
        cost = self.cost if qty == whole else abs(self.cost) * qty // whole * (1 if self.cost > 0 else -1)
        margin = self.margin if qty == whole else self.margin * qty // whole
        self.qty -= qty if self.qty > 0 else -qty
        self.cost -= cost
        self.margin -= margin
        return cost, margin


@dataclass
class Hold:
    """What an open order or a pending withdrawal holds."""

    user: int
    asset: str
    amount: int


@dataclass
class Suspended:
    """A close that the books refused: its result stands in suspense, its margin where it was."""

    user: int
    contract: str
    result: int
    margin: int


@dataclass(frozen=True)
class Terms:
    """How an order came to its fill.

    Args:
        opens: It was meant to open, and took a hold.
        is_covered: It was meant to close, below the price at which its margin is used up, and holds the difference.
        holds_one_in: Its hold is this part of the notional: 8 is more than margin and fee, 16 is less.
    """

    opens: bool = False
    is_covered: bool = False
    holds_one_in: int = 8


class Market(BooksAndCopy):
    """The books, and what stands behind their events."""

    def __init__(self) -> None:
        super().__init__()
        self.positions: dict[tuple[int, str], Position] = defaultdict(Position)
        self.engine: dict[str, Position] = defaultdict(Position)
        self.orders: dict[int, Hold] = {}
        self.withdrawals: dict[int, Hold] = {}
        self.suspended: dict[int, Suspended] = {}
        self.steps = 0

    # --- orders, withdrawals, spot --------------------------------------------------------------------
    def freeze(self, user: int, amount: int, asset: str = "USDT") -> int:
        """Hold funds for an order; return its number."""
        self.event(EventKind.ORDER_FREEZE, amount, user, asset)
        order = next(self._numbers)
        self.orders[order] = Hold(user, asset, amount)
        return order

    def unfreeze(self, order: int) -> None:
        """Cancel an order."""
        hold = self.orders.pop(order)
        self.event(EventKind.ORDER_UNFREEZE, hold.amount, hold.user, hold.asset)

    def ask_withdrawal(self, user: int, amount: int, asset: str) -> None:
        """Hold funds for a withdrawal."""
        self.event(EventKind.WITHDRAWAL_HOLD, amount, user, asset)
        self.withdrawals[next(self._numbers)] = Hold(user, asset, amount)

    def reject_withdrawal(self, number: int) -> None:
        """Turn a withdrawal down."""
        hold = self.withdrawals.pop(number)
        self.event(EventKind.WITHDRAWAL_REJECT, hold.amount, hold.user, hold.asset)

    def settle_withdrawal(self, number: int, fee: int, network_fee: int) -> None:
        """Pay a withdrawal."""
        hold = self.withdrawals.pop(number)
        fee = min(fee, hold.amount)
        amounts = {"amount": hold.amount, "fee": fee, "network_fee": network_fee}
        draft = self.draft(EventKind.WITHDRAWAL_SETTLE, amounts, user=hold.user, asset=hold.asset)
        self.post(draft, {(hold.asset, "main"): fee - hold.amount - network_fee})

    def move_custody(self, source: str, target: str, amount: int, network_fee: int) -> None:
        """Move funds between the platform's own accounts."""
        amounts = {"amount": amount, "network_fee": network_fee}
        draft = self.draft(EventKind.CUSTODY_TRANSFER, amounts, from_custody=source, to_custody=target)
        self.post(draft, {("USDT", source): -amount - network_fee, ("USDT", target): amount})

    def spot(self, buyer: int, seller: int, quantity: int, notional: int, improvement: int, fee: int) -> None:
        """Trade BTC for USDT, of orders placed for it."""
        hold_share = notional + improvement + fee
        buy, sell = self.freeze(buyer, hold_share), self.freeze(seller, quantity, "BTC")
        del self.orders[buy], self.orders[sell]
        seller_fee = min(fee, notional)
        amounts = {
            "hold_share": hold_share,
            "improvement": improvement,
            "notional": notional,
            "quantity": quantity,
            "buyer_fee": fee,
            "seller_fee": seller_fee,
            "total_fee": fee + seller_fee,
        }
        self.post(self.draft(EventKind.SPOT_FILL, amounts, {"buyer": buyer, "seller": seller}))

    def suspend_spot(self, buyer: int, seller: int, quantity: int, notional: int) -> None:
        """Write down what the sides of a spot match owe each other, which the books refuse to move."""
        amounts = {"notional": notional, "quantity": quantity}
        kind = EventKind.SUSPENSE_SPOT_FILL
        self.post(self.draft(kind, amounts, buyer=f"user:{buyer}", seller=f"user:{seller}"))

    # --- perpetuals -----------------------------------------------------------------------------------
    def trade(self, user: int, contract: str, side: int, qty: int, price: int, terms: Terms) -> None:
        """Fill one side of a match: close what is opposite, open the rest.

        Args:
            side: +1 buys, -1 sells.
        """
        position = self.positions[user, contract]
        closing = min(qty, abs(position.qty)) if position.qty * side < 0 else 0
        if closing:
            flips = closing < qty
            kind = EventKind.FLIP_CLOSE if flips else EventKind.OPEN_TO_CLOSE if terms.opens else EventKind.CLOSE_FILL
            notional = closing * price
            hold_share = self._hold_for(user, notional, terms) if terms.opens or terms.is_covered else 0
            cost, margin = position.release(closing)
            self._close(kind, user, contract, -cost - side * notional, margin, hold_share, -(-notional // 2000))
        if closing < qty:
            kind = EventKind.FLIP_OPEN if closing else EventKind.OPEN_FILL if terms.opens else EventKind.CLOSE_TO_OPEN
            self._open(kind, user, contract, side, qty - closing, price, terms)

    def _close(self, kind: EventKind, user: int, contract: str, result: int, margin: int, hold: int, fee: int) -> None:
        amounts = waterfall.close_position(
            result=result, fee=fee, margin=margin, hold_share=hold, available=self.available(user)
        )
        draft = self.draft(kind, amounts, user=user, contract=contract)
        if draft.lines:
            self.post(draft)

    def _open(self, kind: EventKind, user: int, contract: str, side: int, qty: int, price: int, terms: Terms) -> None:
        notional = qty * price
        hold_share = 0 if kind == EventKind.CLOSE_TO_OPEN else self._hold_for(user, notional, terms)
        amounts, _ = waterfall.open_position(
            fee=-(-notional // 2000), margin=-(-notional // 10), hold_share=hold_share, available=self.available(user)
        )
        self.post(self.draft(kind, amounts, user=user, contract=contract))
        position = self.positions[user, contract]
        position.qty += side * qty
        position.cost += side * notional
        position.margin += amounts.margin

    def _hold_for(self, user: int, notional: int, terms: Terms) -> int:
        """Take a hold for an order that fills at once, as far as available goes; return it."""
        hold = min(self.available(user), notional // terms.holds_one_in)
        if hold:
            del self.orders[self.freeze(user, hold)]
        return hold

    def match(self, pair: tuple[int, int], contract: str, qty: int, price: int, *of: Terms) -> None:
        """Let two users trade a contract: who buys, who sells, and the terms of each."""
        for user, side, terms in zip(pair, (1, -1), of, strict=True):
            self.trade(user, contract, side, qty, price, terms)

    def move_margin(self, user: int, contract: str, amount: int) -> None:
        """Add margin to a position, or take it off."""
        kind = EventKind.MARGIN_ADD if amount > 0 else EventKind.MARGIN_REMOVE
        self.event(kind, abs(amount), user, contract=contract)
        self.positions[user, contract].margin += amount

    def pay_funding(self, contract: str, mark: int, rate: int) -> bool:
        """Run funding: who pays rounds up, who receives rounds down, the fund takes the rest or pays what is missing.

        Returns:
            Whether the fund could cover it; else nothing was posted.
        """
        paid: list[tuple[int, FundingAmounts]] = []
        received: list[tuple[int, int]] = []
        for user in USERS:
            position = self.positions[user, contract]
            exact = position.qty * mark * rate
            if exact > 0:
                due, margin = -(-exact // 1_000_000), position.margin
                paid.append((user, waterfall.pay_funding(due=due, available=self.available(user), margin=margin)[0]))
            elif exact < 0:
                received.append((user, -exact // 1_000_000))
        surplus = sum(sum(amounts) for _, amounts in paid) - sum(amount for _, amount in received)
        if surplus < 0 and self.fund() < -surplus:
            return False
        for user, amounts in paid:
            if sum(amounts):
                self.post(self.draft(EventKind.FUNDING_PAID, amounts, user=user, contract=contract))
                self.positions[user, contract].margin -= amounts.from_margin
        for user, amount in received:
            if amount:
                self.event(EventKind.FUNDING_RECEIVED, amount, user, contract=contract)
        if surplus:
            rest = {"surplus": max(surplus, 0), "shortfall": max(-surplus, 0)}
            self.post(self.draft(EventKind.FUNDING_ROUNDING, rest, contract=contract))
        return True

    # --- liquidation and debt -------------------------------------------------------------------------
    def liquidate(self, user: int, contract: str) -> None:
        """Let the engine take a position over at the price at which its margin is used up."""
        position = self.positions.pop((user, contract))
        fee = position.margin // 50
        loss = position.margin - fee
        if position.margin:
            amounts = {"loss": loss, "fee": fee}
            self.post(self.draft(EventKind.LIQUIDATION_TAKE_OVER, amounts, user=user, contract=contract))
        self.engine[contract].qty += position.qty
        self.engine[contract].cost += position.cost - loss

    def close_engine(self, contract: str, user: int, qty: int, price: int) -> None:
        """Let the engine trade with a user; its loss is charged to who has nothing left, the fund, the platform."""
        engine = self.engine[contract]
        side = 1 if engine.qty > 0 else -1
        self.trade(user, contract, side, qty, price, Terms())
        cost, _ = engine.release(qty)
        result = side * price * qty - cost
        poor = [debtor for debtor in USERS if not self.available(debtor)]
        if result < 0 and poor:
            charged = -(result // 2)
            self.event(EventKind.DEBT_CHARGE, charged, poor[0], contract=contract)
            result += charged
        insured = min(max(-result, 0), self.fund())
        amounts = {"gain": max(result, 0), "insured": insured, "uninsured": max(-result, 0) - insured}
        if result:
            self.post(self.draft(EventKind.ENGINE_CLOSE, amounts, contract=contract))

    def deleverage(self, contract: str, user: int) -> None:
        """Make a user on the other side close at the engine's cost, after which the engine's result is 0."""
        position, engine = self.positions[user, contract], self.engine[contract]
        qty = min(abs(position.qty), abs(engine.qty))
        cost, margin = position.release(qty)
        of_engine, _ = engine.release(qty)
        self._close(EventKind.ADL_CLOSE, user, contract, -cost - of_engine, margin, 0, 0)

    def suspend_close(self, user: int, other: int, contract: str, price: int) -> None:
        """Close a position whose entry the books refuse: its result waits in suspense, its margin where it was."""
        position = self.positions[user, contract]
        side, qty = (-1 if position.qty > 0 else 1), abs(position.qty)
        cost, margin = position.release(qty)
        result = -cost - side * price * qty
        if result:
            amounts = {"profit": max(result, 0), "loss": max(-result, 0)}
            draft = self.draft(EventKind.SUSPENSE_FILL, amounts, contract=contract, suspense=f"user:{user}")
            self.suspended[self.post(draft)] = Suspended(user, contract, result, margin)
        else:
            position.margin = margin
        self.trade(other, contract, -side, qty, price, Terms())

    # --- entries and decisions of people --------------------------------------------------------------
    def adjust(self, user: int, amount: int, *, days_ago: int | None) -> None:
        """Credit a user, or charge one with a negative amount: by a manual entry, or a correction of the past."""
        now = utc_now()
        effective_at = None if days_ago is None else now - timedelta(days=days_ago)
        of_user, of_platform = (
            (AccountCode.GAIN_ADJUSTMENT, AccountCode.EXPENSE_OTHER)
            if amount > 0
            else (AccountCode.COST_ADJUSTMENT, AccountCode.REVENUE_OTHER)
        )
        lines = [
            (AccountKey(user, AccountCode.AVAILABLE, "USDT"), amount),
            (AccountKey(user, of_user, "USDT"), -amount),
            (AccountKey(None, of_platform, "USDT"), amount),
        ]
        written = [
            ProposedLine(key.owner_id, key.code, key.asset, from_quanta(value, DECIMALS)) for key, value in lines
        ]
        maker = staff(Role.ACCOUNTANT)
        if effective_at is not None and effective_at < periods.closed_before():
            with pytest.raises(PeriodClosedError):
                manual_entries.propose(maker, written, "for the model", effective_at=effective_at, now=now)
        else:
            proposal = manual_entries.propose(maker, written, "for the model", effective_at=effective_at, now=now)
            self.decide(proposal, lines)

    def reverse(self, chosen: int) -> None:
        """Reverse some entry that may be; what was in suspense is then closed as it should have been."""
        numbers = self.reversible()
        if not numbers:
            return
        number = numbers[chosen % len(numbers)]
        negated = [(key, -amount) for key, amount in self.lines_of(number)]
        is_posted = self.decide(
            reversal.propose(staff(Role.ACCOUNTANT), number, "for the model", now=utc_now()), negated
        )
        if is_posted and number in self.suspended:
            late = self.suspended.pop(number)
            self._close(EventKind.CLOSE_FILL, late.user, late.contract, late.result, late.margin, 0, 0)

    def move_period(self, days_ago: int) -> None:
        """Close the books before a day, or reopen what was closed last if they are closed until then."""
        now = utc_now()
        boundary, closed_before = now - timedelta(days=days_ago), periods.closed_before()
        last = Period.objects.filter(action=PeriodAction.CLOSE, ends_at=closed_before).order_by("-id").first()
        if boundary > closed_before:
            request = periods.ask(staff(Role.APPROVER), PeriodAction.CLOSE, boundary, "for the model", now=now)
        elif last is not None:
            request = periods.ask(staff(Role.APPROVER), PeriodAction.REOPEN, last.starts_at, "for the model", now=now)
        else:
            return
        periods.carry_out(now)
        request.refresh_from_db()
        assert request.state == RequestState.DONE, request.refusal
        self.check_books()

    def keep_totals(self) -> None:
        """Keep the totals from which statements start, as the back office does after many more entries."""
        with connection.cursor() as cursor:
            cursor.execute("SELECT ledger_keep_totals(%s, %s)", [TOTALS_MAX, TOTALS_EVERY])
        self.check_books()

    # --- what must hold -------------------------------------------------------------------------------
    def check(self, mark: int) -> None:
        """Compare the books with what stands behind them: R1 to R5; any break fails.

        Args:
            mark: A price, at which unrealised profit is taken.
        """
        self.steps += 1
        for contract in CONTRACTS:
            held = [position for (_, of), position in self.positions.items() if of == contract]
            held.append(self.engine[contract])
            clearing = self.has(None, AccountCode.CLEARING, sub=contract)
            unrealised = sum(position.qty * mark - position.cost for position in held)
            assert sum(position.qty for position in held) == 0, "R1"
            assert clearing == sum(position.cost for position in held), "R2"
            assert clearing + unrealised == 0, "R3"
            assert self.has(None, AccountCode.FUNDING_CLEARING, sub=contract) == 0, "R4"
        self._check_holds()

    def _check_holds(self) -> None:
        """R5: wallets that hold for something hold exactly that."""
        expected: Counter[AccountKey] = Counter()
        for code, holds in ((AccountCode.ORDER_HOLD, self.orders), (AccountCode.WITHDRAW_HOLD, self.withdrawals)):
            for hold in holds.values():
                expected[AccountKey(hold.user, code, hold.asset)] += hold.amount
        for (user, contract), position in self.positions.items():
            expected[AccountKey(user, AccountCode.MARGIN, "USDT", contract)] += position.margin
        for late in self.suspended.values():
            expected[AccountKey(late.user, AccountCode.MARGIN, "USDT", late.contract)] += late.margin
        codes = {AccountCode.ORDER_HOLD, AccountCode.WITHDRAW_HOLD, AccountCode.MARGIN}
        held = {key: balance for key, balance in self.balances.items() if key.code in codes and balance}
        assert +expected == held, "R5"
