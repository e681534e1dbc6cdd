"""`manage.py repost_suspended [KEY ...]`: posts what the books refused at settlement, once its cause is gone."""

import json
from argparse import ArgumentParser
from typing import Any, Final

from django.core.management import BaseCommand, CommandError

from exchange.embedded import session
from exchange.kernel.clock import utc_now
from trading.models import SuspendedEntry, SuspendedState
from trading.services import suspense

REFUSED: Final = 1
UNKNOWN: Final = 2


class Command(BaseCommand):
    """Exit codes: 0 everything was posted, or there was nothing; 1 the books refuse something still; 2 no such key."""

    help = "Post what settlement had to suspend, and clear suspense; --list only tells what there is."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare which, and the form of the result."""
        parser.add_argument("keys", nargs="*", metavar="KEY", help="such as trade:17; without any, all that are open")
        parser.add_argument("--list", action="store_true", help="change nothing")
        parser.add_argument("--json", action="store_true", help="one line of JSON on standard output")

    def handle(self, *_: Any, **options: Any) -> None:
        """List or post.

        Raises:
            CommandError: With the return codes above.
        """
        keys: list[str] = options["keys"]
        with session.servers("repost_suspended"):
            rows = SuspendedEntry.objects.filter(state=SuspendedState.OPEN).order_by("id")
            unknown = sorted(set(keys) - set(rows.values_list("key", flat=True)))
            if unknown:
                raise CommandError(f"not suspended: {', '.join(unknown)}", returncode=UNKNOWN)
            if options["list"]:
                done = [suspense.Reposted(row, row.refusal) for row in rows]
            else:
                done = suspense.repost(keys, now=utc_now())
        self._report(done, as_json=options["json"], listed=options["list"])
        refused = sum(bool(item.refusal) for item in done)
        if refused and not options["list"]:
            raise CommandError(f"the books still refuse {refused} of {len(done)}", returncode=REFUSED)

    def _report(self, done: list[suspense.Reposted], *, as_json: bool, listed: bool) -> None:
        """Print each with what became of it."""
        if as_json:
            body = [{"key": item.row.key, "kind": item.row.kind, "refusal": item.refusal} for item in done]
            self.stdout.write(json.dumps({"suspended" if listed else "entries": body}))
            return
        for item in done:
            self.stdout.write(f"{item.row.key}  {item.row.kind}  {item.refusal or 'posted'}")
        if not done:
            self.stdout.write("nothing is suspended")
