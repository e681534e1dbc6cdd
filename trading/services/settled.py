"""What others are told of a settled run of events: domain events, and facts for the traders' own screens. No SQL."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from exchange.kernel.clock import from_ns
from exchange.kernel.money import plain, plain_quanta
from marketdata import selectors as instruments
from marketdata.levels import ASKS, BIDS, last_levels_of_each
from matching_worker.protocol import Rows
from trading.fold import Outcome, TradeFact
from trading.models import PrivateChannel
from trading.order_state import OrderState
from trading.position_state import PositionState
from trading.services.outbox import DomainEvent
from trading.services.private_events import PrivateFact
from trading.services.wallets import Wallets
from trading.wire import balance_fields, moment, order_fields


def trade_executed(trade: TradeFact) -> DomainEvent:
    """Return the domain event of a trade."""
    spec = trade.spec
    return (
        "trade",
        str(trade.id),
        "TradeExecuted",
        {
            "trade_id": trade.id,
            "symbol": spec.symbol,
            "price": plain(spec.ticks_to_price(trade.price_ticks)),
            "quantity": plain(spec.lots_to_qty(trade.qty_lots)),
            "buy_order_id": trade.buyer.id,
            "sell_order_id": trade.seller.id,
            "buyer_id": trade.buyer.user_id,
            "seller_id": trade.seller.user_id,
            "executed_at": moment(trade.executed_at),
            "trace": (trade.buyer if trade.taker_is_buyer else trade.seller).trace,
        },
    )


def last_changes(events: Rows) -> dict[int, tuple[int, int, int]]:
    """Return sequence, time and order of the event that changed each order book last, by instrument id.

    Args:
        events: (n,) EVENT_DTYPE, in order.
    """
    changed = events[events["level_lots"] >= 0]
    columns = (changed[name].tolist() for name in ("sequence", "timestamp_ns", "order_id"))
    return dict(zip(changed["instrument_id"].tolist(), zip(*columns, strict=True), strict=True))


def books_updated(
    events: Rows, last: Mapping[int, tuple[int, int, int]], traces: Mapping[int, str]
) -> list[DomainEvent]:
    """Return a domain event for each order book that events have changed: what now stands at prices they touched.

    Args:
        events: (n,) EVENT_DTYPE, in order.
        last: Their `last_changes`.
        traces: Of the orders there.
    """
    told = []
    for instrument_id, levels in last_levels_of_each(events).items():
        spec = instruments.instrument_by_id(instrument_id)
        sides: tuple[list[list[str]], list[list[str]]] = ([], [])
        for side, ticks, lots in levels:
            sides[side].append([plain(spec.ticks_to_price(ticks)), plain(spec.lots_to_qty(lots))])
        sequence, timestamp_ns, order_id = last[instrument_id]
        payload: dict[str, object] = {
            "symbol": spec.symbol,
            "sequence": sequence,
            "bids": sides[BIDS],
            "asks": sides[ASKS],
            "changed_at": moment(from_ns(timestamp_ns)),
            "trace": traces.get(order_id, ""),
        }
        told.append(("instrument", spec.symbol, "OrderBookUpdated", payload))
    return told


def traces(orders: Iterable[OrderState]) -> dict[tuple[int, int], str]:
    """Return the trace id of each trader's last order in each instrument, by user and instrument id."""
    return {(order.user_id, order.spec.id): order.trace for order in orders}


def position_updated(position: PositionState, fields: Mapping[str, Any], trace: str) -> DomainEvent:
    """Return the domain event of a position that has changed: where it stands then.

    Args:
        fields: Its `position_fields`.
        trace: Of the request that changed it last.
    """
    return (
        "position",
        f"{position.user_id}:{position.spec.symbol}",
        "PositionUpdated",
        {"user_id": position.user_id, "trace": trace, **fields},
    )


def private_facts(
    outcome: Outcome,
    changed: Sequence[OrderState],
    owned: Wallets,
    moved: Sequence[tuple[PositionState, dict[str, Any]]],
) -> list[PrivateFact]:
    """Return what each trader's screen learns: fills in order, then the last state of each order, wallet, position.

    Args:
        changed: Orders that the events have changed, written back into their rows.
        moved: Positions that they have changed, with their `position_fields`.
    """
    facts = [fact for trade in outcome.trades for fact in _of_fill(trade)]
    facts += [(order.user_id, PrivateChannel.ORDERS, order_fields(order.row, order.spec)) for order in changed]
    facts += [(pair[0], PrivateChannel.BALANCES, balance_fields(pair[1], owned[pair])) for pair in outcome.moved]
    facts += [(position.user_id, PrivateChannel.POSITIONS, fields) for position, fields in moved]
    return facts


def _of_fill(trade: TradeFact) -> list[PrivateFact]:
    """Return one fill as each of its two traders sees it."""
    spec = trade.spec
    price, quantity = spec.wire_ticks(trade.price_ticks), spec.wire_lots(trade.qty_lots)
    executed_at = moment(trade.executed_at)
    facts: list[PrivateFact] = []
    for order, fee, is_taker in (
        (trade.buyer, trade.buyer_fee, trade.taker_is_buyer),
        (trade.seller, trade.seller_fee, not trade.taker_is_buyer),
    ):
        payload = {
            "trade_id": trade.id,
            "order_id": order.id,
            "symbol": spec.symbol,
            "side": "buy" if order is trade.buyer else "sell",
            "price": price,
            "quantity": quantity,
            "fee": plain_quanta(fee, spec.quote_decimals),
            "fee_asset": spec.quote,
            "role": "taker" if is_taker else "maker",
            "executed_at": executed_at,
        }
        facts.append((order.user_id, PrivateChannel.FILLS, payload))
    return facts
