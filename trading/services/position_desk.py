"""One trader's position in one contract, locked and loaded, and what its owner changes of it besides trading.

Every change is one transaction under the trader's gate and a constant number of statements: the position by
compare-and-set with a step of its history, the journal's entry, the owner's screen, and a domain event.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from exchange import database
from exchange.kernel.money import from_quanta, plain, to_quanta
from ledger.chart import AccountCode
from ledger.entries import EntryDraft
from ledger.posting_rules import EventKind, draft
from ledger.services import accounts, journal
from ledger.services.accounts import AccountKey
from ledger.waterfall import Debts
from marketdata import selectors as instruments
from marketdata.selectors import MarketState
from marketdata.units import RATE_DECIMALS, InstrumentSpec
from risk import contract_margin
from risk.services import limits
from risk.services.checks import InsufficientFundsError
from risk.services.limits import TraderLimits
from trading import errors
from trading.models import OPEN_STATUSES, OrderStatus, PrivateChannel
from trading.position_state import Change, PositionState
from trading.services import contract_books, outbox, private_events, settled, wallets
from trading.services.outbox import DomainEvent
from trading.wire import balance_fields, position_fields

MOVES = {Change.MARGIN_ADD: EventKind.MARGIN_ADD, Change.MARGIN_REMOVE: EventKind.MARGIN_REMOVE}
LIVE = [str(status) for status in (*OPEN_STATUSES, OrderStatus.PENDING_REVIEW)]

_OPEN_ORDERS = "SELECT count(*) FROM orders WHERE user_id = %s AND instrument_id = %s AND status = ANY(%s)"
_CLOSING = """
SELECT o.id, o.side, o.worst_price FROM orders o
WHERE o.user_id = %s AND o.instrument_id = %s AND o.status = ANY(%s)
  AND (o.reduce_only OR o.close_position OR EXISTS (
       SELECT FROM order_parts p WHERE p.order_id = o.id AND p.kind = 'REDUCE' AND p.quantity_left > 0))
"""


def contract(symbol: str) -> InstrumentSpec:
    """Return the contract of a symbol.

    Raises:
        UnknownInstrumentError, NotAContractError: There is none of that name.
    """
    spec = instruments.instrument(symbol)
    if not spec.is_contract:
        raise errors.NotAContractError(symbol=spec.symbol)
    return spec


def prepare(owner_id: int, spec: InstrumentSpec) -> None:
    """Open the accounts that a move of margin needs, before its transaction: rare, and cached for ever."""
    accounts.ids(
        [
            AccountKey(owner_id, AccountCode.AVAILABLE, spec.quote),
            AccountKey(owner_id, AccountCode.MARGIN, spec.quote, spec.symbol),
        ]
    )


@dataclass(slots=True)
class PositionDesk:
    """What a change works on, and what it has done so far.

    Attributes:
        closing: Id and worst price in ticks of each open order that could close part of the position.
        open_orders: How many orders of the trader may still trade in the contract.
    """

    position: PositionState
    wallets: wallets.Wallets
    debts: Debts
    state: MarketState
    limits: TraderLimits
    open_orders: int
    closing: Sequence[tuple[int, str, Decimal]]
    now: datetime
    trace: str
    entries: list[EntryDraft] = field(default_factory=list)
    events: list[DomainEvent] = field(default_factory=list)

    @property
    def spec(self) -> InstrumentSpec:
        """The contract."""
        return self.position.spec

    @property
    def available(self) -> int:
        """What the trader may put up, in quanta."""
        return to_quanta(self.wallets[self.position.user_id, self.spec.quote]["available"], self.spec.quote_decimals)

    @property
    def mark_ticks(self) -> int:
        """The mark price.

        Raises:
            MarkPriceUnknownError: There has never been one: nobody could say what the position is worth.
        """
        if self.state.mark_price is None:
            raise errors.MarkPriceUnknownError(field="symbol", symbol=self.spec.symbol)
        return self.spec.price_to_ticks(self.state.mark_price)

    @property
    def value(self) -> int:
        """What the position is worth at the mark price, in quanta; 0 without one."""
        return self.mark_ticks * self.position.size * self.spec.unit_quanta if self.position.lots else 0

    def require_open(self) -> None:
        """Refuse where there is no position that its trader may move.

        Raises:
            PositionNotOpenError, PositionLockedError: There is none, or it is being liquidated.
        """
        self.require_unlocked()
        if not self.position.lots:
            raise errors.PositionNotOpenError(symbol=self.spec.symbol)

    def require_unlocked(self) -> None:
        """Refuse where the position is being liquidated."""
        if self.position.is_locked:
            raise errors.PositionLockedError(symbol=self.spec.symbol)

    def require_removable(self, amount: int) -> None:
        """Refuse to take out margin that the position or an order that closes it leans on.

        Raises:
            MarginTooSmallError: Initial margin and loss at the mark would not be covered.
            MarginGuardsOrdersError: An open order could then close the position beyond bankruptcy.
        """
        position = self.position
        keep = contract_margin.margin_to_keep(
            lots=position.lots,
            cost=position.cost,
            mark_ticks=self.mark_ticks,
            unit=self.spec.unit_quanta,
            leverage=position.leverage,
        )
        spare = max(0, position.margin - keep)
        if amount > spare:
            raise errors.MarginTooSmallError(maximum=self.money(spare), asset=self.spec.quote, symbol=self.spec.symbol)
        bound = contract_margin.bankruptcy_ticks(
            lots=position.lots,
            cost=position.cost,
            margin=position.margin - amount,
            unit=self.spec.unit_quanta,
            rate=fee_rate(self.spec),
        )
        is_long = position.lots > 0
        for order_id, side, price in self.closing:
            worst = self.spec.price_to_ticks(price)
            if (side == "sell") == is_long and (worst < bound if is_long else worst > bound):
                raise errors.MarginGuardsOrdersError(
                    order_id=order_id, symbol=self.spec.symbol, price=str(self.spec.wire_price(price))
                )

    def move(self, change: Change, amount: int) -> None:
        """Move margin between the position and available; a debt is repaid first out of what comes back.

        Raises:
            InsufficientFundsError: Available does not cover it; nothing changes.
        """
        position, spec = self.position, self.spec
        if change == Change.MARGIN_ADD:
            if amount > self.available:
                raise InsufficientFundsError(
                    asset=spec.quote, required=self.money(amount), available=self.money(self.available)
                )
            position.add_margin(amount, self.now)
        else:
            position.remove_margin(amount, self.now)
        entry = draft(
            MOVES[change],
            key=f"position:{position.user_id}:{spec.symbol}:{position.version}",
            effective_at=self.now,
            trace=self.trace,
            roles={"user": position.user_id},
            assets={"asset": spec.quote},
            amounts={"amount": from_quanta(amount, spec.quote_decimals)},
            parts={"contract": spec.symbol},
            debts=self.debts,
        )
        wallets.follow([entry], self.wallets)
        self.entries.append(entry)
        name = "PositionMarginAdded" if change == Change.MARGIN_ADD else "PositionMarginRemoved"
        self.tell(name, amount=self.money(amount), margin=self.money(position.margin))

    def tell(self, event: str, **payload: object) -> None:
        """Add a domain event about the position."""
        about: dict[str, object] = {
            "user_id": self.position.user_id,
            "symbol": self.spec.symbol,
            "asset": self.spec.quote,
            "version": self.position.version,
            "trace": self.trace,
        }
        self.events.append(("position", f"{self.position.user_id}:{self.spec.symbol}", event, about | payload))

    def money(self, quanta: int) -> str:
        """Write an amount of the quote asset."""
        return plain(from_quanta(quanta, self.spec.quote_decimals))

    def write(self) -> None:
        """Send everything; the ledger's door and the outbox are the last statements before COMMIT."""
        owner_id, mark = self.position.user_id, self.state.mark_price
        fields = position_fields(self.position, None if mark is None else self.spec.price_to_ticks(mark))
        if self.position.changed:
            self.events.append(settled.position_updated(self.position, fields, self.trace))
        contract_books.save_positions([self.position], self.now)
        told: list[private_events.PrivateFact] = [(owner_id, PrivateChannel.POSITIONS, fields)]
        if self.entries:
            balance = balance_fields(self.spec.quote, self.wallets[owner_id, self.spec.quote])
            told.append((owner_id, PrivateChannel.BALANCES, balance))
        stored = private_events.append(told, now=self.now)
        if self.entries:
            door, params = journal.door_call(self.entries, self.now)
            database.execute(door, *params)
        outbox.store(self.events, self.now)
        private_events.push_on_commit(stored)


def open_desk(owner_id: int, spec: InstrumentSpec, *, now: datetime, trace: str) -> PositionDesk:
    """Lock the trader's gate and load the position and what changes of it are judged by. Inside a transaction."""
    accounts.lock([owner_id])
    pair = (owner_id, spec.id)
    rows, limit_rows, [[open_orders]], closing = database.fetch(
        contract_books.positions_statement([pair]),
        limits.load_statement([owner_id]),
        (_OPEN_ORDERS, (owner_id, spec.id, LIVE)),
        (_CLOSING, (owner_id, spec.id, LIVE)),
    )
    found, debts = wallets.read([(owner_id, spec.quote)])
    return PositionDesk(
        position=contract_books.positions_of(rows, [pair])[pair],
        wallets=found,
        debts=debts,
        state=instruments.states([spec.id])[spec.id],
        limits=limits.from_rows(limit_rows)[owner_id],
        open_orders=open_orders,
        closing=closing,
        now=now,
        trace=trace,
    )


def fee_rate(spec: InstrumentSpec) -> int:
    """Return the higher of a contract's two fee rates, in 1/RATE_SCALE."""
    return max(to_quanta(spec.maker_fee_rate, RATE_DECIMALS), to_quanta(spec.taker_fee_rate, RATE_DECIMALS))
