"""What an entry is before it is posted: plain values, without database."""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple


class AccountKey(NamedTuple):
    """What names an account.

    Args:
        owner_id: The user; None is the platform.
        code: An `AccountCode`.
        asset: The asset's code.
        sub: Part of the account: a contract, a custody wallet; mostly empty.
    """

    owner_id: int | None
    code: str
    asset: str
    sub: str = ""


@dataclass(slots=True)
class EntryDraft:
    """An entry to be posted. Nobody changes one; to forbid it would make each, and every order has some, dearer.

    Args:
        kind: An `EventKind`.
        key: Idempotency key: the same key never posts twice.
        effective_at: When it happened.
        trace: The trace id that follows the request through logs, entries and events.
        lines: Account and amount; debit positive; for an account that the user sees, in the user's view.
        reverses: The id of the entry that this one cancels.
    """

    kind: str
    key: str
    effective_at: datetime
    trace: str
    lines: list[tuple[AccountKey, Decimal]] = field(default_factory=list)
    reverses: int | None = None


class PostedEntry(NamedTuple):
    """What became of a draft: its entry, or the earlier one that had the same key."""

    id: int
    key: str
    kind: str
    repeated: bool
