"""`manage.py trace ID`: the whole story of an order, a trade, an entry, a request, a deposit or a withdrawal."""

import json
from argparse import ArgumentParser
from typing import Any, Final

from django.core.management import BaseCommand, CommandError
from rich.console import Console

from exchange.embedded import session
from exchange.kernel.errors import DomainError
from ledger.tracing import story
from ledger.tracing.story import Fact, Story

NOTHING_FOUND: Final = 1
_MOMENT: Final = "%Y-%m-%d %H:%M:%S.%f"
_BLANK: Final = " " * 26
_COLUMNS: Final = ("n", "owner", "account", "asset", "debit", "credit", "balance")
_RIGHT: Final = {"n", "debit", "credit", "balance"}


class Command(BaseCommand):
    """Exit codes: 0 the story was told, 1 nothing is known under this name."""

    help = "Tell the whole story of an order, trade, entry, key, trace id, client order id, withdrawal or deposit."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the name and the form of the story."""
        words = ", ".join(kind.value for kind in story.Kind)
        parser.add_argument("id", help=f"a number, key or id; to be exact, with what it is before a colon: {words}")
        parser.add_argument("--quick", action="store_true", help="no search of whole tables, no replay of the log")
        parser.add_argument("--json", action="store_true", help="one line of JSON on standard output")

    def handle(self, *_: Any, **options: Any) -> None:
        """Tell.

        Raises:
            CommandError: Return code 1 when there is nothing of that name.
        """
        console = Console(stderr=True)
        with session.servers("trace"), console.status("looking"):
            try:
                told = story.tell(options["id"], thorough=not options["quick"])
            except DomainError as refusal:
                raise CommandError(str(refusal), returncode=NOTHING_FOUND) from refusal
        if options["json"]:
            self.stdout.write(json.dumps(story.as_json(told)))
        else:
            self._print(told)

    def _print(self, told: Story) -> None:
        """Print section by section, in the order of the road."""
        found = ", ".join(f"{kind} {one}" for kind, one in story.kinds(told.found))
        self.stdout.write(f"{told.term.text}: {found}")
        for section in told.sections:
            self.stdout.write("")
            self.stdout.write(self.style.MIGRATE_HEADING(section.title))
            for fact in section.facts:
                self._print_fact(fact)
            if section.more:
                self.stdout.write(f"  and more than {story.FACTS_MAX}")

    def _print_fact(self, fact: Fact) -> None:
        """Print a fact with what is known of it, and its lines as tables."""
        self.stdout.write(f"  {fact.at.strftime(_MOMENT) if fact.at else _BLANK}  {fact.what}")
        details = [f"{name}={_written(value)}" for name, value in fact.details.items() if value not in (None, "", {})]
        if details:
            self.stdout.write(f"    {'  '.join(details)}")
        for title, rows in fact.tables:
            if rows:
                self.stdout.write(f"    {title}")
                for line in _table(rows):
                    self.stdout.write(f"      {line}")


def _written(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False) if isinstance(value, dict | list) else str(value)


def _table(rows: list[dict[str, Any]]) -> list[str]:
    """Lay rows out in columns."""
    cells = [
        ["platform" if name == "owner" and row[name] is None else str(row[name]) for name in _COLUMNS] for row in rows
    ]
    widths = [max(len(row[place]) for row in [*cells, list(_COLUMNS)]) for place in range(len(_COLUMNS))]
    return [
        "  ".join(
            text.rjust(width) if name in _RIGHT else text.ljust(width)
            for name, text, width in zip(_COLUMNS, row, widths, strict=True)
        ).rstrip()
        for row in [list(_COLUMNS), *cells]
    ]
