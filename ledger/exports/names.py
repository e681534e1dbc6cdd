"""Names for outside tools: the only place that turns our assets and accounts into theirs.

Beancount is the narrowest of them, so its rules serve all. Different accounts and assets never get the same name:
what a rule forbids is written as the hexadecimal of its UTF-8 bytes, behind the mark `X-`.
"""

import functools
import hashlib
import re
from enum import StrEnum
from typing import Final

from exchange.kernel.errors import InvariantViolationError
from ledger.chart import CHART, AccountCode, Face, Root
from ledger.posting_rules import PARTS


class View(StrEnum):
    """Whose journal: every user's own, or the platform's."""

    USER = "user"
    PLATFORM = "platform"


ROOTS: Final = {
    Root.ASSET: "Assets",
    Root.LIABILITY: "Liabilities",
    Root.EQUITY: "Equity",
    Root.REVENUE: "Income",
    Root.EXPENSE: "Expenses",
}
MARK: Final = "X-"
COMMODITY_LENGTH_MAX: Final = 24
_COMMODITY = re.compile(r"[A-Z]([A-Z0-9'._-]{0,22}[A-Z0-9])?")
_WORDS: Final = frozenset({"TRUE", "FALSE", "NULL"})
"""Upper-case words that Beancount reads as something else than a commodity."""
_PART = re.compile(r"[A-Z0-9][A-Za-z0-9-]*")
_VISIBLE = re.compile(r"[^A-Za-z0-9]")
_UPPER = re.compile(r"[^A-Z0-9]")


def commodity(asset: str) -> str:
    """Return an asset's commodity: itself where Beancount allows it, else marked: `2330` is `X-2330`.

    At most 24 characters; a code whose escaped form is longer is cut and told apart by a digest of all of it.
    """
    if _COMMODITY.fullmatch(asset) and asset not in _WORDS and not asset.startswith(MARK):
        return asset
    escaped = MARK + _UPPER.sub(lambda found: _hex(found[0], mark="_"), asset)
    if len(escaped) <= COMMODITY_LENGTH_MAX:
        return escaped
    return MARK + hashlib.sha256(asset.encode()).hexdigest().upper()[: COMMODITY_LENGTH_MAX - len(MARK)]


def part(text: str) -> str:
    """Return one part of an account's name: itself where Beancount allows it, else marked: `main` is `X-main`."""
    if _PART.fullmatch(text) and not text.startswith(MARK):
        return text
    return MARK + _VISIBLE.sub(lambda found: _hex(found[0], mark="-"), text)


def _hex(text: str, *, mark: str) -> str:
    return "".join(f"{mark}{byte:02X}" for byte in text.encode())


def title(view: View, code: AccountCode) -> str:
    """Return an account's name as the views `user_journal` and `platform_journal` have it."""
    account = CHART[code]
    if view == View.USER or account.face != Face.BOTH:
        return account.name
    return "receivable" if code == AccountCode.DEBT else account.name.replace("wallet.", "user.")


@functools.lru_cache(maxsize=100_000)
def account(view: View, code: AccountCode, sub: str, owner_id: int | None) -> str:
    """Return an account's name: `Assets:U7:Wallet:OrderHold`, for the platform `Liabilities:User:OrderHold:U7`.

    No account is the parent of another, since a balance assertion of Beancount counts children too: one that is kept
    in parts always has its part in the name, elsewhere a part is tied to the last word.
    """
    root = CHART[code].user_root if view == View.USER else CHART[code].platform_root
    if root is None:
        raise InvariantViolationError(f"{code} is not in the {view}'s journal")
    words = ["".join(piece.capitalize() for piece in word.split("_")) for word in title(view, code).split(".")]
    if code in PARTS:
        words.append(part(sub))
    elif sub:
        words[-1] += f"-{part(sub)}"
    user = [] if owner_id is None else [f"U{owner_id}"]
    return ":".join([ROOTS[root], *user, *words] if view == View.USER else [ROOTS[root], *words, *user])
