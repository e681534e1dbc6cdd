"""Random order flow down the whole road: every invariant holds, however events are cut into settlements."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exchange.kernel.clock import utc_now
from exchange.kernel.errors import DomainError
from ledger.audit import Invariant
from ledger.models import Account
from ledger.reconciliation import runner
from ledger.reconciliation.models import Break, ReconciliationRun, RunKind
from ledger.reconciliation.runner import Result
from matching_worker import shard
from risk.models import SpotHolding
from trading import audit
from trading.models import Order
from trading.services import cancel_all, mark_price, orders
from trading.services.mark_price import MarkPrice
from trading.services.requests import AmendOrder, CancelOrder, OrderRequest, PlaceOrder, ReduceOrder, Submission
from trading.tests.road import make_asset, make_instrument, worker

pytestmark = pytest.mark.django_db

EXAMPLES = 40
TICK = Decimal("0.001")
MODES = ("cancel_maker", "cancel_taker", "cancel_both", "decrement")


class Action(NamedTuple):
    """One thing a trader does; `target` points at an order placed before, for cancels, reductions and amends.

    "mark" and "end_all" are nobody's: they say what the instrument is worth, and end all its orders.
    """

    kind: str
    trader: int
    side: str
    price: int
    quantity: int
    target: int


SPECIAL = (
    "fok",
    "post_only",
    "iceberg",
    "self_trade",
    "stop",
    "stop_limit",
    "take_profit",
    "take_profit_limit",
    "trail",
    "mark_stop",
    "mark_trail",
    "amount",
    "amount_self_trade",
)
APART = ("mark", "cancel_all", "end_all")
"""What is no submission: it is done before its batch."""
CHANGES = ("cancel", "reduce", "amend_price", "amend_quantity", "amend_stop")

ACTIONS = st.lists(
    st.builds(
        Action,
        kind=st.sampled_from(["limit", "limit", "limit", "ioc", "market", *APART, *CHANGES, *SPECIAL]),
        trader=st.integers(0, 2),
        side=st.sampled_from(["buy", "sell"]),
        price=st.integers(95, 105),
        quantity=st.integers(1, 9),
        target=st.integers(0, 30),
    ),
    min_size=1,
    max_size=30,
)


def _price(action: Action) -> Decimal:
    return (Decimal(action.price) / 7 / TICK).to_integral_value() * TICK


def _request(action: Action, placed: Sequence[int]) -> OrderRequest:
    quantity, price = Decimal(action.quantity) / 1000, _price(action)
    if action.kind in CHANGES:
        order_id = placed[action.target % len(placed)] if placed else 0
        changes: dict[str, OrderRequest] = {
            "cancel": CancelOrder(order_id),
            "reduce": ReduceOrder(order_id, quantity),
            "amend_price": AmendOrder(order_id, price=price),
            "amend_quantity": AmendOrder(order_id, quantity=quantity * 2),
            "amend_stop": AmendOrder(order_id, stop_price=price),
        }
        return changes[action.kind]
    if action.kind == "market":
        return PlaceOrder("ODDUSDT", action.side, "market", quantity, None, "ioc")
    if action.kind.startswith("amount"):
        mode = MODES[action.target % len(MODES)] if action.kind == "amount_self_trade" else "none"
        amount = quantity * price + Decimal(action.target) / 1_000_000
        return PlaceOrder(
            "ODDUSDT", "buy", "market", None, None, "ioc", quote_quantity=amount, self_trade_prevention=mode
        )
    return _priced(action, quantity)


def _priced(action: Action, quantity: Decimal) -> PlaceOrder:
    """Return an order with a price of its own, of whichever type."""
    price, kind = _price(action), action.kind
    extras: dict[str, dict[str, object]] = {
        "ioc": {"time_in_force": "ioc"},
        "fok": {"time_in_force": "fok"},
        "post_only": {"post_only": True},
        "iceberg": {"display_quantity": Decimal("0.001")},
        "self_trade": {"self_trade_prevention": MODES[action.target % len(MODES)]},
        "stop": {"price": None, "stop_price": price, "time_in_force": "ioc"},
        "take_profit": {"price": None, "stop_price": price, "time_in_force": "ioc"},
        "stop_limit": {"stop_price": price},
        "take_profit_limit": {"stop_price": price},
        "trail": {"price": None, "callback_rate": Decimal("0.02"), "time_in_force": "ioc"},
    }
    kind, by = kind.removeprefix("mark_"), {"trigger_by": "mark"} if kind.startswith("mark_") else {}
    order_type = kind if kind in {"stop", "take_profit", "stop_limit", "take_profit_limit"} else "limit"
    fields: dict[str, object] = {"price": price, **extras.get(kind, {}), **by}
    return PlaceOrder("ODDUSDT", action.side, "trailing_stop" if kind == "trail" else order_type, quantity, **fields)  # type: ignore[arg-type]


def _submit(actions: Sequence[Action], owners: Sequence[int], placed: list[int], by_order: dict[int, int]) -> None:
    """Submit one batch; remember the orders that it placed."""
    submissions = []
    for action in actions:
        if action.kind == "mark":
            mark_price.publish([MarkPrice("ODDUSDT", _price(action))], now=utc_now())
        elif action.kind == "cancel_all":
            cancel_all.of_trader(owners[action.trader], now=utc_now())
        elif action.kind == "end_all":
            cancel_all.by_operator("ODDUSDT", now=utc_now())
        if action.kind in APART:
            continue
        request = _request(action, placed)
        owner = owners[action.trader] if isinstance(request, PlaceOrder) else by_order.get(request.order_id, owners[0])
        submissions.append(Submission(owner, request))
    for submission, result in zip(submissions, orders.submit(submissions, now=utc_now()), strict=True):
        if isinstance(submission.request, PlaceOrder) and not isinstance(result, DomainError):
            placed.append(result.id)
            by_order[result.id] = submission.owner_id


def _market() -> None:
    """Make a market whose quanta are as awkward as they may be: fees of a fraction of a quantum on most fills."""
    make_instrument(
        "ODDUSDT",
        base=make_asset("ODD", 3),
        quote=make_asset("USDT", 6),
        tick_size=TICK,
        lot_size=Decimal("0.001"),
        min_notional=Decimal(0),
        maker_fee_rate=Decimal("0.00012345"),
        taker_fee_rate=Decimal("0.00077777"),
        reference_price=Decimal("14.285"),
    )


def _broken() -> list[Invariant]:
    return [item for item in audit.invariants() if not item.ok]


def _breaks(reconcile: Callable[[ReconciliationRun], list[Result] | None]) -> list[tuple[str, str, str]]:
    """Reconcile, and return what does not agree."""
    assert reconcile(runner.start(RunKind.ON_DEMAND, now=utc_now())) is not None
    return [(row.check_name, row.subject, row.told) for row in Break.objects.all()]


def _state() -> tuple[list[tuple[object, ...]], list[tuple[object, ...]], list[tuple[object, ...]]]:
    """Return everything that settlement wrote, but for ids that a database sequence gave."""
    columns = (
        "status",
        "reason",
        "quantity",
        "filled_quantity",
        "filled_notional",
        "fee",
        "fee_accrued",
        "hold_remaining",
    )
    return (
        list(Order.objects.order_by("id").values_list(*columns)),
        list(
            Account.objects.order_by("owner_id", "code", "asset_id").values_list(
                "owner_id", "code", "asset_id", "balance"
            )
        ),
        list(SpotHolding.objects.order_by("user_id").values_list("user_id", "quantity", "total_cost")),
    )


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(actions=ACTIONS, cut=st.integers(1, 12))
def test_every_invariant_holds_after_random_flow(customer, actions: list[Action], cut: int) -> None:
    with transaction.atomic(), TemporaryDirectory() as folder:
        _market()
        owners = [customer(f"trader-{number}", USDT=1, ODD="0.05").id for number in range(3)]
        placed: list[int] = []
        by_order: dict[int, int] = {}
        memory: dict[str, dict[str, Any]] = {}
        with worker(Path(folder)) as running:
            for start in range(0, len(actions), cut):
                _submit(actions[start : start + cut], owners, placed, by_order)
                running.step(now=utc_now())
                assert _broken() == []
                assert _breaks(lambda run: runner.look(run, now=utc_now(), due_only=False, memory=memory)) == []
            assert _breaks(lambda run: runner.full(run, clock=utc_now)) == []
        transaction.set_rollback(True)


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(actions=ACTIONS, cut=st.integers(1, 5))
def test_books_do_not_depend_on_how_events_are_cut_into_settlements(
    customer, monkeypatch: pytest.MonkeyPatch, actions: list[Action], cut: int
) -> None:
    with transaction.atomic():
        _market()
        owners = [customer(f"trader-{number}", USDT=100, ODD=5).id for number in range(3)]
        placed: list[int] = []
        by_order: dict[int, int] = {}
        for action in actions:
            _submit([action], owners, placed, by_order)
        states = []
        for settle_max in (cut, 500):
            with transaction.atomic(), TemporaryDirectory() as folder, monkeypatch.context() as patch:
                patch.setattr(shard, "SETTLE_MAX", settle_max)
                with worker(Path(folder)) as running:
                    running.step(now=utc_now())
                states.append(_state())
                transaction.set_rollback(True)
        assert states[0] == states[1]
        transaction.set_rollback(True)
