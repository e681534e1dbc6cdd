"""What traders may ask of the order's road."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum


class OfPosition(StrEnum):
    """What an order shall do to the position that there is."""

    CLOSE = "close"
    REVERSE = "reverse"


@dataclass(frozen=True, slots=True)
class PlaceOrder:
    """A new order, in the units people use.

    Attributes:
        quantity: In the base asset; None for a market buy by quote amount.
        price: Limit price in major units; None for a market order.
        client_order_id: The client's own id; a repeat with the same `body_hash` returns the first order.
        stop_price: The price at which a stop or take-profit order wakes.
        display_quantity: The part of an iceberg that the book shows; None shows all.
        callback_rate: How far a trailing stop keeps behind the best price, as a part of it: 0.01 is one percent.
        activation_price: The price from which a trailing stop follows; None follows at once.
        expires_at: When a gtd order ends; a day order ends with the UTC day on which it is placed.
        trace: The trace id of the request; a new one is made where none is given.
        order_id: An id from `orders.allocate_ids`, for callers that must know it before; else one is given.
        quote_quantity: All that a market buy may cost, its fee included; then there is no quantity.
        trigger_by: The price that a waiting order watches: last or mark; None is the usual one, last.
        reduce_only: Never open or enlarge a position: contracts only.
        close_position: Close the whole position, whatever it is then: contracts only.
        of_position: What a market order shall do to the position, from which then follow side and size, read under the
            trader's gate; the order itself names neither.
    """

    symbol: str
    side: str
    type: str
    quantity: Decimal | None = None
    price: Decimal | None = None
    time_in_force: str = "gtc"
    client_order_id: str | None = None
    body_hash: bytes = b""
    order_id: int | None = None
    trace: str = ""
    stop_price: Decimal | None = None
    display_quantity: Decimal | None = None
    callback_rate: Decimal | None = None
    activation_price: Decimal | None = None
    post_only: bool = False
    self_trade_prevention: str = "none"
    expires_at: datetime | None = None
    quote_quantity: Decimal | None = None
    trigger_by: str | None = None
    reduce_only: bool = False
    close_position: bool = False
    of_position: OfPosition | None = None


@dataclass(frozen=True, slots=True)
class CancelOrder:
    """Take an order off the book."""

    order_id: int


@dataclass(frozen=True, slots=True)
class ReduceOrder:
    """Take `quantity` off what is still open of an order; it keeps its place in the queue."""

    order_id: int
    quantity: Decimal


@dataclass(frozen=True, slots=True)
class AmendOrder:
    """Give an order a new price, stop price, total quantity, or several of them at once.

    What has filled counts against the quantity.
    """

    order_id: int
    price: Decimal | None = None
    quantity: Decimal | None = None
    stop_price: Decimal | None = None


OrderRequest = PlaceOrder | CancelOrder | ReduceOrder | AmendOrder


@dataclass(frozen=True, slots=True)
class Submission:
    """A request and whose it is."""

    owner_id: int
    request: OrderRequest


@dataclass(frozen=True, slots=True)
class Group:
    """Submissions that are decided in one transaction, or put off together.

    Attributes:
        submissions: In the order in which they compete for the same funds.
        waits: Whether they wait for their traders' gates, should others keep them.
    """

    submissions: Sequence[Submission]
    waits: bool

    @property
    def owners(self) -> set[int]:
        """Return whose gates they need."""
        return {item.owner_id for item in self.submissions}


def whose_turn_it_is(groups: Sequence[Group], held: Collection[int]) -> list[bool]:
    """Tell of each group whether it may be decided: no trader's request overtakes one of the same trader's before it.

    Args:
        groups: In order.
        held: Traders whose gates are held.
    """
    put_off: set[int] = set()
    may: list[bool] = []
    for group in groups:
        owners = group.owners
        may.append(owners.issubset(held) and owners.isdisjoint(put_off))
        if not may[-1]:
            put_off |= owners
    return may
