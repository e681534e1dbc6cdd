"""Writes a journal as hledger reads it, in its strict form.

hledger balances a transaction at the precision in which it shows a commodity. Commodities are therefore declared
without a format: the precision is then the finest amount of the file, and a difference below an asset's quantum counts.
Source: hledger.org/hledger.html, "Journal format".
"""

from collections.abc import Iterable, Sequence
from datetime import date

from ledger.exports.transactions import Heading, Posting

NAME = "hledger"
SUFFIX = "journal"
DIGITS_MAX: int | None = None
ASSERTIONS_PER_TRANSACTION = 1_000
TAGS = ("opening", "entry", "kind", "key", "trace", "owner", "effective_at", "recorded_at", "late", "reverses", "hash")
_TYPES = {"Assets": "A", "Liabilities": "L", "Equity": "E", "Income": "R", "Expenses": "X"}


def header(title: str, facts: Iterable[str]) -> str:
    """Write what the file is, and declare the decimal mark, the tags and the types of the five roots."""
    lines = [remark(title), *(remark(fact) for fact in facts), "\ndecimal-mark .\n"]
    lines += [f"tag {tag}\n" for tag in TAGS]
    lines += [f"account {root}  ; type: {kind}\n" for root, kind in _TYPES.items()]
    return "".join(lines)


def commodity(_day: date, name: str, asset: str, decimals: int) -> str:
    """Declare a commodity."""
    return f'commodity "{name}"  ; {_inline(asset)}, {decimals} decimals\n'


def opening(_day: date, account: str, _commodities: Sequence[str]) -> str:
    """Declare an account."""
    return f"account {account}\n"


def heading(entry: Heading) -> str:
    """Begin a transaction."""
    facts = "".join(f"    ; {name}: {_tag(str(value))}\n" for name, value in entry.facts)
    return f"\n{entry.day} * ({entry.number}) {_inline(entry.title)}\n{facts}"


def posting(posting: Posting) -> str:
    """Write an amount of a transaction."""
    return f'    {posting.account}  {posting.amount} "{posting.commodity}"\n'


def assertions(day: date, balances: Sequence[Posting]) -> str:
    """Assert balances by postings of nothing, which hledger checks in the order of the file."""
    blocks = []
    for start in range(0, len(balances), ASSERTIONS_PER_TRANSACTION):
        blocks.append(f"\n{day} * balances\n")
        blocks += [
            f'    {account}  0 "{name}" = {amount} "{name}"\n'
            for account, amount, name in balances[start : start + ASSERTIONS_PER_TRANSACTION]
        ]
    return "".join(blocks)


def remark(text: str) -> str:
    """Write a comment."""
    return f"; {_inline(text)}\n"


def _inline(text: str) -> str:
    """Keep a text on its line, and out of comments."""
    return " ".join(text.replace(";", ",").split())


def _tag(value: str) -> str:
    """Write a tag's value, which a comma or the line's end would cut: `%`, `,` and line ends as in a URL."""
    for mark in "%,\n\r":
        value = value.replace(mark, f"%{ord(mark):02X}")
    return value
