"""Random traders on spot and perpetual markets, with worker restarts between any two steps: every invariant holds.

In full `--machine-examples 100`.
"""

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from exchange.kernel.clock import utc_now
from exchange.kernel.errors import DomainError
from ledger.services import accounts
from marketdata.models import Instrument
from matching_worker.shard import Batch, Shard
from risk.models import ReviewLimit
from trading import audit
from trading.margin_models import MarginDirection
from trading.models import OPEN_STATUSES, Command, Order, OrderPart, OrderStatus, Outbox, Position, Trade
from trading.services import cancel_all, lease, orders, position_changes, review, settlement, sweeper
from trading.services.position_changes import MarginChange
from trading.services.requests import AmendOrder, CancelOrder, OrderRequest, PlaceOrder, ReduceOrder, Submission
from trading.sweep_models import HoldSweep
from trading.tests.contracts import make_contract, set_mark
from trading.tests.road import make_asset, make_instrument, require_told_books

pytestmark = pytest.mark.django_db

STEPS = 40
TRADERS = 3
REVIEW_ABOVE = 500
"""No order but those of `wait_for_a_person` is worth so much."""
PERP, SPOT = "ODD-PERP", "ODDUSDT"

SIDES = st.sampled_from(["buy", "sell"])
PRICES = st.integers(92, 108).map(Decimal)
LOTS = st.integers(1, 12).map(Decimal)
WHO = st.integers(0, TRADERS - 1)
KINDS: dict[str, dict[str, Any]] = {
    "limit": {},
    "ioc": {"time_in_force": "ioc"},
    "fok": {"time_in_force": "fok"},
    "post_only": {"post_only": True},
    "iceberg": {"display_quantity": Decimal(1)},
    "cancel_maker": {"self_trade_prevention": "cancel_maker"},
    "decrement": {"self_trade_prevention": "decrement"},
    "stop": {"type": "stop", "time_in_force": "ioc"},
    "stop_limit": {"type": "stop_limit"},
    "take_profit": {"type": "take_profit", "time_in_force": "ioc", "trigger_by": "mark"},
    "take_profit_limit": {"type": "take_profit_limit", "trigger_by": "mark"},
    "trailing_stop": {"type": "trailing_stop", "callback_rate": Decimal("0.02"), "time_in_force": "ioc"},
    "market": {"type": "market", "time_in_force": "ioc"},
    "reduce_only": {"reduce_only": True},
    "close": {"type": "market", "time_in_force": "ioc", "close_position": True},
    "stop_close": {"type": "stop", "time_in_force": "ioc", "close_position": True, "trigger_by": "mark"},
}
ON_SPOT = sorted(set(KINDS) - {"reduce_only", "close", "stop_close"})
SEEN: Counter[str] = Counter()


def _order(symbol: str, kind: str, side: str, lots: Decimal, price: Decimal) -> PlaceOrder:
    """Return an order of one of the kinds."""
    fields = {"type": "limit", **KINDS[kind]}
    order_type = fields.pop("type")
    if order_type in {"limit", "stop_limit", "take_profit_limit"}:
        fields["price"] = price
    if order_type in {"stop", "stop_limit", "take_profit", "take_profit_limit"}:
        fields["stop_price"] = price
    return PlaceOrder(symbol, side, order_type, None if fields.get("close_position") else lots, **fields)


class Exchange(RuleBasedStateMachine):
    """An exchange with a spot market and a contract; its books are thrown away at the end."""

    customer: Any
    """Set by the test: makes traders."""

    @initialize(funds=st.sampled_from([60, 1_000, 100_000]))
    def open(self, funds: int) -> None:
        """Begin with traders who have hardly anything, enough, or plenty."""
        self.around = transaction.atomic()
        self.around.__enter__()
        accounts.forget_ids()
        Instrument.revision += 1
        self.folder = TemporaryDirectory()
        odd, usdt = make_asset("ODD", 3), make_asset("USDT", 6)
        fees: dict[str, Any] = {"maker_fee_rate": Decimal("0.00012345"), "taker_fee_rate": Decimal("0.00077777")}
        make_contract(PERP, base=odd, quote=usdt, contract_size=Decimal("0.01"), min_notional=Decimal(0), **fees)
        market = {"base": odd, "quote": usdt, "reference_price": Decimal(100), "min_notional": Decimal(0)}
        make_instrument(
            SPOT, tick_size=Decimal(1), lot_size=Decimal("0.001"), band_rate=Decimal("0.9"), **market, **fees
        )
        ReviewLimit.objects.create(tier_id="STANDARD", asset_id="USDT", notional=REVIEW_ABOVE)
        self.traders = [self.customer(f"trader-{number}", USDT=funds, ODD=1).id for number in range(TRADERS)]
        self.placed: list[tuple[int, int]] = []
        self.last: Batch | None = None
        self.shard = self._worker()

    # --- traders ---------------------------------------------------------------------------------------------
    @rule(wanted=st.lists(st.tuples(WHO, st.sampled_from(sorted(KINDS)), SIDES, LOTS, PRICES), min_size=1, max_size=6))
    def trade_contract(self, wanted: list[tuple[int, str, str, Decimal, Decimal]]) -> None:
        for who, kind, side, lots, price in wanted:
            self._submit(who, _order(PERP, kind, side, lots, price), f"contract {kind}")

    @rule(wanted=st.lists(st.tuples(WHO, SIDES, LOTS, PRICES), min_size=1, max_size=6))
    def trade_contract_plainly(self, wanted: list[tuple[int, str, Decimal, Decimal]]) -> None:
        for who, side, lots, price in wanted:
            self._submit(who, _order(PERP, "limit", side, lots, price), "contract limit")

    @rule(buyer=WHO, seller=WHO, lots=LOTS, price=PRICES, at_once=st.booleans())
    def meet(self, buyer: int, seller: int, lots: Decimal, price: Decimal, at_once: bool) -> None:  # noqa: FBT001
        self._submit(seller, _order(PERP, "limit", "sell", lots, price), "contract limit")
        self._submit(buyer, _order(PERP, "limit", "buy", lots, price), "contract limit")
        if at_once:
            self._work()

    @rule(who=WHO, kind=st.sampled_from(ON_SPOT), side=SIDES, lots=LOTS, price=PRICES)
    def trade_spot(self, who: int, kind: str, side: str, lots: Decimal, price: Decimal) -> None:
        request = _order(SPOT, kind, side, lots / 1000, price)
        if request.display_quantity is not None:
            request = PlaceOrder(SPOT, side, "limit", lots / 1000, price, display_quantity=Decimal("0.001"))
        self._submit(who, request, f"spot {kind}")

    @precondition(lambda self: bool(getattr(self, "placed", [])))
    @rule(which=st.integers(0, 10), change=st.sampled_from(["cancel", "reduce", "amend"]), lots=LOTS, price=PRICES)
    def change(self, which: int, change: str, lots: Decimal, price: Decimal) -> None:
        owner, order_id = self.placed[-1 - which % len(self.placed)]
        unit = Order.objects.get(id=order_id).instrument_id == self._spec_id(SPOT)
        quantity = lots / 1000 if unit else lots
        requests: dict[str, OrderRequest] = {
            "cancel": CancelOrder(order_id),
            "reduce": ReduceOrder(order_id, quantity),
            "amend": AmendOrder(order_id, price=price, quantity=quantity),
        }
        self._submit(self.traders.index(owner), requests[change], change)

    @rule(who=WHO)
    def cancel_everything(self, who: int) -> None:
        SEEN["cancelled all"] += cancel_all.of_trader(self.traders[who], now=utc_now())

    @rule(who=WHO, leverage=st.integers(1, 40))
    def choose_leverage(self, who: int, leverage: int) -> None:
        self._move("leverage", lambda: position_changes.set_leverage(self.traders[who], PERP, leverage, now=utc_now()))

    @rule(who=WHO, direction=st.sampled_from(list(MarginDirection)), amount=LOTS)
    def move_margin(self, who: int, direction: str, amount: Decimal) -> None:
        wanted = MarginChange(PERP, direction, amount / 10)
        self._move("margin", lambda: position_changes.change_margin(self.traders[who], wanted, now=utc_now()))

    @rule(who=WHO, side=SIDES, price=PRICES)
    def wait_for_a_person(self, who: int, side: str, price: Decimal) -> None:
        """Place an order that is held back for review, with funds and a reservation of its own."""
        until = utc_now() + timedelta(days=1)
        request = PlaceOrder(PERP, side, "limit", Decimal(1000), price, "gtd", expires_at=until)
        self._submit(who, request, "held for review")

    @rule()
    def approve(self) -> None:
        """Let a person let onto the book what waits."""
        waiting = Order.objects.filter(status=OrderStatus.PENDING_REVIEW)
        SEEN["approved"] += len(review.approve(list(waiting.values_list("id", flat=True)), now=utc_now()))

    @rule(whole=st.booleans(), is_late=st.booleans())
    def sweep(self, whole: bool, is_late: bool) -> None:  # noqa: FBT001
        """Let the sweeper look, by a clock by which all that is under way is overdue: what lives stays as it is."""
        waiting = set(Order.objects.filter(status=OrderStatus.PENDING_REVIEW).values_list("id", flat=True))
        if is_late:
            Order.objects.filter(id__in=waiting).update(expires_at=utc_now())
        before = self._living(waiting)
        for item in sweeper.sweep(now=utc_now() + timedelta(hours=1), whole=whole):
            assert item.step in ({"VOID"} if item.order_id in waiting else {"NOTE", "WAIT", "CLOSE"}), item
            SEEN[f"sweeper: {item.step}"] += 1
        assert self._living(waiting) == before
        self._audit()

    @rule(price=PRICES)
    def mark(self, price: Decimal) -> None:
        set_mark(str(price), PERP)

    # --- the worker -------------------------------------------------------------------------------------------
    @rule(again=st.booleans())
    def work(self, again: bool) -> None:  # noqa: FBT001
        """Match and settle what waits, and perhaps settle it once more."""
        self._work()
        if again and self.last is not None:
            self.deliver_again()

    def _work(self) -> None:
        """Match and settle what waits."""
        if got := self.shard.read():
            commands, chain_hash = got
            self.shard.journal(commands, chain_hash)
            self.last = self.shard.match(commands)
            self.shard.settle(self.last, now=utc_now())
            SEEN["commands"] += len(commands)
        require_told_books(self.shard.engine)
        self._audit()

    @rule(settled=st.integers(0, 3), is_matched=st.booleans())
    def crash(self, settled: int, is_matched: bool) -> None:  # noqa: FBT001
        """End the worker after it wrote its WAL, and perhaps settled some of it; the next one goes on."""
        if got := self.shard.read():
            self.shard.journal(*got)
            if is_matched:
                batch = self.shard.match(got[0])
                if settled:
                    self.shard.settle(batch.first(settled, 10_000), now=utc_now())
        self._end_worker()
        self.shard = self._worker()
        SEEN["restarts"] += 1
        require_told_books(self.shard.engine)
        self._audit()

    @precondition(lambda self: getattr(self, "last", None) is not None)
    @rule()
    def deliver_again(self) -> None:
        """Settle once more what is settled: refused, and nothing changes."""
        assert self.last is not None
        before = list(Position.objects.order_by("user_id").values_list("quantity", "margin", "version"))
        with pytest.raises(settlement.FencedError):
            settlement.settle(0, self.shard.epoch, self.last.commands, self.last.events, now=utc_now())
        assert list(Position.objects.order_by("user_id").values_list("quantity", "margin", "version")) == before
        SEEN["redelivered"] += 1

    def teardown(self) -> None:
        """Cancel everything; then nothing may be held, reserved or open."""
        if not hasattr(self, "shard"):
            return
        try:
            for owner in self.traders:
                cancel_all.of_trader(owner, now=utc_now())
            while self.shard.step(now=utc_now()):
                pass
            self._audit()
            assert list(Order.objects.filter(status__in=OPEN_STATUSES)) == []
            assert not OrderPart.objects.filter(state="TRIED").exists()
            assert not Position.objects.exclude(reserved=0).exists()
            sweeper.sweep(now=utc_now() + timedelta(hours=1))
            assert set(HoldSweep.objects.values_list("state", flat=True)) <= {"VOIDED", "CLOSED"}
            assert all("trace" in event.payload for event in Outbox.objects.all())
            SEEN["trades"] += Trade.objects.count()
            SEEN["stolen"] += OrderPart.objects.filter(state="STOLEN").count()
        finally:
            self._end_worker()
            self.folder.cleanup()
            transaction.set_rollback(True)
            self.around.__exit__(None, None, None)

    # --- parts ------------------------------------------------------------------------------------------------
    def _submit(self, who: int, request: OrderRequest, name: str) -> None:
        [result] = orders.submit([Submission(self.traders[who], request)], now=utc_now())
        if isinstance(result, DomainError):
            SEEN["refused"] += 1
            return
        SEEN[name] += 1
        if isinstance(request, PlaceOrder):
            self.placed.append((self.traders[who], result.id))

    @staticmethod
    def _living(waiting: set[int]) -> list[Any]:
        """Return orders and parts but those in review, and how long the log is."""
        orders_now = Order.objects.exclude(id__in=waiting).order_by("id").values()
        parts = OrderPart.objects.exclude(order_id__in=waiting).order_by("order_id", "kind").values()
        return [list(orders_now), list(parts), Command.objects.count()]

    @staticmethod
    def _move(name: str, change: Callable[[], object]) -> None:
        try:
            change()
        except DomainError:
            SEEN["refused"] += 1
        else:
            SEEN[name] += 1

    def _worker(self) -> Shard:
        """Start a worker, which first catches up with WAL and log."""
        shard = Shard(0, wal_dir=Path(self.folder.name), owner="test")
        shard.recover(now=utc_now())
        return shard

    def _end_worker(self) -> None:
        """End the worker wherever it stands: nothing but its lease is given back."""
        self.shard.snapshotter.close()
        self.shard.wal.close()
        lease.give_back(0, self.shard.epoch)

    @staticmethod
    def _spec_id(symbol: str) -> int:
        return int(Instrument.objects.get(symbol=symbol).id)

    @staticmethod
    def _audit() -> None:
        """Check everything that `trading.audit` knows."""
        assert [item for item in audit.invariants() if not item.ok] == []
        SEEN["audits"] += 1


def test_every_invariant_holds_whatever_traders_and_workers_do(customer, request: pytest.FixtureRequest) -> None:
    Exchange.customer = staticmethod(customer)
    run_state_machine_as_test(
        Exchange,
        settings=settings(
            max_examples=request.config.getoption("--machine-examples"),
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    print(dict(sorted(SEEN.items())))  # noqa: T201
    for happened in ("trades", "restarts", "redelivered", "refused", "contract limit"):
        assert SEEN[happened], f"nothing was {happened}"
