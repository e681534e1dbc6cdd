"""Reads `trading/VECTORS.md`: what happens in each vector, and what is then shown."""

import re
from pathlib import Path
from typing import Final, NamedTuple

from django.conf import settings

PAGE: Final = Path(settings.BASE_DIR) / "trading" / "VECTORS.md"
_VECTOR = re.compile(r"^## (.+?)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
_BLOCK = re.compile(r"^```happens\n(.*?)^```\n+```shows\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """What happens, and the text that shows what came of it.

    Attributes:
        steps: Lines of things that are done before the next settlement; most lines have one.
    """

    steps: list[list[str]]
    shows: str


class Vector(NamedTuple):
    """One vector: its heading, the words above its first block, its blocks."""

    title: str
    words: str
    blocks: list[Block]


def read() -> list[Vector]:
    """Return the vectors in the page's order."""
    found = []
    for title, text in _VECTOR.findall(PAGE.read_text()):
        blocks = [
            Block([line.split("; ") for line in happens.splitlines()], shows) for happens, shows in _BLOCK.findall(text)
        ]
        if blocks:
            found.append(Vector(title, text.partition("```")[0].strip(), blocks))
    return found
