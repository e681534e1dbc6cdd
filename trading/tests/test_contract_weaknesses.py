"""The weaknesses that systems of this kind are known for: one test for each, which shows that this one has it not."""

from decimal import Decimal
from pathlib import Path

import pytest

from exchange import database
from exchange.kernel.clock import utc_now
from exchange.kernel.errors import DomainError
from ledger import selectors as ledger_selectors
from ledger.chart import AccountCode
from ledger.models import Account, JournalEntry
from ledger.tests.factories import NOW
from ledger.transfers.errors import InsufficientBalanceError
from ledger.transfers.tests.conftest import Desk as BackOffice
from matching_worker.protocol import trade_id
from trading import audit, errors
from trading.models import Order, OrderPart, Position, PrivateEvent, Trade
from trading.services import orders
from trading.services.requests import PlaceOrder
from trading.tests.contracts import SYMBOL, desk, make_contract, position, set_mark

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books", "audited")]


_STEPS = "SELECT version, quantity, open_cost, happened_at FROM position_events WHERE user_id = %s ORDER BY version"


@pytest.fixture
def audited():
    """Audit the whole road after each test."""
    yield
    assert [item for item in audit.invariants() if not item.ok] == []


@pytest.fixture
def maker(customer):
    """Whoever trades with the others, and has enough for everything."""
    return customer("maker", USDT=1_000_000)


def kinds(owner) -> list[str]:
    """Return what kinds of entries a trader's fills made, in order."""
    entries = JournalEntry.objects.filter(key__startswith="trade:", lines__account__owner_id=owner.id)
    return list(entries.distinct().order_by("id").values_list("kind", flat=True))


def steps(owner) -> list[tuple]:
    """Return a position's history: version, quantity, open cost, moment."""
    [rows] = database.fetch((_STEPS, (owner.id,)))
    return rows


def numbers(*values: int | Decimal) -> list[Decimal]:
    """Return amounts, to compare with others."""
    return [Decimal(value) for value in values]


def debt(owner) -> Decimal:
    """Return what a trader owes."""
    return -ledger_selectors.wallets(owner.id)["USDT"].get(AccountCode.DEBT, Decimal(0))


def available(owner) -> Decimal:
    """Return what a trader may draw on."""
    return owner.balances("USDT")["available"]


def test_funds_cannot_be_withdrawn_while_a_resting_order_has_lost_its_reservation(customer, maker, tmp_path) -> None:
    alice = customer("alice", USDT=200)
    make_contract()
    office = BackOffice()
    with desk(tmp_path) as at:
        at.trade(alice, maker, 10, 100)
        far = at.order(alice, "sell", 10, 180)
        at.order(alice, "sell", 10, 100)
        at.order(maker, "buy", 10, 100)
        at.settle()

        assert OrderPart.objects.get(order_id=far.id, kind="REDUCE").state == "STOLEN"
        with pytest.raises(InsufficientBalanceError):
            office.request(alice, 21)
        office.request(alice, 20)
        at.order(maker, "buy", 10, 180)
        at.settle()

    assert position(alice) == (-10, Decimal(-1800), Decimal(180))
    assert debt(alice) == 0


def test_a_fill_far_from_the_mark_hands_no_collateral_to_an_accomplice(customer, tmp_path: Path) -> None:
    victim, accomplice, market = customer("v", USDT=980), customer("a", USDT=1_000), customer("m", USDT=10_000)
    make_contract()
    with desk(tmp_path) as at:
        at.order(accomplice, "sell", 10, 180)
        [refusal] = at.try_order(victim, "buy", 11, 180)
        at.order(victim, "buy", 10, 180)
        at.settle()
        assert getattr(refusal, "name", "") == "INSUFFICIENT_FUNDS"
        assert position(victim) == (10, Decimal(1800), Decimal(980))

        at.trade(accomplice, market, 10, 100)
        at.trade(market, victim, 10, 100)

    assert numbers(available(accomplice), available(victim), available(market)) == numbers(1_800, 180, 10_000)
    assert debt(victim) == 0


def test_a_close_cannot_be_priced_beyond_bankruptcy_unless_available_pays_for_it(customer, maker, tmp_path) -> None:
    poor, rich = customer("poor", USDT=100), customer("rich", USDT=1_000)
    make_contract()
    with desk(tmp_path) as at:
        at.trade(poor, maker, 10, 100)
        at.trade(rich, maker, 10, 100)
        bounded, held = at.order(poor, "sell", 10, 80), at.order(rich, "sell", 10, 80)
        at.settle()

        assert (bounded.price, bounded.hold_remaining) == (91, 0)
        assert (held.price, held.hold_remaining.quantize(Decimal("0.01"))) == (80, 100)
        at.order(maker, "buy", 20, 80)
        at.settle()

    assert (position(poor)[0], position(rich)[0]) == (10, 0)
    assert numbers(available(poor), available(rich), debt(rich)) == numbers(0, 800, 0)


def test_two_updates_of_one_position_in_one_batch_both_count(customer, maker, tmp_path: Path) -> None:
    alice = customer("alice", USDT=1_000)
    make_contract()
    with desk(tmp_path) as at:
        at.order(maker, "sell", 3, 100)
        at.order(maker, "sell", 4, 101)
        at.order(alice, "buy", 3, 100)
        at.order(alice, "buy", 4, 101)
        assert at.shard.step(now=utc_now()) > 4

    row = Position.objects.get(user_id=alice.id)
    assert (row.quantity, row.open_cost, row.version) == (7, 704, 2)
    assert [step[:3] for step in steps(alice)] == [(1, 3, 300), (2, 4, 404)]


def test_both_sides_of_a_trade_may_reverse(customer, maker, tmp_path: Path) -> None:
    alice = customer("alice", USDT=1_000)
    make_contract()
    with desk(tmp_path) as at:
        at.trade(alice, maker, 10, 100)
        at.trade(maker, alice, 25, 110)

    assert position(alice) == (-15, Decimal(-1650), Decimal(165))
    assert position(maker) == (15, Decimal(1650), Decimal(315))  # 165, and 150 that it lost at the mark already
    assert kinds(alice) == kinds(maker) == ["OPEN_FILL", "FLIP_CLOSE", "FLIP_OPEN"]
    assert numbers(available(alice), available(maker)) == numbers(1_100 - 165, 999_900 - 315)


def test_a_sell_filled_above_its_limit_takes_margin_from_available_and_never_from_debt(
    customer, maker, tmp_path
) -> None:
    poor, rich = customer("poor", USDT=100), customer("rich", USDT=1_000)
    make_contract()
    with desk(tmp_path) as at:
        at.order(maker, "buy", 20, 120)
        at.order(poor, "sell", 10, 100)
        at.order(rich, "sell", 10, 100)
        at.settle()

    assert position(rich) == (-10, Decimal(-1200), Decimal(120))
    assert position(poor) == (-10, Decimal(-1200), Decimal(100))
    assert Position.objects.get(user_id=poor.id).margin_missing == 20
    assert numbers(available(poor), debt(poor), available(rich)) == numbers(0, 0, 880)


def test_a_market_buy_above_the_mark_holds_and_puts_up_what_it_loses_at_once(customer, maker, tmp_path: Path) -> None:
    alice = customer("alice", USDT=1_000)
    make_contract()
    with desk(tmp_path) as at:
        at.order(maker, "sell", 10, 103)
        order = at.order(alice, "buy", 10, None)
        worst = order.worst_price
        assert worst > 103
        assert order.hold_remaining == worst * 10 / 10 + (worst - 100) * 10
        at.settle()

    assert position(alice) == (10, Decimal(1030), Decimal(103 + 30))
    assert alice.balances("USDT") == {"available": 867, "order_hold": 0}


def test_a_part_of_a_reversal_frees_its_own_share_and_no_more(customer, maker, tmp_path: Path) -> None:
    alice = customer("alice", USDT=200)
    make_contract()
    with desk(tmp_path) as at:
        at.trade(alice, maker, 10, 100)
        order = at.order(alice, "sell", 15, 100)
        seen = []
        for quantity in (4, 5, 3, 3):
            at.order(maker, "buy", quantity, 100)
            at.settle()
            held = Order.objects.get(id=order.id).hold_remaining
            seen.append(numbers(position(alice)[0], position(alice)[2], held, available(alice)))

    assert seen == [[6, 60, 50, 90], [1, 10, 50, 140], [-2, 20, 30, 150], [-5, 50, 0, 150]]


def test_no_reservation_is_left_after_a_flip(customer, maker, tmp_path: Path) -> None:
    alice = customer("alice", USDT=10_000)
    make_contract()
    with desk(tmp_path) as at:
        at.trade(alice, maker, 10, 100)
        at.order(alice, "sell", 4, 150)
        at.order(alice, "sell", 5, 140)
        at.settle()
        assert Position.objects.get(user_id=alice.id).reserved == 9
        at.trade(maker, alice, 20, 100)

    row = Position.objects.get(user_id=alice.id)
    assert (row.quantity, row.reserved) == (-10, 0)
    parts = OrderPart.objects.filter(user_id=alice.id, kind="REDUCE")
    assert not parts.filter(state="TRIED").exists()
    assert not parts.exclude(quantity_left=0).exists()


def test_a_retry_with_another_body_is_refused_and_reserves_nothing(customer, maker, tmp_path: Path) -> None:
    alice = customer("alice", USDT=1_000)
    make_contract()

    def sell(quantity: int, body: bytes) -> Order | DomainError:
        request = PlaceOrder(
            SYMBOL, "sell", "limit", Decimal(quantity), Decimal(120), client_order_id="a", body_hash=body
        )
        return orders.place(alice.id, [request], now=utc_now())[0]

    with desk(tmp_path) as at:
        at.trade(alice, maker, 10, 100)
        first = sell(4, b"one")
        again, other = sell(4, b"one"), sell(5, b"two")
        at.settle()

    assert isinstance(first, Order)
    assert isinstance(again, Order)
    assert (again.id, again.repeated) == (first.id, True)
    assert isinstance(other, errors.DuplicateClientOrderIdError)
    assert Position.objects.get(user_id=alice.id).reserved == 4


def test_profit_can_be_withdrawn_as_soon_as_it_is_realised(customer, maker, tmp_path: Path) -> None:
    alice = customer("alice", USDT=100)
    make_contract()
    office = BackOffice()
    with desk(tmp_path) as at:
        at.trade(alice, maker, 10, 100)
        at.trade(maker, alice, 10, 150)
        assert available(alice) == 600
        office.request(alice, 600)

    assert available(alice) == 0
    clearing = Account.objects.get(code=AccountCode.CLEARING, sub=SYMBOL)
    assert clearing.balance == 0


def test_a_loss_larger_than_margin_takes_hold_and_available_and_then_stands_as_debt(customer, maker, tmp_path) -> None:
    alice = customer("alice", USDT=196)
    make_contract(mark="60")
    with desk(tmp_path) as at:
        at.order(maker, "buy", 12, 60)
        at.order(alice, "sell", 12, 60)
        set_mark("95")
        at.order(maker, "sell", 13, 95)
        order = at.order(alice, "buy", 13, 95)  # the sale is not settled: this one is meant to open
        assert (order.intent, order.hold_remaining) == ("increase", Decimal("123.5"))
        at.settle()
        [refusal] = at.try_order(alice, "buy", 1, 95)

    assert debt(alice) == Decimal(12 * 35) - 72 - 114 - Decimal("0.5")
    assert alice.balances("USDT") == {"available": 0, "order_hold": 0}
    assert position(alice) == (1, Decimal(95), Decimal("9.5"))
    assert isinstance(refusal, errors.InDebtError)


def test_two_instruments_never_share_a_trade_id(customer, maker, tmp_path: Path) -> None:
    alice = customer("alice", USDT=10_000)
    make_contract()
    make_contract("ETH-PERP")
    with desk(tmp_path) as at:
        for symbol in (SYMBOL, "ETH-PERP", SYMBOL):
            at.order(maker, "sell", 1, 100, symbol=symbol)
            at.order(alice, "buy", 1, 100, symbol=symbol)
        at.settle()

    ids = list(Trade.objects.order_by("id").values_list("id", flat=True))
    assert len(set(ids)) == 3
    assert JournalEntry.objects.filter(kind="OPEN_FILL").count() == 6
    assert list(Trade.objects.order_by("id").values_list("symbol", "number")) == [
        (SYMBOL, 1),
        ("ETH-PERP", 1),
        (SYMBOL, 2),
    ]
    assert len({trade_id(epoch, shard, 1) for epoch in range(4) for shard in range(4)}) == 16


def test_what_happens_to_a_position_within_one_instant_is_told_apart_by_its_version(customer, maker, tmp_path) -> None:
    alice = customer("alice", USDT=10_000)
    make_contract()
    with desk(tmp_path) as at:
        for quantity, price in ((3, 100), (4, 101)):
            for owner, side in ((maker, "sell"), (alice, "buy")):
                request = PlaceOrder(SYMBOL, side, "limit", Decimal(quantity), Decimal(price))
                [order] = orders.place(owner.id, [request], now=NOW)
                assert isinstance(order, Order)
            at.settle()

    first, second = steps(alice)
    assert (first[:3], second[:3]) == ((1, 3, 300), (2, 4, 404))
    assert first[3] == second[3]
    told = PrivateEvent.objects.filter(user_id=alice.id, channel="positions").order_by("sequence")
    assert [(one.payload["version"], one.payload["quantity"]) for one in told] == [(1, "3"), (2, "7")]
