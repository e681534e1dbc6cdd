"""Where the recorded market data and the scenarios are, which are no part of the project."""

import os
from pathlib import Path


def shared_data() -> Path:
    """Return the folder that EXCHANGE_SHARED_DATA names, else the one beside the checkout."""
    beside = Path(__file__).parents[2].parent / "shared" / "data"
    return Path(os.environ.get("EXCHANGE_SHARED_DATA", beside))
