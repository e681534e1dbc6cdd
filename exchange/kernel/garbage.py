"""How often a process looks for reference cycles.

Almost everything that an order makes is freed when nobody refers to it any more, without any search. But Python
searches for cycles after every 700 objects that were made and not freed, which a batch of orders makes many times
over; that took a fifth of the processor time of admission and settlement, measured. A start, too, makes 200,000
objects that stay, and searching through them took a sixth of its processor time.
"""

import gc
from typing import Final

YOUNG_MAX: Final = 50_000
"""Objects made and not freed, after which the young ones are searched."""

ROUNDS: Final = 20
"""Searches of a generation before the next older one is searched too."""


def search_rarely() -> None:
    """Let this process search for cycles less often; those that there are then take more memory for longer."""
    gc.set_threshold(YOUNG_MAX, ROUNDS, ROUNDS)
