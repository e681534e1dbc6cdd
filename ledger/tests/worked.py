"""Reads, posts and prints the worked examples of POSTING.md."""

import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

from django.db import connection

from exchange.kernel.clock import utc_now
from exchange.kernel.money import to_quanta
from ledger import journal_text, posting_rules, waterfall
from ledger.access import Role
from ledger.entries import AccountKey, EntryDraft
from ledger.models import JournalEntry
from ledger.posting_rules import WITHOUT_RULE, EventKind
from ledger.services import accounts, debts, journal, manual_entries, proposals, reversal
from ledger.services.manual_entries import ProposedLine
from ledger.tests.factories import NOW, staff

POSTING = Path(__file__).parent.parent / "POSTING.md"
ROLES = ("user", "buyer", "seller")
ASSETS = ("asset", "base", "quote")
DECIMALS = 8
OPENS = {EventKind.OPEN_FILL, EventKind.FLIP_OPEN, EventKind.CLOSE_TO_OPEN}
CLOSES = {EventKind.CLOSE_FILL, EventKind.FLIP_CLOSE, EventKind.OPEN_TO_CLOSE, EventKind.ADL_CLOSE}
CLOSING = re.compile(r"^```closing\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_BLOCK = re.compile(r"^```(posting|setup)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Event(NamedTuple):
    """One event as the page writes it: `KIND role=name asset=CODE part=NAME amount=number`.

    An entry that people make has lines of its own, `KIND owner:account:asset:amount ...`, or names the kind of the
    entry that it reverses, `REVERSAL of=KIND`.
    """

    kind: EventKind
    words: dict[str, str]
    lines: list[list[str]]

    @classmethod
    def read(cls, text: str) -> "Event":
        """Read an event, over as many lines of text as it takes."""
        kind, *words = text.split()
        pairs = dict(word.split("=") for word in words if "=" in word)
        return cls(EventKind(kind), pairs, [word.split(":") for word in words if "=" not in word])

    def amounts(self) -> dict[str, Decimal]:
        """Return the words that are numbers."""
        return {name: Decimal(word) for name, word in self.words.items() if re.fullmatch(r"[0-9.]+", word)}

    def draft(self, people: Mapping[str, int], key: str) -> EntryDraft:
        """Compose the entry."""
        return posting_rules.draft(
            self.kind,
            key=key,
            effective_at=NOW,
            trace="worked-example",
            roles={role: people[self.words[role]] for role in ROLES if role in self.words},
            assets={name: self.words[name] for name in ASSETS if name in self.words},
            amounts=self.amounts(),
            parts={name: word for name, word in self.words.items() if name not in {*ROLES, *ASSETS}}
            | {name: self.words[name] for name in ("buyer", "seller") if name in self.words},
            debts=debts.owed(people.values()),
        )


def blocks() -> Iterator[tuple[bool, list[Event], str]]:
    """Yield each block of the page: whether its entry is printed, its events, the whole text."""
    for style, text in _BLOCK.findall(POSTING.read_text()):
        head, _, _ = text.partition("\n\n")
        events = [head] if style == "posting" else head.splitlines()
        yield style == "posting", [Event.read(event) for event in events], text


def post(event: Event, people: Mapping[str, int], key: str) -> int:
    """Check an event's amounts against the waterfall, post it, and return its entry's number."""
    if event.kind in WITHOUT_RULE:
        return post_by_people(event, people)
    if event.kind == EventKind.DEBT_REPAYMENT:  # posted together with the entry before it
        return JournalEntry.objects.get(pk=JournalEntry.objects.latest("id").pk, kind=event.kind).pk
    if event.kind in OPENS | CLOSES:
        assert_waterfall(event, people[event.words["user"]])
    [entry] = journal.post([event.draft(people, key)], NOW)
    return entry.id


def post_by_people(event: Event, people: Mapping[str, int]) -> int:
    """Propose, approve and post an entry as staff do."""
    now = utc_now()
    if event.kind == EventKind.REVERSAL:
        wrong = JournalEntry.objects.filter(kind=event.words["of"]).latest("id")
        proposal = reversal.propose(staff(Role.ACCOUNTANT), wrong.pk, "worked example", now=now)
    else:
        lines = [ProposedLine(people.get(who), code, asset, Decimal(v)) for who, code, asset, v in event.lines]
        days_ago = event.words.get("days_ago")
        effective_at = None if days_ago is None else now - timedelta(days=int(days_ago))
        proposal = manual_entries.propose(
            staff(Role.ACCOUNTANT), lines, "worked example", effective_at=effective_at, now=now
        )
    proposals.approve(staff(Role.APPROVER), proposal.pk, now=now)
    proposals.carry_out(now)
    proposal.refresh_from_db()
    assert proposal.entry_id is not None
    return int(proposal.entry_id)


def assert_waterfall(event: Event, owner_id: int) -> None:
    """Compare written amounts with what the waterfall makes of the user's wallets."""
    quanta = {name: to_quanta(amount, DECIMALS) for name, amount in event.amounts().items()}
    key = AccountKey(owner_id, "1010", event.words["asset"])
    available = to_quanta(accounts.balances([key])[key], DECIMALS)
    wanted = quanta.pop("wanted", quanta["margin"])
    if event.kind in OPENS:
        amounts, missing = waterfall.open_position(
            fee=quanta["fee"], margin=wanted, hold_share=quanta["hold_share"], available=available
        )
        assert amounts._asdict() == quanta
        assert missing == wanted - quanta["margin"]
    else:
        result = quanta["profit"] - quanta["loss"]
        closed = waterfall.close_position(
            result=result,
            fee=quanta["fee"],
            margin=quanta["margin"],
            hold_share=quanta["hold_share"],
            available=available,
        )
        assert closed._asdict() == quanta


def closing_balances() -> str:
    """Print the platform's balances, as the last block of the page has them."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT name, asset, sum(amount) FROM (
                SELECT account || CASE WHEN sub = '' THEN '' ELSE '/' || sub END AS name, asset, amount
                FROM platform_journal) j
            GROUP BY 1, 2 HAVING sum(amount) <> 0 ORDER BY 2 DESC, 1
            """
        )
        rows = cursor.fetchall()
    head = f"{'platform, at the end':<34}{'debit':>14}{'credit':>14}"
    return "\n".join([head, *(journal_text.line(name, "", asset, amount) for name, asset, amount in rows)])
