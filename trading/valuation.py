"""Values open positions at the mark price, for the ledger's statements: they cannot import positions and prices.

The mark is the one that settlement has come to, so that positions and price are of the same moment of the log. Of a
moment in the past the positions are known and the mark is not: nothing is said then. Nothing is posted for a price that
moves; what clearing has is what all positions cost, and their profits and losses at any one price add up to that.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from exchange import database
from ledger.reports import unrealised
from ledger.reports.unrealised import ContractAtMark, PositionAtMark

# Exact: tick, lot and contract size multiply to whole quanta of the quote asset.
_PROFITS: Final = """
SELECT p.user_id, p.symbol, i.quote_id,
       (s.settled_mark * i.contract_size * p.quantity - p.open_cost)::numeric(38, 18) AS profit
FROM positions p
JOIN marketdata_instrument i ON i.id = p.instrument_id JOIN instrument_state s ON s.instrument_id = i.id
WHERE p.quantity <> 0
"""
_CONTRACTS: Final = f"""
SELECT symbol, quote_id, coalesce(sum(profit) FILTER (WHERE profit > 0), 0),
       coalesce(-sum(profit) FILTER (WHERE profit < 0), 0)
FROM ({_PROFITS}) p GROUP BY symbol, quote_id ORDER BY symbol
"""
_OF_USER: Final = f"SELECT symbol, quote_id, profit FROM ({_PROFITS} AND p.user_id = %s) p ORDER BY symbol"


class Positions:
    """The `unrealised.Valuer` of this app."""

    def contracts(self, at: datetime | None) -> Sequence[ContractAtMark] | None:
        """Return every contract with open positions, now; None for the past. One statement."""
        if at is not None:
            return None
        [rows] = database.fetch((_CONTRACTS, ()))
        return [ContractAtMark(symbol, asset, winning, losing) for symbol, asset, winning, losing in rows]

    def positions(self, owner_id: int, at: datetime | None) -> Sequence[PositionAtMark] | None:
        """Return one user's open positions, now; None for the past. One statement."""
        if at is not None:
            return None
        [rows] = database.fetch((_OF_USER, (owner_id,)))
        return [PositionAtMark(symbol, asset, profit) for symbol, asset, profit in rows]


def register() -> None:
    """Provide it, once, when the process starts."""
    unrealised.provide(Positions())
