"""What an outside tool is told: plain values between the journal and the writers of the formats."""

from collections.abc import Iterable, Sequence
from datetime import date
from typing import NamedTuple, Protocol

Fact = str | int | bool


class Posting(NamedTuple):
    """An amount on an account, or a balance of it: names as the outside tool has them, the asset's full scale."""

    account: str
    amount: str
    commodity: str


class Heading(NamedTuple):
    """What stands above the postings of an entry as one owner's journal shows it, or of an opening balance.

    Args:
        day: The day it counts for, UTC.
        number: The entry's number; for an opening balance the last entry that is in it.
        facts: What else is known of it, by name.
    """

    day: date
    number: int
    title: str
    facts: Sequence[tuple[str, Fact]]


class Format(Protocol):
    """What a format's module offers."""

    NAME: str
    SUFFIX: str
    DIGITS_MAX: int | None
    """Significant digits that the tool computes with; None is without limit."""

    def header(self, title: str, facts: Iterable[str]) -> str:
        """Write what stands before everything else."""

    def commodity(self, day: date, name: str, asset: str, decimals: int) -> str:
        """Declare a commodity, from a day on."""

    def opening(self, day: date, account: str, commodities: Sequence[str]) -> str:
        """Declare an account and all that it may hold, from a day on."""

    def heading(self, entry: Heading) -> str:
        """Begin a transaction."""

    def posting(self, posting: Posting) -> str:
        """Write an amount of the transaction begun; every amount is written, none is left to be inferred."""

    def assertions(self, day: date, balances: Sequence[Posting]) -> str:
        """Assert balances as they are when all transactions of a day so far have been made."""

    def remark(self, text: str) -> str:
        """Write a comment."""
