"""A whole exchange in memory, for tests that try every order of commands and settlements.

Orders are decided by the real `Admission`, matched by the reference book, and settled by the real `SettlementFold`;
only tables are replaced, by dicts that keep what the services would store. A decision sees the books as of the last
settlement, which may lag behind matching by any number of commands: `World.settle` takes as many as it is told.
"""

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from exchange.kernel.errors import DomainError
from exchange.kernel.money import from_quanta
from ledger.entries import AccountKey, EntryDraft
from ledger.waterfall import Debts
from marketdata import selectors as instruments
from marketdata.selectors import MarketState
from marketdata.units import Bracket, InstrumentSpec
from matching_worker.protocol import CommandKind, OrderFlag, Rows
from risk.services.limits import TraderLimits
from trading import order_state
from trading.fold import SettlementFold
from trading.models import Order, OrderStatus
from trading.order_parts import Part, PartKind
from trading.position_state import PositionEvent, PositionState
from trading.services import contract_books, position_changes, settlement
from trading.services.admission import Admission
from trading.services.command_log import CommandRow
from trading.services.contract_books import TakenOff
from trading.services.desk import AdmissionBook
from trading.services.position_desk import PositionDesk
from trading.services.requests import CancelOrder, OrderRequest, PlaceOrder
from trading.services.wallets import WALLET_CODES, Wallets
from trading.sweeping import Noted
from trading.tests import scene_sweep
from trading.tests.scene_actions import Action, Refused, request_of
from trading.tests.scene_log import Matched
from trading.tests.scene_rows import copy_parts, copy_row, stored

NOW = datetime(2026, 1, 5, tzinfo=UTC)
QUOTE = "USDT"
MARK = 100

SPEC = InstrumentSpec(
    id=7,
    symbol="ODD-PERP",
    name="ODD-PERP",
    kind="PERP",
    base="ODD",
    quote=QUOTE,
    base_decimals=3,
    quote_decimals=2,
    tick_size=Decimal(1),
    lot_size=Decimal(1),
    min_notional=Decimal(0),
    band_rate=Decimal("0.9"),
    market_slippage_rate=Decimal("0.5"),
    maker_fee_rate=Decimal("0.0007"),
    taker_fee_rate=Decimal("0.0013"),
    reference_price=Decimal(MARK),
    contract_size=Decimal("0.01"),
    brackets=(Bracket(0, 100, 500_000, 0),),
)
"""A contract whose quanta are as awkward as they may be: one tick of one lot is one quantum, so that every share of
margin, hold and fee is rounded."""

LEVERAGE = 7


class World:
    """The state of the exchange between two steps.

    Args:
        funds: Trader -> what is deposited, in whole units of the quote asset.
        review_above: The value above which orders wait for a person.
    """

    def __init__(
        self,
        funds: dict[int, int],
        *,
        spec: InstrumentSpec = SPEC,
        leverage: int = LEVERAGE,
        review_above: int | None = None,
    ) -> None:
        self.spec = spec
        self.traders = sorted(funds)
        self.log = Matched(None, None)
        self.settled = 0
        self.orders: dict[int, Order] = {}
        self.names: dict[int, tuple[int, int]] = {}
        """Order -> its trader, and which of the trader's orders it is."""
        self.placed: dict[int, list[int]] = defaultdict(list)
        self.parts: dict[int, dict[PartKind, Part]] = {}
        self.positions = {(one, spec.id): PositionState(one, spec, leverage=leverage) for one in self.traders}
        self.history: dict[int, list[PositionEvent]] = defaultdict(list)
        self.wallets: Wallets = {(one, QUOTE): dict.fromkeys(WALLET_CODES, Decimal(0)) for one in self.traders}
        for one, amount in funds.items():
            self.wallets[one, QUOTE]["available"] = Decimal(amount)
        self.ledger: dict[AccountKey, Decimal] = defaultdict(Decimal)
        for one, amount in funds.items():
            self.ledger[AccountKey(one, WALLET_CODES["available"], QUOTE)] = Decimal(amount)
            self.ledger[AccountKey(one, "3010", QUOTE)] = Decimal(-amount)
            self.ledger[AccountKey(None, "1110", QUOTE)] += Decimal(amount)
        self.keys: set[str] = set()
        self.kinds: defaultdict[str, int] = defaultdict(int)
        """How many entries of each kind were posted."""
        self.debts = Debts()
        self.mark_ticks = MARK
        self.settled_mark = {spec.id: MARK}
        review = {} if review_above is None else {QUOTE: Decimal(review_above)}
        self.limits = {one: TraderLimits(one, "t", 10**9, Decimal(2), None, 0, 0, review) for one in self.traders}
        self.fills: list[tuple[Any, ...]] = []
        """What matched, and between which fills somebody chose a leverage, with the margin that it drew."""
        self.refusals = self.levers_refused = 0
        self.system_commands = 0
        self.swept: dict[int, tuple[Noted, int]] = {}
        """What the sweeper has written down of each order, and how often."""
        self.steps: Counter[str] = Counter()
        """What the sweeper did."""
        self.now = NOW
        self.append(
            [
                _operators(spec, CommandKind.SET_STATE, qty_lots=int(spec.engine_state), flags=int(OrderFlag.CONTRACT)),
                _operators(spec, CommandKind.MARK_PRICE, price_ticks=MARK),
            ]
        )

    def copy(self) -> "World":
        """Return a world of its own that stands where this one does."""
        made: World = object.__new__(World)
        made.__dict__ = dict(self.__dict__)
        made.orders = {key: copy_row(row) for key, row in self.orders.items()}
        made.names = dict(self.names)
        made.placed = defaultdict(list, {key: list(ids) for key, ids in self.placed.items()})
        made.parts = {key: copy_parts(parts) for key, parts in self.parts.items()}
        made.positions = {key: dataclasses.replace(one, events=[]) for key, one in self.positions.items()}
        made.history = defaultdict(list, {key: list(steps) for key, steps in self.history.items()})
        made.wallets = {key: dict(amounts) for key, amounts in self.wallets.items()}
        made.ledger, made.kinds = self.ledger.copy(), self.kinds.copy()
        made.keys, made.fills = set(self.keys), list(self.fills)
        made.debts = Debts()
        made.debts._owed = dict(self.debts._owed)
        made.limits = {key: dataclasses.replace(one) for key, one in self.limits.items()}
        made.settled_mark = dict(self.settled_mark)
        made.swept, made.steps = dict(self.swept), self.steps.copy()
        return made

    # --- steps ------------------------------------------------------------------------------------------------
    def act(self, trader: int, action: Action) -> Order | Refused | None:
        """Let a trader do something (T1); it is in the log, and matched, but not settled."""
        self.now += timedelta(seconds=1)
        if action.kind == "mark":
            self.mark_ticks = action.price
            self.append([_operators(self.spec, CommandKind.MARK_PRICE, price_ticks=action.price)])
            return None
        if action.kind == "lever":
            return self._lever(trader, action.lots)
        if action.kind == "sweep":
            scene_sweep.sweep(self)
            return None
        request = request_of(action, self.spec.symbol, self.placed[trader])
        return self.submit(trader, request, is_logged=action.kind != "lost")

    def submit(self, trader: int, request: OrderRequest, *, is_logged: bool = True) -> Order | Refused:
        """Decide one request over what is settled, and append what was accepted."""
        book = self.book()
        admission = Admission(book, self.now)
        before = self._wallets_now()
        admission.decide(trader, request)
        decisions = admission.decisions
        [result] = decisions.results
        self.post(decisions.entries)
        for order in decisions.placed:
            self.orders[order.id] = order
            self.names[order.id] = trader, len(self.placed[trader])
            self.placed[trader].append(order.id)
        for state in decisions.contract_orders:
            self.keep_parts(state)
        for position in self.positions.values():
            self.keep_position(position)
        for rows in decisions.commands.values() if is_logged else ():
            self.append(rows)
        if isinstance(result, DomainError):
            assert self._wallets_now() == before, f"{result} moved money"
            assert not decisions.commands
            self.refusals += 1
            if isinstance(request, PlaceOrder) and not decisions.placed:
                self.placed[trader].append(0)  # so that targets count what was tried
            return Refused(result.name)
        return result

    def settle(self, count: int) -> None:
        """Put the next commands into the books in one transaction (T2)."""
        first, last = self.settled, self.settled + count
        run = self.log.after(first)[:count]
        commands, events = np.concatenate([one.command for one in run]), np.concatenate([one.events for one in run])
        orders = self._load(events)
        rows = {key: stored(order.row) for key, order in orders.items()}
        fold = SettlementFold(
            orders,
            {},
            self.wallets,
            self.debts,
            positions=self.positions,
            reserving=contract_books.reserving(orders.values()),
            marks=dict(self.settled_mark),
        )
        outcome = fold.apply(commands, events)
        self.post(outcome.entries)
        for order in orders.values():
            if order.changed:
                order_state.to_row(order)
            else:
                assert stored(order.row) == rows[order.id], f"order {order.id} moved and would not be stored"
            self.keep_parts(order)
        for position in self.positions.values():
            self.keep_position(position)
        self.settled_mark |= fold.contracts.marks_changed()
        self.settled = last
        asked = [
            TakenOff(item.order.id, self.spec, item.order.is_buy, item.lots, item.kind == CommandKind.CANCEL)
            for item in fold.contracts.outcome.commands
        ] + self._take_off_increases(fold.contracts.outcome.indebted)
        if asked:
            self.system_commands += len(asked)
            self.append([settlement._system_command(item, self.now) for item in asked])
        for trade in outcome.trades:
            self._note_trade(trade)

    def finish(self) -> None:
        """Settle what waits, cancel what rests, and settle that; what was left behind takes the sweeper three turns."""
        self.drain()
        while any(one.status == OrderStatus.PENDING_REVIEW or self._is_lost(one) for one in self.orders.values()):
            scene_sweep.sweep(self)
            self.drain()
        for order in list(self.orders.values()):
            if order.is_open:
                self.submit(order.user_id, CancelOrder(order.id))
        self.drain()

    def _is_lost(self, order: Order) -> bool:
        """Tell whether an order is open, and never came into the log."""
        return order.is_open and order.id not in self.log.placed

    def drain(self) -> None:
        """Settle everything that waits, what settlement itself asks for included."""
        while self.pending:
            self.settle(1)

    @property
    def pending(self) -> int:
        """Return how many commands wait to be settled."""
        return self.log.length - self.settled

    # --- what the books end with -----------------------------------------------------------------------------
    def books(self) -> tuple[Any, ...]:
        """Return everything that settlement keeps: positions, wallets, debts, accounts, orders and parts."""
        return (
            [(p.lots, p.cost, p.margin, p.margin_missing, p.reserved, p.realised) for p in self.positions.values()],
            self._wallets_now(),
            sorted((str(key), value) for key, value in self.ledger.items() if value),
            [
                (self.names[one.id], one.status, one.reason, one.filled_quantity, one.fee, one.hold_remaining)
                for one in self.orders.values()
            ],
            [
                (part.kind, part.lots, part.left, part.funds, part.state)
                for parts in self.parts.values()
                for part in parts.values()
            ],
        )

    def worth(self, *, whole: bool) -> tuple[Any, ...]:
        """Return what each trader ends with: position, result and funds, these together where not `whole`.

        What margin a position got depends on what else held funds in its moment, where they do not reach for all.
        """
        rows = []
        for one in self.traders:
            p, wallets = self.positions[one, self.spec.id], self.wallets[one, QUOTE]
            margin, debt = from_quanta(p.margin, self.spec.quote_decimals), self.debts.of(one, QUOTE)
            funds = [wallets["available"], wallets["order_hold"], margin, -debt, Decimal(p.margin_missing)]
            rows.append((p.lots, p.cost, p.realised, *(funds if whole else [sum(funds[:4])])))
        return tuple(rows)

    def _wallets_now(self) -> list[Any]:
        return [(key, sorted(value.items())) for key, value in sorted(self.wallets.items())]

    # --- parts ------------------------------------------------------------------------------------------------
    def _lever(self, trader: int, leverage: int) -> Refused | None:
        """Choose another leverage as the service does, over copies: what is refused leaves no trace."""
        pair, wallet = (trader, self.spec.id), (trader, QUOTE)
        before = self.positions[pair]
        desk = PositionDesk(
            position=dataclasses.replace(before, events=[]),
            wallets={wallet: dict(self.wallets[wallet])},
            debts=self.debts,
            state=self._state(),
            limits=self.limits[trader],
            open_orders=sum(order.is_open for order in self.orders.values() if order.user_id == trader),
            closing=(),
            now=self.now,
            trace="t",
        )
        try:
            position_changes.choose_leverage(desk, leverage)
        except DomainError as refusal:
            self.refusals += 1
            self.levers_refused += 1
            return Refused(refusal.name)
        self.positions[pair], self.wallets[wallet] = desk.position, desk.wallets[wallet]
        self.post(desk.entries)
        self.keep_position(desk.position)
        self.fills.append(("lever", trader, leverage, desk.position.margin - before.margin))
        return None

    def _state(self) -> MarketState:
        """Return what the market shows: no trade, and the mark price of the log's head."""
        return MarketState(None, None, None, Decimal(self.mark_ticks), self.now)

    def book(self) -> AdmissionBook:
        """Return what T1 would load: the books as they are settled."""
        opening: dict[tuple[int, int, str], int] = {}
        for order_id, parts in self.parts.items():
            part, order = parts.get(PartKind.INCREASE), self.orders[order_id]
            if part is not None and part.left:
                side = order.user_id, self.spec.id, str(order.side)
                opening[side] = opening.get(side, 0) + part.left
        return AdmissionBook(
            specs={self.spec.symbol: self.spec},
            wallets=self.wallets,
            debts=self.debts,
            limits=self.limits,
            keys={},
            orders=self.orders,
            states={self.spec.id: self._state()},
            free_ids=[1_000 + len(self.names)],
            positions=self.positions,
            opening=opening,
            parts={key: copy_parts(parts) for key, parts in self.parts.items()},
        )

    def _load(self, events: Rows) -> dict[int, order_state.OrderState]:
        """Return the orders that events touch, and those that they may rob, as T2 loads them."""
        reserving = {
            key for key, parts in self.parts.items() if PartKind.REDUCE in parts and parts[PartKind.REDUCE].left
        }
        touched = {*events["order_id"].tolist(), *events["maker_order_id"].tolist()} | reserving
        return {
            key: order_state.of_row(self.orders[key], self.spec, copy_parts(self.parts.get(key, {})))
            for key in sorted(touched)
            if key in self.orders
        }

    def keep_parts(self, order: order_state.OrderState | order_state.OrderParts) -> None:
        """Store the parts that have moved, each from the version that was read."""
        for part in (order.increase, order.reduce):
            if part is None or part.version == part.stored_version:
                continue
            kept = self.parts.setdefault(order.id, {})
            before = kept[part.kind].version if part.kind in kept else 0
            assert before == part.stored_version, f"part {part.kind} of {order.id} was moved by somebody else"
            part.stored_version = part.version
            kept[part.kind] = part

    def _take_off_increases(self, owners: Collection[int]) -> list[TakenOff]:
        """Note that all that these traders' orders would open is to be taken off, as `contract_books` does."""
        taken = []
        for order_id, parts in sorted(self.parts.items()):
            order, part = self.orders[order_id], parts.get(PartKind.INCREASE)
            if order.user_id in owners and order.is_open and part is not None and part.going < part.left:
                lots, open_lots = part.left - part.going, int(order.quantity - order.filled_quantity)
                taken.append(TakenOff(order_id, self.spec, order.side == "buy", lots, lots == open_lots))
                part.going, part.version = part.left, part.version + 1
        return taken

    def keep_position(self, position: PositionState) -> None:
        """Store a position that has changed, and the steps of its history."""
        self.history[position.user_id] += position.events
        position.events.clear()
        position.stored_version, position.changed = position.version, False

    def append(self, rows: Sequence[CommandRow]) -> None:
        """Give commands their sequence, and match them: only settlement waits."""
        for row in rows:
            self.log = self.log.then(row)

    def post(self, entries: Sequence[EntryDraft]) -> None:
        """Put entries into the books; each balances in every view, and no key comes twice."""
        for entry in entries:
            assert entry.key not in self.keys, f"{entry.key} would post twice"
            self.keys.add(entry.key)
            self.kinds[entry.kind] += 1
            views: dict[int | None, Decimal] = defaultdict(Decimal)
            for key, amount in entry.lines:
                self.ledger[key] += amount
                if key.owner_id is None:
                    views[None] += amount
                    continue
                views[key.owner_id] += amount
                if key.code in SHARED_CODES:
                    views[None] -= amount
            assert not any(views.values()), f"{entry.key} does not balance: {views}"

    def _note_trade(self, trade: Any) -> None:
        """Remember what matched: who, how much, at which price and mark, under which leverage."""
        sides = [(*self.names[one.id], one.leverage) for one in (trade.buyer, trade.seller)]
        mark = self.log.at(trade.sequence).mark_ticks
        self.fills.append((*sides, trade.taker_is_buyer, trade.price_ticks, trade.qty_lots, mark))


SHARED_CODES = frozenset({"1010", "1020", "1030", "1040", "2010"})
"""Accounts whose lines stand in the user's view and, with the sign turned, in the platform's."""


def _operators(spec: InstrumentSpec, kind: CommandKind, **numbers: int) -> CommandRow:
    """Return a command that is no trader's."""
    return CommandRow(kind, spec.id, 0, 0, 0, 0, 0, 0, **numbers)


@contextmanager
def known(*specs: InstrumentSpec) -> Iterator[None]:
    """Let services find these contracts without a database."""
    by_id = {spec.id: spec for spec in specs}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(instruments, "instrument_by_id", by_id.__getitem__)
        yield
