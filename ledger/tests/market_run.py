"""The histories that the random market has played from one seed: what was posted, and the longest for outside tools."""

import itertools
from collections import Counter
from pathlib import Path

from exchange.kernel.money import from_quanta
from ledger.exports import journal
from ledger.exports.formats import FORMATS
from ledger.exports.names import View
from ledger.posting_rules import EventKind
from ledger.tests import outside
from ledger.tests.factories import NOW
from ledger.tests.market import Market
from ledger.tests.market_books import DECIMALS


class Run:
    """The histories of one seed, and the longest of them as files for outside tools.

    Args:
        folder: Where the files are written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.played: list[Market] = []
        self._longest: Market | None = None

    @property
    def kinds(self) -> Counter[str]:
        """Return how many entries of each kind were posted."""
        return sum((market.kinds for market in self.played), Counter[str]())

    def _path(self, form: str, view: View) -> Path:
        return self.folder / f"{view}.{FORMATS[form].SUFFIX}"

    def export(self, market: Market) -> None:
        """Write the files of a history that is longer than those before, while it stands."""
        if market.kinds.total() > (self._longest.kinds.total() if self._longest else 0):
            self._longest = market
            for form, view in itertools.product(FORMATS, View):
                with self._path(form, view).open("w") as file:
                    file.writelines(journal.pieces(journal.scope(view), FORMATS[form], NOW))

    def told(self, first: int, seconds: float) -> str:
        """Return what was played, by kind."""
        kinds, steps = self.kinds, sum(market.steps for market in self.played)
        by_kind = ", ".join(f"{kind} {kinds[kind]}" for kind in EventKind)
        played = f"{kinds.total()} entries in {steps} steps of {len(self.played)} histories, {seconds:.0f} s"
        return f"\nseed {first}: {played}\n  {by_kind}\n"

    def check_exported(self) -> None:
        """R9: the tools that this machine has accept the files, and reckon the balances of the copy."""
        assert self._longest is not None
        ours = {key: from_quanta(balance, DECIMALS) for key, balance in self._longest.balances.items()}
        for form, view in itertools.product(FORMATS, View):
            if form == "beancount" or outside.HLEDGER is not None:
                assert outside.check(form, self._path(form, view)) == ""
                assert outside.balances(form, self._path(form, view)) == outside.expected(view, ours)
