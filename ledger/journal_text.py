"""Writes an entry as text: as each user's journal shows it, and as the platform's does."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from django.db import connection

from exchange.kernel.money import plain

PLATFORM: Final = "platform"
_LABEL, _AMOUNT = 34, 14


def printed(entry_id: int, people: Mapping[str, int]) -> str:
    """Return an entry's lines in both journals, debit before credit, each journal under its heading.

    Args:
        people: Name -> id of everybody who has a line in the entry.
    """
    names = {owner_id: name for name, owner_id in people.items()}
    text: list[str] = []
    for view in ("user_journal", "platform_journal"):
        with connection.cursor() as cursor:
            cursor.execute(
                f"SELECT owner_id, account, sub, asset, amount FROM {view} WHERE entry_id = %s ORDER BY n", [entry_id]
            )
            rows = cursor.fetchall()
        whose = [names[row[0]] for row in rows] if view == "user_journal" else [PLATFORM] * len(rows)
        for name in dict.fromkeys(whose):
            heading = f"{name}'s journal"
            text += ["", f"{heading:<{_LABEL}}{'debit':>{_AMOUNT}}{'credit':>{_AMOUNT}}"]
            text += [line(*row[1:]) for row, of in zip(rows, whose, strict=True) if of == name]
    return "\n".join(text)


def line(account: str, sub: str, asset: str, amount: Decimal) -> str:
    """Return one line: its account, and its amount in the debit or in the credit column."""
    label = f"  {account}{'/' if sub else ''}{sub}"
    number = plain(abs(amount))
    columns = f"{number:>{_AMOUNT}}" if amount > 0 else f"{'':>{_AMOUNT}}{number:>{_AMOUNT}}"
    return f"{label:<{_LABEL}}{columns:<{2 * _AMOUNT}} {asset}"
