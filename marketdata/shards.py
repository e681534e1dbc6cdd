"""Which shard an instrument is matched on.

Note [Where an instrument is]
    `Instrument.shard` is the truth: resting orders, positions and trade numbers of an instrument are in the engine of
    that shard, and its history in that shard's log. What is configured (`EXCHANGE_INSTRUMENT_SHARDS`) only says where
    an instrument goes when it is made; one that exists stays where it is, whatever the configuration says. Where the
    two disagree, `up` and `status` say so, and `manage.py move_instrument` moves it: Note [Moving an instrument] in
    trading/services/instrument_moves.py. An instrument that the configuration does not name goes to the shard that
    has the fewest, of several such to the lowest number.
"""

from typing import NamedTuple

from django.conf import settings
from django.db.models import Count

from marketdata.models import Instrument


class Disagreement(NamedTuple):
    """An instrument that is on another shard than the configuration would put it."""

    symbol: str
    configured: int
    actual: int

    def __str__(self) -> str:
        """Say so."""
        return (
            f"{self.symbol} is on shard {self.actual}; the configuration says {self.configured}, which is for new ones:"
            f" manage.py move_instrument {self.symbol} --to {self.configured}"
        )


def for_new(symbol: str) -> int:
    """Return the shard of an instrument that is about to be made."""
    if symbol in settings.INSTRUMENT_SHARDS:
        return settings.INSTRUMENT_SHARDS[symbol]
    counted = dict(Instrument.objects.values_list("shard").annotate(Count("id")).order_by("shard"))
    return min(range(settings.SHARDS), key=lambda shard: (counted.get(shard, 0), shard))


def disagreements() -> list[Disagreement]:
    """Return the instruments that are elsewhere than the configuration says, by symbol."""
    configured = settings.INSTRUMENT_SHARDS
    rows = Instrument.objects.filter(symbol__in=configured).order_by("symbol").values_list("symbol", "shard")
    return [Disagreement(symbol, configured[symbol], shard) for symbol, shard in rows if configured[symbol] != shard]


def by_shard() -> dict[int, list[str]]:
    """Return the symbols on each shard that has any."""
    found: dict[int, list[str]] = {}
    for shard, symbol in Instrument.objects.order_by("shard", "symbol").values_list("shard", "symbol"):
        found.setdefault(shard, []).append(symbol)
    return found
