"""Random events of every kind of the posting rules: after each entry and each event every identity of the books holds.

From each seed some entries are played, 60 unless told otherwise; in full, with every amount of every rule among them:

    pytest ledger/tests/test_market.py --ledger-events 10000
"""

import sys
import time
from contextlib import ExitStack
from itertools import count
from typing import ClassVar

import pytest
from django.db import connection, transaction
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from psycopg.pq import TransactionStatus

from ledger.chart import AccountCode
from ledger.posting_rules import EventKind
from ledger.services import accounts
from ledger.tests.market import CONTRACTS, Market, Terms
from ledger.tests.market_books import CUSTODY, USERS, unexercised
from ledger.tests.market_run import Run
from ledger.tests.reconciling import damage

ONE = 10**8
SEEDS = (1, 2, 3)
SEEDS_APART = 10**6
EVERY_KIND_FROM = 5000
"""So many entries have some of every kind among them; fewer may lack the rare ones."""

LARGE = "ledger_account, ledger_entry, ledger_line, ledger_head, ledger_total, ledger_gate, ledger_proposal"
"""Tables in which the rows of undone histories would slow the audit of the next."""

STEPS, STEPS_IN_FULL = 30, 100
"""Of a history: in short, and where every amount must come up."""

SETTINGS = settings(
    max_examples=3,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)

users = st.sampled_from(USERS)
pairs = st.permutations(USERS).map(lambda chosen: tuple(chosen[:2]))
contracts = st.sampled_from(CONTRACTS)
assets = st.sampled_from(("USDT", "BTC"))
amounts = st.integers(1, 1000 * ONE)
small = st.integers(1, ONE)
quantities = st.integers(1, 9)
prices = st.integers(80 * ONE, 120 * ONE)
terms = st.builds(Terms, st.booleans(), st.booleans(), st.sampled_from((8, 16)))
chosen_numbers = st.integers(0, 10**6)


class Events(RuleBasedStateMachine):
    """Draws events that the market allows; the books and the model must agree after each."""

    run: ClassVar[Run]

    def __init__(self) -> None:
        super().__init__()
        with ExitStack() as undone:
            undone.enter_context(transaction.atomic())
            undone.callback(transaction.set_rollback, True)
            accounts.forget_ids()
            self.market = Market()
            self._undone = undone.pop_all()
        self.mark = 100 * ONE
        self.run.played.append(self.market)

    def teardown(self) -> None:
        """Export the history if it is the longest, and undo everything."""
        with self._undone:
            if connection.connection.info.transaction_status == TransactionStatus.INTRANS:  # else it has failed
                self.run.export(self.market)

    @initialize(users_funds=st.lists(st.integers(50 * ONE, 5000 * ONE), min_size=4, max_size=4))
    def begin(self, users_funds) -> None:
        self.market.event(EventKind.CAPITAL, 10_000 * ONE)
        self.market.event(EventKind.INSURANCE_TOP_UP, 20 * ONE)
        for user, funds in zip(USERS, users_funds, strict=True):
            self.market.event(EventKind.DEPOSIT, funds, user)
            self.market.event(EventKind.DEPOSIT, 50 * ONE, user, "BTC")

    @invariant()
    def everything_adds_up(self) -> None:
        self.market.check(self.mark)

    # --- money in and out -----------------------------------------------------------------------------
    @rule(user=users, asset=assets, amount=amounts)
    def deposit(self, user, asset, amount) -> None:
        self.market.event(EventKind.DEPOSIT, amount, user, asset)

    @rule(user=users, asset=assets, part=amounts)
    def ask_withdrawal(self, user, asset, part) -> None:
        amount = min(part, self.market.available(user, asset))
        if amount:
            self.market.ask_withdrawal(user, amount, asset)

    @precondition(lambda self: self.market.withdrawals)
    @rule(chosen=chosen_numbers, fee=small, network_fee=small)
    def settle_withdrawal(self, chosen, fee, network_fee) -> None:
        number = one_of(self.market.withdrawals, chosen)
        hold = self.market.withdrawals[number]
        if self.market.in_custody(hold.asset) >= hold.amount + network_fee:
            self.market.settle_withdrawal(number, fee, network_fee)

    @precondition(lambda self: self.market.withdrawals)
    @rule(chosen=chosen_numbers)
    def reject_withdrawal(self, chosen) -> None:
        self.market.reject_withdrawal(one_of(self.market.withdrawals, chosen))

    @rule(amount=amounts, is_payout=st.booleans())
    def capital(self, amount, is_payout) -> None:
        if is_payout and self.market.in_custody() >= amount:
            self.market.event(EventKind.CAPITAL_PAYOUT, amount)
        else:
            self.market.event(EventKind.CAPITAL, amount)

    @rule(amount=small)
    def top_up_the_fund(self, amount) -> None:
        self.market.event(EventKind.INSURANCE_TOP_UP, amount)

    @rule(amount=amounts, network_fee=small, back=st.booleans())
    def move_custody(self, amount, network_fee, back) -> None:
        source, target = reversed(CUSTODY) if back else CUSTODY
        if self.market.in_custody(custody=source) >= amount + network_fee:
            self.market.move_custody(source, target, amount, network_fee)

    @rule(amount=small, kind=st.sampled_from([EventKind.CUSTODY_CHARGE, EventKind.SUSPENSE_PAYMENT]))
    def lose_custody(self, amount, kind) -> None:
        if self.market.in_custody() >= amount:
            self.market.event(kind, amount)

    @rule(amount=amounts, user=users, is_known=st.booleans())
    def unknown_receipt(self, amount, user, is_known) -> None:
        self.market.event(EventKind.SUSPENSE_RECEIPT, amount, suspense="unknown")
        if is_known:
            self.market.event(EventKind.SUSPENSE_CREDIT, amount, user, suspense="unknown")

    # --- orders and spot ------------------------------------------------------------------------------
    @rule(user=users, asset=assets, part=amounts)
    def freeze(self, user, asset, part) -> None:
        amount = min(part, self.market.available(user, asset))
        if amount:
            self.market.freeze(user, amount, asset)

    @rule(user=users)
    def freeze_all(self, user) -> None:
        if self.market.available(user):
            self.market.freeze(user, self.market.available(user))

    @precondition(lambda self: self.market.orders)
    @rule(chosen=chosen_numbers)
    def unfreeze(self, chosen) -> None:
        self.market.unfreeze(one_of(self.market.orders, chosen))

    @rule(user=users, asset=assets, beyond=small)
    def overdraw(self, user, asset, beyond) -> None:
        self.market.overdraw(user, asset, beyond)

    @precondition(lambda self: self.market.last)
    @rule()
    def repeat(self) -> None:
        self.market.repeat()

    @rule(pair=pairs, quantity=small, notional=small, improvement=st.integers(0, ONE), fee=st.integers(0, ONE))
    def spot(self, pair, quantity, notional, improvement, fee) -> None:
        buyer, seller = pair
        can_pay = self.market.available(buyer) >= notional + improvement + fee
        if can_pay and self.market.available(seller, "BTC") >= quantity:
            self.market.spot(buyer, seller, quantity, notional, improvement, fee)

    @rule(user=users, amount=small)
    def rebate(self, user, amount) -> None:
        self.market.event(EventKind.MAKER_REBATE, amount, user)

    @rule(pair=pairs, quantity=small, notional=small)
    def suspend_spot(self, pair, quantity, notional) -> None:
        buyer, seller = pair
        self.market.suspend_spot(buyer, seller, quantity, notional)

    # --- perpetuals -----------------------------------------------------------------------------------
    @rule(pair=pairs, contract=contracts, qty=quantities, price=prices, buyer=terms, seller=terms)
    def match(self, pair, contract, qty, price, buyer, seller) -> None:
        self.market.match(pair, contract, qty, price, buyer, seller)

    @rule(pair=pairs, contract=contracts, qty=quantities, price=prices, buyer=terms, seller=terms)
    def match_and_mark(self, pair, contract, qty, price, buyer, seller) -> None:
        self.mark = price
        self.market.match(pair, contract, qty, price, buyer, seller)

    @rule(user=users, contract=contracts, part=small, is_added=st.booleans())
    def move_margin(self, user, contract, part, is_added) -> None:
        position = self.market.positions[user, contract]
        amount = min(part, self.market.available(user)) if is_added else -min(part, position.margin)
        if amount and position.qty:
            self.market.move_margin(user, contract, amount)

    @rule(contract=contracts, mark=prices, rate=st.integers(-3000, 3000))
    def pay_funding(self, contract, mark, rate) -> None:
        self.market.pay_funding(contract, mark, rate)

    @rule(chosen=chosen_numbers)
    def liquidate(self, chosen) -> None:
        positions = [key for key, position in self.market.positions.items() if position.qty]
        if positions:
            self.market.liquidate(*one_of(positions, chosen))

    @precondition(lambda self: any(position.qty for position in self.market.engine.values()))
    @rule(user=users, part=quantities, price=prices)
    def close_engine(self, user, part, price) -> None:
        for contract, position in list(self.market.engine.items()):
            if position.qty:
                self.market.close_engine(contract, user, min(part, abs(position.qty)), price)

    @precondition(lambda self: any(position.qty for position in self.market.engine.values()))
    @rule(chosen=chosen_numbers)
    def deleverage(self, chosen) -> None:
        other_side = [
            (contract, user)
            for (user, contract), position in self.market.positions.items()
            if position.qty * self.market.engine[contract].qty < 0
        ]
        if other_side:
            self.market.deleverage(*one_of(other_side, chosen))

    @rule(pair=pairs, contract=contracts, qty=quantities, price=prices, moved_to=prices, has_nothing_else=st.booleans())
    def squeeze(self, pair, contract, qty, price, moved_to, has_nothing_else) -> None:
        """Let the price run away from one side of a match, then from the other; each event on the way is checked."""
        winner, loser = pair
        self.match(pair, contract, qty, price, Terms(opens=True), Terms(opens=True))
        self.everything_adds_up()
        if has_nothing_else:
            for user in pair:
                self.freeze_all(user)
        if self.market.positions[loser, contract].qty:
            self.market.liquidate(loser, contract)
            self.everything_adds_up()
        position, engine = self.market.positions[winner, contract], self.market.engine[contract]
        if engine.qty and moved_to > price:
            self.market.close_engine(contract, winner, (abs(engine.qty) + 1) // 2, moved_to)
            self.everything_adds_up()
        if position.qty * engine.qty < 0:
            self.market.deleverage(contract, winner)

    @rule(pair=pairs, contract=contracts, price=prices)
    def suspend_close(self, pair, contract, price) -> None:
        user, other = pair
        if self.market.positions[user, contract].qty:
            self.market.suspend_close(user, other, contract, price)

    # --- debt -----------------------------------------------------------------------------------------
    @rule(user=users, part=amounts, is_insured=st.booleans())
    def forgive(self, user, part, is_insured) -> None:
        amount = min(part, -self.market.has(user, AccountCode.DEBT))
        if is_insured:
            amount = min(amount, self.market.fund())
        if amount:
            self.market.event(EventKind.DEBT_INSURED if is_insured else EventKind.DEBT_WRITE_OFF, amount, user)

    # --- people ---------------------------------------------------------------------------------------
    @rule(user=users, amount=small | small.map(lambda amount: -amount), days_ago=st.none() | st.integers(1, 300))
    def adjust(self, user, amount, days_ago) -> None:
        self.market.adjust(user, amount, days_ago=days_ago)

    @rule(chosen=chosen_numbers)
    def reverse(self, chosen) -> None:
        self.market.reverse(chosen)

    @rule(days_ago=st.integers(1, 300))
    def move_period(self, days_ago) -> None:
        self.market.move_period(days_ago)

    @rule()
    def keep_totals(self) -> None:
        self.market.keep_totals()


def one_of(items, chosen: int):
    """Return one of these, whatever the number."""
    listed = list(items)
    return listed[chosen % len(listed)]


def play(run: Run, first: int, events: int) -> None:
    """Play histories from a first seed on, each undone at its end, until so many entries were posted.

    Each is a transaction of its own, not a part of the test's, so that the rows of undone ones can be vacuumed away.
    """
    chosen = settings(SETTINGS, stateful_step_count=STEPS_IN_FULL if events >= EVERY_KIND_FROM else STEPS)
    for number in count():
        machine = seed(first * SEEDS_APART + number)(type("Events", (Events,), {"run": run}))
        run_state_machine_as_test(machine, settings=chosen)
        with connection.cursor() as cursor:
            cursor.execute(f"VACUUM {LARGE}")
        if run.kinds.total() >= events:
            return


@pytest.mark.parametrize("first", SEEDS)
@pytest.mark.django_db(transaction=True)
def test_after_every_event_all_identities_hold(request, capsys, tmp_path, first) -> None:
    events = request.config.getoption("--ledger-events")
    run = Run(tmp_path)
    began = time.perf_counter()

    play(run, first, events)

    run.check_exported()
    if events >= EVERY_KIND_FROM:
        with capsys.disabled():
            sys.stderr.write(run.told(first, time.perf_counter() - began))
        assert unexercised(run.played) == set()


@pytest.mark.django_db
def test_a_rule_that_was_never_exercised_is_named() -> None:
    market = Market()
    everything = unexercised([market])

    market.event(EventKind.CAPITAL, ONE)

    assert {EventKind(kind) for kind, _ in everything} == set(EventKind)
    assert everything - unexercised([market]) == {(EventKind.CAPITAL, "amount")}


@pytest.mark.django_db
def test_a_quantum_that_is_off_anywhere_is_noticed() -> None:
    market = Market()
    market.event(EventKind.DEPOSIT, 100 * ONE, USERS[0])
    market.match(USERS[:2], CONTRACTS[0], 1, ONE, Terms(), Terms())

    market.positions[USERS[0], CONTRACTS[0]].cost += 1
    with pytest.raises(AssertionError, match="R2"):
        market.check(ONE)
    damage("UPDATE ledger_account SET balance = balance + 0.00000001 WHERE code = '1110'")
    with pytest.raises(AssertionError, match="balances equal the sum of their lines"):
        market.check_books()
