"""Command logs in memory, each matched once by the reference book: scenes that begin alike share what they have."""

from matching_worker import protocol
from matching_worker.book.reference import ReferenceEngine
from matching_worker.protocol import CommandKind, Rows
from trading.services.command_log import CommandRow


class Matched:
    """A log up to a command, and what matching made of it; logs that begin alike share their beginning."""

    def __init__(self, before: "Matched | None", command: Rows | None) -> None:
        self.before = before
        self.command = command
        self.length: int = 0 if before is None else before.length + 1
        self.mark_ticks: int = 0 if before is None else before.mark_ticks
        if command is not None and command["kind"][0] == CommandKind.MARK_PRICE:
            self.mark_ticks = int(command["price_ticks"][0])
        self._after: dict[bytes, Matched] = {}
        engine = ReferenceEngine(0, 0)
        for row in self._commands():
            self.events = engine.apply(row)
        self.positions = dict(engine.positions)
        """The engine's positions after the command, by trader and contract."""
        self.open_orders = set(engine.orders)
        self.placed: set[int] = set() if before is None else before.placed
        """The orders of which the log has a PLACE."""
        if command is not None and command["kind"][0] == CommandKind.PLACE:
            self.placed = self.placed | {int(command["order_id"][0])}

    def then(self, row: CommandRow) -> "Matched":
        """Return the log with one more command."""
        command = protocol.encode(**row._asdict(), sequence=self.length + 1)
        found = self._after.get(key := command.tobytes())
        if found is None:
            found = self._after[key] = Matched(self, command)
        return found

    def at(self, sequence: int) -> "Matched":
        """Return the log as it was after an earlier command."""
        found = self
        while found.length > sequence and found.before is not None:
            found = found.before
        return found

    def after(self, sequence: int) -> "list[Matched]":
        """Return what came after an earlier command, oldest first."""
        found, log = [], self
        while log.length > sequence and log.before is not None:
            found.append(log)
            log = log.before
        return found[::-1]

    def _commands(self) -> list[Rows]:
        return [one.command for one in self.after(0) if one.command is not None]
