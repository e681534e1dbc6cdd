"""What `up` shows: a line per step, and the children's lines under their names, in their colours.

Everything a child prints also goes to a file of its own in the data folder.
"""

import contextlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.text import Text

LOG_BYTES_MAX = 16 * 1024 * 1024
COLOURS = ("cyan", "magenta", "green", "yellow", "blue", "bright_cyan", "bright_magenta", "bright_green")


class Screen:
    """The terminal, or whatever standard output is; it may go away without stopping the exchange."""

    def __init__(self) -> None:
        self._console = Console(file=sys.stdout, highlight=False, soft_wrap=True)
        self._colours: dict[str, str] = {}

    def _print(self, text: Text | str) -> None:
        with contextlib.suppress(OSError):
            self._console.print(text)

    def _prefix(self, name: str) -> Text:
        colour = self._colours.setdefault(name, COLOURS[len(self._colours) % len(COLOURS)])
        return Text(f"{name:<10} | ", style=colour)

    def line(self, name: str, line: str) -> None:
        """Show a line that a child printed."""
        self._print(self._prefix(name) + Text.from_ansi(line))

    def note(self, name: str, sentence: str) -> None:
        """Show what happened to a child."""
        self._print(self._prefix(name) + Text(sentence, style="bold"))

    def say(self, text: Text | str = "") -> None:
        """Show a line of our own."""
        self._print(text)

    @contextlib.contextmanager
    def step(self, title: str) -> Iterator[list[str]]:
        """Show that a step runs, then how long it took; the body may append a remark to the list."""
        remarks: list[str] = []
        started = time.monotonic()
        with contextlib.ExitStack() as stack:
            if self._console.is_terminal:
                stack.enter_context(self._console.status(title))
            yield remarks
        remark = f" ({'; '.join(remarks)})" if remarks else ""
        self._print(
            Text("  ok  ", style="bold green")
            + Text(f"{title}{remark} ")
            + Text(f"{time.monotonic() - started:.1f} s", style="dim")
        )


class Logs:
    """A file per child, begun anew when it has grown too large."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def write(self, name: str, line: str) -> None:
        """Append one line."""
        path = self._folder / f"{name}.log"
        with contextlib.suppress(OSError):
            if path.exists() and path.stat().st_size > LOG_BYTES_MAX:
                path.replace(path.with_suffix(".log.1"))
            with path.open("a") as file:
                file.write(f"{line}\n")
