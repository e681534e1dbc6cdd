"""How much room the disk of a WAL has left."""

import os
from pathlib import Path
from typing import Final

FREE_BYTES_MIN: Final = 256 * 1024 * 1024
"""Below this it is told: room for four segments. A WAL that finds no room ends the worker (`STORAGE.md`)."""


def free_bytes(folder: Path) -> int | None:
    """Return how much may still be written by who is not root; None where the folder is on another machine."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return None
    return found.f_bavail * found.f_frsize
