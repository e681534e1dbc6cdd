"""What a vector needs of a road into the exchange, and what a road answers: plain values, comparable to the digit."""

from decimal import Decimal
from typing import Final, NamedTuple, Protocol

ASSET: Final = "USDT"
HELD: Final = "held"


class Placed(NamedTuple):
    """An order as it was accepted.

    Attributes:
        quantity: None for an order that closes the whole position.
        hold: What it took from available.
    """

    order_id: int
    side: str
    quantity: Decimal | None
    intent: str
    reduces: Decimal
    opens: Decimal
    hold: Decimal


class Stands(NamedTuple):
    """What a trader has: the position, and the wallets of its quote asset."""

    quantity: Decimal
    entry: Decimal | None
    margin: Decimal
    reserved: Decimal
    realised: Decimal
    unrealised: Decimal
    available: Decimal
    frozen: Decimal


class Ended(NamedTuple):
    """An order as it is now."""

    order_id: int
    status: str
    reason: str
    filled: Decimal


class Road(Protocol):
    """A way in. People are known by the names of the page; each road signs them in as its clients do."""

    def join(self, name: str) -> int:
        """Make a trader and return the user's id."""

    def leverage(self, name: str, leverage: int) -> None:
        """Choose a leverage."""

    def order(self, name: str, side: str, quantity: Decimal, price: Decimal) -> Placed:
        """Preview a limit order, place it, and return it; what was foreseen must be what it is."""

    def of_position(self, name: str, what: str) -> Placed:
        """Close or reverse the position at the market."""

    def withdraw(self, name: str, amount: Decimal, address_id: int) -> str:
        """Ask for a withdrawal; return `HELD`, or the refusal's name."""

    def stands(self, name: str) -> Stands:
        """Return what a trader has."""

    def orders(self, name: str) -> list[Ended]:
        """Return a trader's orders, oldest first."""
