"""Worked examples: each event with its numbers, as it stands in the user's journal and in the platform's."""

import re
from collections import defaultdict
from collections.abc import Callable
from decimal import Decimal

import pytest
from django.db import connection

from exchange.kernel.errors import InvariantViolationError
from ledger import posting_rules
from ledger.chart import CHART, AccountCode, Face
from ledger.entries import EntryDraft
from ledger.models import JournalEntry
from ledger.posting_rules import RULES, WITHOUT_RULE, EventKind
from ledger.services import journal
from ledger.tests import worked
from ledger.tests.factories import NOW, event, freeze, spot_fill
from ledger.tests.fixtures import make_asset

Amounts = dict[str, Decimal]


def _opened(amounts: Amounts) -> Amounts:
    """Make hold share and credit of an opening fit the rest."""
    over = amounts["drawn"] + amounts["borrowed"] - amounts["margin"] - amounts["fee"]
    return amounts | {"hold_share": max(-over, Decimal(0)), "credited": max(over, Decimal(0))}


def _closed(amounts: Amounts) -> Amounts:
    """Make margin and credit of a close fit the rest."""
    paid_in = sum(amounts[name] for name in ("hold_share", "drawn", "borrowed", "profit"))
    over = paid_in - amounts["loss"] - amounts["fee"]
    return amounts | {"margin": max(-over, Decimal(0)), "credited": max(over, Decimal(0))}


def _traded(amounts: Amounts) -> Amounts:
    """Make hold share and fees of a spot fill fit the rest."""
    notional = amounts["notional"] + amounts["seller_fee"]
    return amounts | {
        "notional": notional,
        "hold_share": notional + amounts["buyer_fee"] + amounts["improvement"],
        "total_fee": amounts["buyer_fee"] + amounts["seller_fee"],
    }


FITTING: dict[EventKind, Callable[[Amounts], Amounts]] = {
    **dict.fromkeys(worked.OPENS, _opened),
    **dict.fromkeys(worked.CLOSES, _closed),
    EventKind.SPOT_FILL: _traded,
    EventKind.WITHDRAWAL_SETTLE: lambda amounts: amounts | {"amount": amounts["amount"] + amounts["fee"]},
}
"""How the amounts of a rule depend on each other; elsewhere each is free."""

pytestmark = pytest.mark.usefixtures("books")


def _view(name: str, entry_id: int) -> list[tuple]:
    """Return the lines of an entry in one of the journals."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT account, asset, amount FROM {name} WHERE entry_id = %s ORDER BY n", [entry_id])
        return [(account, asset, float(amount)) for account, asset, amount in cursor.fetchall()]


def _post(draft: EntryDraft) -> tuple[list[tuple], list[tuple]]:
    """Post one entry; return it as the user's journal and as the platform's journal show it."""
    [entry] = journal.post([draft], NOW)
    return _view("user_journal", entry.id), _view("platform_journal", entry.id)


def test_a_deposit_is_the_users_asset_and_the_platforms_liability(customer) -> None:
    alice = customer("alice", USDT=1)

    user, platform = _post(event(EventKind.DEPOSIT, "d", alice.id, 100))

    assert user == [("wallet.available", "USDT", 100), ("external", "USDT", -100)]
    assert platform == [("user.available", "USDT", -100), ("custody", "USDT", 100)]


def test_freezing_and_unfreezing_move_funds_between_wallets(customer) -> None:
    alice = customer("alice", USDT=100)

    user, platform = _post(freeze("f", alice.id, 30))
    back, _ = _post(event(EventKind.ORDER_UNFREEZE, "u", alice.id, 12))

    assert user == [("wallet.order_hold", "USDT", 30), ("wallet.available", "USDT", -30)]
    assert platform == [("user.order_hold", "USDT", -30), ("user.available", "USDT", 30)]
    assert back == [("wallet.available", "USDT", 12), ("wallet.order_hold", "USDT", -12)]
    assert alice.balances("USDT") == {"available": Decimal(82), "order_hold": Decimal(18)}


def test_a_spot_fill_is_one_entry_in_which_the_two_legs_meet(customer) -> None:
    """0.5 BTC at 90,000 for a buyer who held 46,009.2 (limit 92,000); fees 9 and 9."""
    alice, bob = customer("alice", USDT=50_000), customer("bob", BTC=1)
    journal.post([freeze("a", alice.id, "46009.2"), freeze("b", bob.id, "0.5", "BTC")], NOW)

    user, platform = _post(
        spot_fill(
            "trade:1",
            alice.id,
            bob.id,
            hold_share="46009.2",
            improvement="1000.2",
            notional=45000,
            quantity="0.5",
            buyer_fee=9,
            seller_fee=9,
            total_fee=18,
        )
    )

    assert user == [
        ("wallet.order_hold", "USDT", -46009.2),
        ("wallet.available", "USDT", 1000.2),
        ("cost.fee", "USDT", 9),
        ("conversion", "USDT", 45000),
        ("wallet.available", "BTC", 0.5),
        ("conversion", "BTC", -0.5),
        ("wallet.order_hold", "BTC", -0.5),
        ("conversion", "BTC", 0.5),
        ("wallet.available", "USDT", 44991),
        ("cost.fee", "USDT", 9),
        ("conversion", "USDT", -45000),
    ]
    assert platform == [
        ("user.order_hold", "USDT", 46009.2),
        ("user.available", "USDT", -1000.2),
        ("user.available", "BTC", -0.5),
        ("user.order_hold", "BTC", 0.5),
        ("user.available", "USDT", -44991),
        ("revenue.trading_fee", "USDT", -18),
    ]
    assert alice.balances("USDT") == {"available": Decimal(4991), "order_hold": Decimal(0)}
    assert alice.balance("BTC") == Decimal("0.5")
    assert bob.balance("USDT") == Decimal(44991)
    assert bob.balances("BTC") == {"available": Decimal("0.5"), "order_hold": Decimal(0)}


def test_a_withdrawal_pays_out_less_the_fee_and_the_network_costs_the_platform(customer) -> None:
    """100 asked, fee 2, network 0.5: 98 leave, the platform keeps 1.5."""
    alice = customer("alice", USDT=500)
    hold_user, hold_platform = _post(event(EventKind.WITHDRAWAL_HOLD, "h", alice.id, 100))

    user, platform = _post(
        posting_rules.draft(
            EventKind.WITHDRAWAL_SETTLE,
            key="s",
            effective_at=NOW,
            trace="t",
            roles={"user": alice.id},
            assets={"asset": "USDT"},
            amounts={"amount": Decimal(100), "fee": Decimal(2), "network_fee": Decimal("0.5")},
            parts={"custody": "main"},
        )
    )

    assert hold_user == [("wallet.withdraw_hold", "USDT", 100), ("wallet.available", "USDT", -100)]
    assert hold_platform == [("user.withdraw_hold", "USDT", -100), ("user.available", "USDT", 100)]
    assert user == [
        ("wallet.withdraw_hold", "USDT", -100),
        ("external", "USDT", 98),
        ("cost.withdraw_fee", "USDT", 2),
    ]
    assert platform == [
        ("user.withdraw_hold", "USDT", 100),
        ("custody", "USDT", -98),
        ("revenue.withdraw_fee", "USDT", -2),
        ("expense.network", "USDT", 0.5),
        ("custody", "USDT", -0.5),
    ]


def test_a_rejected_withdrawal_gives_the_funds_back(customer) -> None:
    alice = customer("alice", USDT=500)
    _post(event(EventKind.WITHDRAWAL_HOLD, "h", alice.id, 100))

    user, platform = _post(event(EventKind.WITHDRAWAL_REJECT, "r", alice.id, 100))

    assert user == [("wallet.available", "USDT", 100), ("wallet.withdraw_hold", "USDT", -100)]
    assert platform == [("user.available", "USDT", -100), ("user.withdraw_hold", "USDT", 100)]
    assert alice.balance("USDT") == 500


def test_a_maker_rebate_is_the_users_gain_and_the_platforms_expense(customer) -> None:
    alice = customer("alice", USDT=1)

    user, platform = _post(event(EventKind.MAKER_REBATE, "m", alice.id, "0.25"))

    assert user == [("wallet.available", "USDT", 0.25), ("gain.rebate", "USDT", -0.25)]
    assert platform == [("user.available", "USDT", -0.25), ("expense.maker_rebate", "USDT", 0.25)]


def _owe(owner_id: int, amount: int) -> EntryDraft:
    """Draft a loss beyond margin that became debt: cost and debt of the user, receivable and clearing."""
    return event(EventKind.DEBT_CHARGE, "owe", owner_id, amount)


def test_debt_stands_as_a_receivable_and_is_repaid_from_available(customer) -> None:
    alice = customer("alice", USDT=20)
    owed_user, owed_platform = _post(_owe(alice.id, 30))

    user, platform = _post(event(EventKind.DEBT_REPAYMENT, "p", alice.id, 20))

    assert owed_user == [("cost.realised", "USDT", 30), ("debt", "USDT", -30)]
    assert owed_platform == [("receivable", "USDT", 30), ("clearing", "USDT", -30)]
    assert user == [("debt", "USDT", 20), ("wallet.available", "USDT", -20)]
    assert platform == [("receivable", "USDT", -20), ("user.available", "USDT", 20)]


def test_debt_written_off_is_the_users_gain_and_a_bad_debt(customer) -> None:
    alice = customer("alice")
    make_asset("USDT")
    _post(_owe(alice.id, 30))

    user, platform = _post(event(EventKind.DEBT_WRITE_OFF, "w", alice.id, 30))

    assert user == [("debt", "USDT", 30), ("gain.debt_forgiven", "USDT", -30)]
    assert platform == [("receivable", "USDT", -30), ("expense.bad_debt", "USDT", 30)]


def test_capital_fills_custody_and_insurance(customer) -> None:
    customer("alice", USDT=1)

    _, capital = _post(event(EventKind.CAPITAL, "c", None, 1000))
    user, insurance = _post(event(EventKind.INSURANCE_TOP_UP, "i", None, 400))

    assert capital == [("custody", "USDT", 1000), ("capital", "USDT", -1000)]
    assert user == []
    assert insurance == [("capital", "USDT", 400), ("insurance", "USDT", -400)]


def test_every_event_has_a_rule_and_every_rule_parses() -> None:
    assert set(RULES) | WITHOUT_RULE == set(EventKind)
    assert set(RULES) & WITHOUT_RULE == set()
    assert all(CHART[code].code == code for code in AccountCode)


def test_a_kind_without_rule_cannot_be_drafted_from_amounts() -> None:
    with pytest.raises(KeyError):
        event(EventKind.MANUAL, "m", 1, 5)


@pytest.mark.parametrize("kind", RULES)
def test_whatever_the_amounts_a_rule_that_balances_once_balances_always(kind) -> None:
    """Amounts are powers of 7: whatever a line forgets or counts twice shows in the sum."""
    names = sorted({name for line in RULES[kind] for name in re.findall("[a-z_]+", line.amount)})
    values = {name: Decimal(7) ** place for place, name in enumerate(names)}
    fitting = FITTING.get(kind, dict)

    draft = posting_rules.draft(
        kind,
        key="k",
        effective_at=NOW,
        trace="t",
        roles={"user": 1, "buyer": 2, "seller": 3},
        assets={"asset": "USDT", "base": "BTC", "quote": "USDT"},
        amounts=fitting(values),
    )

    user: dict[tuple, Decimal] = defaultdict(Decimal)
    platform: dict[str, Decimal] = defaultdict(Decimal)
    for key, amount in draft.lines:
        face = CHART[AccountCode(key.code)].face
        if face != Face.PLATFORM:
            user[key.owner_id, key.asset] += amount
        if face != Face.USER:
            platform[key.asset] += -amount if face == Face.BOTH else amount
    assert set(user.values()) | set(platform.values()) == {Decimal(0)}


def test_a_credit_repays_debt_first_in_the_same_entry(customer) -> None:
    alice = customer("alice")
    make_asset("USDT")
    _post(_owe(alice.id, 30))

    alice.deposit(USDT=50)

    assert _view("user_journal", JournalEntry.objects.latest("id").pk) == [
        ("debt", "USDT", 30),
        ("wallet.available", "USDT", 20),
        ("external", "USDT", -50),
    ]
    assert alice.balance("USDT") == 20


def test_a_negative_amount_is_a_bug_not_a_turned_entry() -> None:
    with pytest.raises(InvariantViolationError, match="amount is -5"):
        event(EventKind.DEPOSIT, "d", 1, -5)


def test_a_fee_above_what_it_is_taken_from_is_a_bug(customer) -> None:
    alice = customer("alice", USDT=500)
    _post(event(EventKind.WITHDRAWAL_HOLD, "h", alice.id, 1))

    with pytest.raises(InvariantViolationError, match="amount-fee"):
        posting_rules.draft(
            EventKind.WITHDRAWAL_SETTLE,
            key="s",
            effective_at=NOW,
            trace="t",
            roles={"user": alice.id},
            assets={"asset": "USDT"},
            amounts={"amount": Decimal(1), "fee": Decimal(2), "network_fee": Decimal(0)},
        )
