"""Writes a journal as Beancount reads it, in its strict form.

Beancount tolerates small differences unless told otherwise, takes a balance at the start of its day, and computes with
28 significant digits: Note [Digits] in `journal.py`. Source: beancount.github.io/docs/beancount_language_syntax.html.
"""

from collections.abc import Iterable, Sequence
from datetime import date, timedelta

from ledger.exports.transactions import Fact, Heading, Posting

NAME = "beancount"
SUFFIX = "beancount"
DIGITS_MAX: int | None = 28
_DAY = timedelta(days=1)
_OPTIONS = """
option "title" "{title}"
option "tolerance_multiplier" "0"
plugin "beancount.plugins.check_commodity"
plugin "beancount.plugins.leafonly"
"""


def header(title: str, facts: Iterable[str]) -> str:
    """Write what the file is, and the options that make every check exact."""
    return "".join(remark(fact) for fact in facts) + _OPTIONS.format(title=_escaped(title))


def commodity(day: date, name: str, asset: str, decimals: int) -> str:
    """Declare a commodity."""
    return f'\n{day} commodity {name}\n  asset: "{_escaped(asset)}"\n  decimals: {decimals}\n'


def opening(day: date, account: str, commodities: Sequence[str]) -> str:
    """Declare an account and all that it may hold."""
    return f"{day} open {account}  {','.join(commodities)}\n"


def heading(entry: Heading) -> str:
    """Begin a transaction."""
    facts = "".join(f"  {name}: {_value(value)}\n" for name, value in entry.facts)
    return f'\n{entry.day} * "{_escaped(entry.title)}"\n{facts}'


def posting(posting: Posting) -> str:
    """Write an amount of a transaction."""
    return f"  {posting.account}  {posting.amount} {posting.commodity}\n"


def assertions(day: date, balances: Sequence[Posting]) -> str:
    """Assert balances at the start of the next day, without tolerance."""
    morning = day + _DAY
    return "\n" + "".join(f"{morning} balance {account}  {amount} ~ 0 {name}\n" for account, amount, name in balances)


def remark(text: str) -> str:
    """Write a comment."""
    return f"; {text}\n"


def _value(value: Fact) -> str:
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    return str(value) if isinstance(value, int) else f'"{_escaped(value)}"'


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")
