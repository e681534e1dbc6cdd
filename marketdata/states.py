"""What an instrument allows, in the words of the table, of the engine and of the wire. Pure."""

from typing import Final

from matching_worker.protocol import TradingState

ENGINE_STATES: Final = {
    "PRE_OPEN": TradingState.PRE_OPEN,
    "AUCTION": TradingState.AUCTION,
    "TRADING": TradingState.CONTINUOUS,
    "CANCEL_ONLY": TradingState.CANCEL_ONLY,
    "HALTED": TradingState.HALTED,
    "CLOSED": TradingState.CLOSED,
}
"""By `models.InstrumentStatus`."""

WORDS: Final = tuple(state.name.lower() for state in TradingState)
"""The wire's words: pre_open, continuous, halted, cancel_only, closed, auction."""


def word(state: TradingState) -> str:
    """Return the wire's word for a state of the engine."""
    return state.name.lower()
