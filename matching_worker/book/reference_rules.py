"""Why a command is refused, readable: the first reason in the order of these functions counts."""

from matching_worker.book.reference_rows import (
    CALL_STATES,
    LIMIT_TYPES,
    RESTING_TIMES,
    SIZED,
    WAITING_TYPES,
    Book,
    Command,
    Order,
)
from matching_worker.protocol import (
    CALLBACK_PPM_MAX,
    ICEBERG_TRANCHES_MAX,
    OPEN_ORDERS_MAX,
    POSITIONS_MAX,
    PRICE_TICKS_MAX,
    QTY_LOTS_MAX,
    QUOTE_LOTS_MAX,
    TRAILING_STOPS_MAX,
    OrderFlag,
    OrderType,
    Reason,
    SelfTrade,
    Side,
    TimeInForce,
    TradingState,
    TriggerSource,
)

LAST_FLAGS = OrderFlag.POST_ONLY | SIZED


def first_reason(checks: list[tuple[bool, Reason]]) -> Reason:
    """Return the reason of the first check that does not hold."""
    return next((reason for holds, reason in checks if not holds), Reason.NONE)


def is_price(ticks: int) -> bool:
    """Tell whether a number is a price."""
    return 1 <= ticks <= PRICE_TICKS_MAX


def tranches(lots: int, display_lots: int) -> int:
    """Return in how many parts an iceberg shows its lots."""
    return -(-lots // display_lots)


def place_refusal(command: Command, order: Order | None, open_orders: int) -> Reason:
    """Return why an order cannot be placed, by what version 1 knew."""
    has_types = command.version > 1
    sizes_itself = command.flags & OrderFlag.CLOSE_POSITION or command.quote_lots
    return first_reason(
        [
            (command.side in set(Side), Reason.BAD_SIDE),
            (1 <= command.order_type <= (7 if has_types else 2), Reason.BAD_ORDER_TYPE),
            (1 <= command.time_in_force <= (5 if has_types else 2), Reason.BAD_TIME_IN_FORCE),
            (is_price(command.price_ticks), Reason.BAD_PRICE),
            ((0 if sizes_itself else 1) <= command.qty_lots <= QTY_LOTS_MAX, Reason.BAD_QTY),
            (open_orders < OPEN_ORDERS_MAX, Reason.TOO_MANY_OPEN_ORDERS),
            (order is None, Reason.DUPLICATE_ORDER_ID),
        ]
    )


def terms_refusal(command: Command, book: Book, time_ns: int) -> Reason:
    """Return which of an order's terms is wrong."""
    waits = command.order_type in WAITING_TYPES
    trails = command.order_type == OrderType.TRAILING_STOP
    ends = command.time_in_force in {TimeInForce.GTD, TimeInForce.DAY}
    rests = command.order_type in LIMIT_TYPES and command.time_in_force in RESTING_TIMES
    return first_reason(
        [
            (_flags_fit(command, book), Reason.BAD_FLAGS),
            (command.stp in set(SelfTrade), Reason.BAD_STP),
            (command.trigger_source in set(TriggerSource), Reason.BAD_TRIGGER),
            (
                is_price(command.trigger_ticks) if waits and not trails else command.trigger_ticks == 0,
                Reason.BAD_TRIGGER,
            ),
            (
                command.display_lots == 0
                or (
                    rests
                    and command.display_lots > 0
                    and tranches(command.qty_lots, command.display_lots) <= ICEBERG_TRANCHES_MAX
                ),
                Reason.BAD_DISPLAY,
            ),
            (
                command.quote_lots == 0
                or (
                    0 < command.quote_lots <= QUOTE_LOTS_MAX
                    and (command.side, command.order_type) == (Side.BUY, OrderType.MARKET)
                    and command.time_in_force != TimeInForce.FOK
                    and not command.flags & SIZED
                ),
                Reason.BAD_QUOTE,
            ),
            (command.worst_ticks == 0 or is_price(command.worst_ticks), Reason.BAD_WORST_PRICE),
            (
                command.expires_ns > time_ns and command.order_type != OrderType.MARKET
                if ends
                else command.expires_ns == 0,
                Reason.BAD_EXPIRY,
            ),
            (
                1 <= command.callback_ppm <= CALLBACK_PPM_MAX if trails else command.callback_ppm == 0,
                Reason.BAD_CALLBACK,
            ),
            (
                0 <= command.activation_ticks <= PRICE_TICKS_MAX if trails else command.activation_ticks == 0,
                Reason.BAD_CALLBACK,
            ),
        ]
    )


def _flags_fit(command: Command, book: Book) -> bool:
    """Tell whether flags, type and instrument go together."""
    if command.flags & ~LAST_FLAGS:
        return False
    if command.flags & OrderFlag.POST_ONLY and not (
        command.order_type == OrderType.LIMIT and command.time_in_force in RESTING_TIMES
    ):
        return False
    if command.flags & SIZED and not book.is_contract:
        return False
    return not (command.flags & OrderFlag.CLOSE_POSITION and command.order_type in LIMIT_TYPES)


def state_refusal(command: Command, book: Book, taker: Order, *, positions: int, has_position: bool) -> Reason:
    """Return why an instrument does not take a sound order now."""
    in_call = book.state in CALL_STATES
    waits = command.order_type in WAITING_TYPES
    fits_call = waits or (taker.rests and not command.flags & (OrderFlag.POST_ONLY | SIZED))
    trails = command.order_type == OrderType.TRAILING_STOP
    trailing = sum(order.order_type == OrderType.TRAILING_STOP for order in book.waiting.values())
    is_refused_maker = command.flags & OrderFlag.POST_ONLY and book.crosses(taker)
    return first_reason(
        [
            (in_call or book.state == TradingState.CONTINUOUS, Reason.NOT_TRADING),
            (not in_call or fits_call, Reason.NOT_IN_AUCTION),
            (not trails or trailing < TRAILING_STOPS_MAX, Reason.TOO_MANY_TRAILING_STOPS),
            (not book.is_contract or has_position or positions < POSITIONS_MAX, Reason.TOO_MANY_POSITIONS),
            (not is_refused_maker, Reason.POST_ONLY_WOULD_TAKE),
        ]
    )


def amend_refusal(command: Command, book: Book, order: Order) -> Reason:
    """Return why an order cannot become what an AMEND says."""
    in_call = book.state in CALL_STATES
    if not is_price(command.price_ticks):
        return Reason.BAD_PRICE
    if not 1 <= command.qty_lots <= QTY_LOTS_MAX:
        return Reason.BAD_QTY
    trigger_fits = command.trigger_ticks == 0 or (
        order.is_waiting and order.order_type != OrderType.TRAILING_STOP and is_price(command.trigger_ticks)
    )
    too_thin = order.display_lots and tranches(command.qty_lots, order.display_lots) > ICEBERG_TRANCHES_MAX
    price = book.best_price(Side.SELL if order.side == Side.BUY else Side.BUY)
    would_take = price is not None and (
        price <= command.price_ticks if order.side == Side.BUY else price >= command.price_ticks
    )
    takes = bool(order.flags & OrderFlag.POST_ONLY) and book.state == TradingState.CONTINUOUS and would_take
    return first_reason(
        [
            (command.expected_lots in {0, order.open_lots}, Reason.ORDER_CHANGED),
            (trigger_fits, Reason.BAD_TRIGGER),
            (command.worst_ticks == 0 or is_price(command.worst_ticks), Reason.BAD_WORST_PRICE),
            (not too_thin, Reason.BAD_DISPLAY),
            (in_call or book.state == TradingState.CONTINUOUS, Reason.NOT_TRADING),
            (not takes, Reason.POST_ONLY_WOULD_TAKE),
        ]
    )
