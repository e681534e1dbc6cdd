"""`manage.py move_instrument SYMBOL --to SHARD`: let another matching worker match an instrument."""

import time
from argparse import ArgumentParser
from typing import Any

from django.core.management import BaseCommand, CommandError

from exchange.embedded import session
from exchange.kernel.clock import utc_now
from exchange.kernel.errors import DomainError
from marketdata.selectors import SPEC_SECONDS
from marketdata.units import InstrumentSpec
from trading.services import instrument_moves
from trading.services.instrument_moves import Moved

ASK_SECONDS = 0.05


class Command(BaseCommand):
    """Move an instrument, or say that it is there already."""

    help = "Move a halted instrument to another shard; open orders on it are cancelled, positions go with it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare what goes where."""
        parser.add_argument("symbol")
        parser.add_argument("--to", type=int, required=True, metavar="SHARD", help="the shard it is to be on")
        parser.add_argument(
            "--wait", type=float, default=60.0, metavar="SECONDS", help="for what is in its log to be settled"
        )

    def handle(self, *_: Any, **options: Any) -> None:
        """Move it, and say what went with it.

        Raises:
            CommandError: It may not be moved, or its log was not settled in time; it is where it was.
        """
        symbol, to = options["symbol"], options["to"]
        with session.servers("move_instrument"):
            try:
                spec = instrument_moves.check(symbol, to)
                if spec is None:
                    self.stdout.write(f"{symbol} is on shard {to} already.")
                    return
                time.sleep(SPEC_SECONDS)  # from here on no process takes it for one that trades
                count = instrument_moves.ask_for_cancels(spec, now=utc_now())
                moved = self._moved(spec, to, options["wait"])
            except DomainError as refusal:
                raise CommandError(str(refusal)) from refusal
        self.stdout.write(
            f"{symbol}: shard {moved.from_shard} -> {to}; {count} orders cancelled, {moved.positions} positions moved."
            f" Its commands end at {moved.from_shard}:{moved.from_sequence} and go on after {to}:{moved.to_sequence}."
            f" Both workers start anew. To open it: manage.py set_trading_state {symbol} trading"
        )

    @staticmethod
    def _moved(spec: InstrumentSpec, to: int, wait: float) -> Moved:
        """Try until it is moved."""
        deadline = time.monotonic() + wait
        while (moved := instrument_moves.attempt(spec, to, now=utc_now())) is None:
            if time.monotonic() > deadline:
                raise CommandError(
                    f"After {wait:g} s commands about {spec.symbol} are still not settled on shard {spec.shard}; does"
                    f" its worker run (manage.py status)? Nothing was moved; the command can be repeated."
                )
            time.sleep(ASK_SECONDS)
        return moved
