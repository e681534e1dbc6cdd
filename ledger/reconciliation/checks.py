"""What a check is, and the register of all of them. Upper apps add theirs when they are ready (`AppConfig.ready`).

A check compares two things that must agree, in two ways:

* `look`, a few times a minute: what is new since its mark, at a cost that follows from what is new;
* `full`, nightly and on demand: everything there is, in parts of bounded size.

A look also looks again where the check's unresolved breaks are, so that these resolve themselves once it passes there.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from functools import cached_property
from typing import Any, Final, NamedTuple

from django.conf import settings
from django.db import connection

from exchange.kernel.errors import gettext_noop, require

FINDINGS_MAX: Final = 200
"""Findings of one check that a run records one by one; of more it is said that there are more."""

LOOK_SECONDS: Final = 2
"""How often a check that follows what is new looks."""

SLACK_SECONDS: Final = 10
"""What a look may come late: its own time, that of the checks before it, a restart of the process."""

NIGHTLY_SECONDS: Final = 26 * 3600
"""From one nightly run to the end of the next."""

Place = Any
"""Where a check looks again: JSON of its own."""

ONLY_FULL: Final = "full"
"""The place of what no look can cover again, only a full pass."""

Position = dict[str, Any]
"""How far a check has come: JSON of its own."""

Progress = Callable[[int, int], None]
"""Called with how much is done, and of how much."""


class Severity(StrEnum):
    """What a break does beside being recorded: nothing, raise an alert, or also stop withdrawals."""

    WATCH = "watch"
    ALERT = "alert"
    STOP = "stop"


class Finding(NamedTuple):
    """Something that does not agree.

    Args:
        subject: What it is about, such as `entry 17`; with the check's name it tells one break from another.
        cause: The key of the text in the check's `causes`.
        figures: What that text's places stand for.
        place: Where to look again; None if every look covers it.
        amount: By how much, in `asset`, if it is about an amount.
    """

    subject: str
    cause: str
    figures: Mapping[str, Any]
    place: Place = None
    asset: str = ""
    amount: Decimal | None = None


class Seen(NamedTuple):
    """What a look or a full pass has found.

    Args:
        position: The new mark.
        items: How many items were compared.
        behind: How many wait for the next look.
        store: Called when the mark is written.
    """

    findings: list[Finding]
    position: Position
    items: int
    behind: int = 0
    store: "Store | None" = None


Store = Callable[[datetime], None]
"""Writes what a check remembers beside its mark, in the same transaction, since a look itself may only read."""


@dataclass
class Scope:
    """What a look starts from.

    Args:
        position: The check's mark; empty before its first look.
        again: The places of its unresolved breaks.
        memory: Kept between the looks of one process, for checks that would otherwise start over.
    """

    position: Position
    again: Sequence[Place]
    now: datetime
    memory: dict[str, Any] = field(default_factory=dict)
    shared: dict[str, Any] = field(default_factory=dict)
    """What one check of a round has read and others use, such as the ledger's head."""

    @cached_property
    def entry_head(self) -> int:
        """The number of the last journal entry."""
        if "entry_head" not in self.shared:
            with connection.cursor() as cursor:
                cursor.execute("SELECT entry_id FROM ledger_head")
                self.shared["entry_head"] = cursor.fetchone()[0]
        head: int = self.shared["entry_head"]
        return head


@dataclass(frozen=True, kw_only=True)
class Check:
    """A comparison with a permanent name.

    Args:
        name: `noun.what`; breaks and marks are stored under it.
        compares: What with what, for people.
        causes: What may be wrong, as templates over a finding's figures.
        look: The incremental form; None for a check that only full runs make.
        full: The full form.
        equation: The exact equation that it stands for: R1 to R9.
        every: Seconds from one look to the next.
        severity: What a break does, unless RECONCILIATION_SEVERITY says otherwise.
    """

    name: str
    compares: str
    causes: Mapping[str, str]
    full: Callable[[Progress], Seen]
    look: Callable[[Scope], Seen] | None = None
    equation: str = ""
    every: int = LOOK_SECONDS
    severity: Severity = Severity.ALERT

    @property
    def notices_within(self) -> int:
        """Seconds until something wrong in what is new is a break."""
        return NIGHTLY_SECONDS if self.look is None else self.every + SLACK_SECONDS

    @property
    def reaction(self) -> Severity:
        """What a break of this check does here."""
        return Severity(settings.RECONCILIATION_SEVERITY.get(self.name, self.severity))

    def cause_text(self, cause: str) -> str:
        """Return the template of a cause."""
        return self.causes.get(cause) or OWN_CAUSES[cause]


FAILED: Final = "failed"
MORE: Final = "more"
OWN_CAUSES: Final = {
    FAILED: gettext_noop("The check itself failed: %(error)s"),
    MORE: gettext_noop("There are more than %(count)s; the others are not listed."),
}
"""What any check may find about itself."""

_REGISTER: dict[str, Check] = {}


def register(*checks: Check) -> None:
    """Add checks; a name belongs to one check for ever."""
    for check in checks:
        require(_REGISTER.setdefault(check.name, check) is check, f"two checks are named {check.name}")


def registered() -> list[Check]:
    """Return every check, in the order of registration."""
    return list(_REGISTER.values())


def named(name: str) -> Check | None:
    """Return a check, or None if there is none of that name."""
    return _REGISTER.get(name)
