"""Writes the journal for outside tools, piece by piece: who opens the file needs nothing of ours to check the books.

A transaction is dated by the moment of the books that it counts for, in UTC: when it was recorded, or if it is flagged
late, when it happened. The balances at the end of a day are then those of the statements, and each day at whose end
some account differs asserts them.

Note [Digits]
    Beancount computes with 28 significant digits and rounds beyond them without a word. A journal in which a balance,
    or what a transaction moves of one asset, is longer than that is refused for Beancount; hledger has no such limit.
"""

import heapq
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, Inexact
from itertools import groupby, islice
from typing import NamedTuple

from exchange.kernel.errors import DomainError, InvariantViolationError, gettext_noop, require
from exchange.kernel.money import EXACT, plain
from ledger.exports import names, reading
from ledger.exports.names import View
from ledger.exports.reading import Balance, Cut, Entry, Head, Line
from ledger.exports.transactions import Fact, Format, Heading, Posting

ASSERTIONS_A_PIECE = 1_000
_INSTANT = timedelta(microseconds=1)
_DAY = timedelta(days=1)
_BEGINNING = datetime.min.replace(tzinfo=UTC)


class NothingToExportError(DomainError):
    """The books are empty, or were at that moment."""

    code = 4450
    name = "NOTHING_TO_EXPORT"
    message = gettext_noop("There is no journal entry to export.")


class PeriodError(DomainError):
    """A period ends before it begins."""

    code = 4451
    name = "EXPORT_PERIOD"
    message = gettext_noop("The period ends before it begins.")


class TooManyDigitsError(DomainError):
    """An amount is longer than what the outside tool computes with: Note [Digits]."""

    code = 4452
    name = "EXPORT_DIGITS"
    message = gettext_noop("%(tool)s computes with %(digits)s digits and would round %(amount)s %(asset)s.")


class Scope(NamedTuple):
    """What is exported.

    Args:
        before: The cut that the opening balance shows; None from the beginning of the books.
        end: The cut that the file ends at.
        known: The last entry that the file may know of.
        day: The day on which accounts and commodities are declared.
    """

    view: View
    before: Cut | None
    end: Cut
    known: Head
    day: date

    @property
    def entries(self) -> int:
        """How many entry numbers the period spans."""
        return self.end.entry_id - (self.before.entry_id if self.before else 0)


def scope(
    view: View, *, first: datetime | None = None, last: datetime | None = None, as_of: datetime | None = None
) -> Scope:
    """Settle what is exported, so that the file is the same whenever it is written again.

    Args:
        first: The first moment of the period; None from the beginning.
        last: The last moment of the period; None up to `as_of`.
        as_of: What was recorded after this moment is left out, late corrections too; None includes everything.

    Raises:
        NothingToExportError: No entry is recorded by then.
        PeriodError: The period ends before it begins.
    """
    known = reading.head(as_of)
    if known is None:
        raise NothingToExportError
    end = reading.cut(last or as_of or known.recorded_at, known.entry_id)
    if first is not None and first > end.moment:
        raise PeriodError
    if first is None:
        begun = reading.first_moment(known.entry_id) or known.recorded_at
        return Scope(view, None, end, known, min(begun, end.moment).date())
    before = reading.cut(first - _INSTANT, known.entry_id)
    return Scope(view, before, end, known, before.moment.date())


def pieces(
    asked: Scope, form: Format, now: datetime, advance: Callable[[int], None] = lambda _entry_id: None
) -> Iterator[str]:
    """Yield the file's text, in pieces of some kilobytes.

    Memory grows with the accounts that move in a day, not with entries or days.

    Args:
        now: The moment that the file says it was written at.
        advance: Told the number of each entry that is about to be written.

    Raises:
        TooManyDigitsError: The tool could not add an amount exactly: Note [Digits].
    """
    writer = _Writer(asked, form)
    yield from writer.declarations(now)
    if asked.before is not None:
        yield from writer.opening(asked.before)
    yield from writer.entries(advance)
    yield from writer.balances(asked.end, reading.balances(asked.view, asked.end))
    yield "\n" + form.remark(f"End of the file: {writer.transactions} transactions.")


class _Writer:
    """Writes one file."""

    def __init__(self, asked: Scope, form: Format) -> None:
        self.asked = asked
        self.form = form
        self.decimals = reading.decimals()
        self.units = {asset: Decimal(1).scaleb(-decimals) for asset, decimals in self.decimals.items()}
        self.commodities = {asset: names.commodity(asset) for asset in self.decimals}
        require(len(set(self.commodities.values())) == len(self.commodities), "two assets have the same commodity")
        self.transactions = 0

    def declarations(self, now: datetime) -> Iterator[str]:
        """Yield the header, the commodities and the accounts."""
        asked, form = self.asked, self.form
        begin = (
            f"after entry {asked.before.entry_id}, {_moment(asked.before.moment)},"
            if asked.before
            else "from the first"
        )
        yield form.header(
            f"Journal of {'the platform' if asked.view == View.PLATFORM else 'the users'}",
            [
                f"Entries {begin} to entry {asked.end.entry_id}, {_moment(asked.end.moment)} UTC.",
                f"Known: entry {asked.known.entry_id}, hash {asked.known.hash}.",
                f"Written at {_moment(now)} UTC. Days are UTC; debit is positive.",
            ],
        )
        for asset, decimals in self.decimals.items():
            yield form.commodity(asked.day, self.commodities[asset], asset, decimals)
        yield "\n"
        ever = Cut(asked.known.recorded_at, asked.known.entry_id, asked.known.entry_id)
        for _, accounts in groupby(reading.balances(asked.view, ever), key=lambda account: account.owner_id):
            yield "".join(self._openings(accounts))

    def _openings(self, accounts: Iterable[Balance]) -> Iterator[str]:
        """Declare the accounts of one owner."""
        held: dict[str, list[str]] = defaultdict(list)
        for account in accounts:
            held[self._name(account)].append(self.commodities[account.asset])
        for name, commodities in held.items():
            yield self.form.opening(self.asked.day, name, commodities)

    def opening(self, before: Cut) -> Iterator[str]:
        """Yield what each journal's owner had when the period began: by itself balanced, as every journal is."""
        held = (balance for balance in reading.balances(self.asked.view, before) if balance.amount)
        by_journal = groupby(held, key=lambda balance: balance.owner_id if self.asked.view == View.USER else None)
        for owner_id, balances in by_journal:
            facts: list[tuple[str, Fact]] = [("opening", True), ("entry", before.entry_id)]
            facts += [("owner", owner_id)] if owner_id is not None else []
            yield from self._transaction(
                Heading(before.moment.date(), before.entry_id, "OPENING BALANCE", facts), balances
            )

    def entries(self, advance: Callable[[int], None]) -> Iterator[str]:
        """Yield the period's entries, and between days the balances of the accounts that moved."""
        asked = self.asked
        after, first = (asked.before.moment, asked.before.entry_id + 1) if asked.before else (_BEGINNING, 1)
        merged = heapq.merge(
            reading.punctual(asked.view, first, asked.end.entry_id),
            reading.late(asked.view, after, asked.end.moment, asked.known.entry_id),
            key=lambda entry: (entry.moment, entry.id),
        )
        moved: set[int] = set()
        yesterday: date | None = None
        for day, entries in groupby(merged, key=lambda entry: entry.moment.date()):
            if yesterday is not None:
                yield from self._end_of_day(yesterday, moved)
            moved.clear()
            for entry in entries:
                advance(entry.id)
                moved.update(line.account_id for line in entry.lines)
                yield "".join(self._entry(entry))
            yesterday = day

    def _end_of_day(self, day: date, moved: set[int]) -> Iterator[str]:
        """Yield the balances that the accounts which moved on a day had at its end."""
        midnight = datetime.combine(day + _DAY, time.min, tzinfo=UTC)
        at = reading.cut(midnight - _INSTANT, self.asked.known.entry_id)
        yield from self.balances(at, reading.balances_of(self.asked.view, at, moved))

    def balances(self, at: Cut, balances: Iterator[Balance]) -> Iterator[str]:
        """Yield assertions of balances at a cut."""
        while page := list(islice(balances, ASSERTIONS_A_PIECE)):
            for balance in page:
                self._check_digits(balance.asset, balance.amount.copy_abs())
            yield self.form.assertions(at.moment.date(), [self._posting(balance) for balance in page])

    def _entry(self, entry: Entry) -> Iterator[str]:
        """Yield an entry: one transaction a journal's owner, so that no user's error can cancel another's."""
        facts: list[tuple[str, Fact]] = [
            ("entry", entry.id),
            ("kind", entry.kind),
            ("key", entry.key),
            ("trace", entry.trace),
            ("effective_at", _moment(entry.effective_at)),
            ("recorded_at", _moment(entry.recorded_at)),
        ]
        facts += [("late", True)] if entry.late else []
        facts += [("reverses", entry.reverses)] if entry.reverses else []
        facts += [("hash", entry.hash)]
        day = entry.moment.date()
        if self.asked.view == View.PLATFORM:
            yield from self._transaction(Heading(day, entry.id, entry.kind, facts), entry.lines)
            return
        of_owner: dict[int, list[Line]] = defaultdict(list)
        for line in entry.lines:
            of_owner[line.owner_id or 0].append(line)
        for owner_id, lines in of_owner.items():
            yield from self._transaction(Heading(day, entry.id, entry.kind, [*facts, ("owner", owner_id)]), lines)

    def _transaction(self, heading: Heading, lines: Iterable[Line | Balance]) -> Iterator[str]:
        """Yield a transaction."""
        self.transactions += 1
        yield self.form.heading(heading)
        moved: dict[str, Decimal] = defaultdict(Decimal)
        for line in lines:
            moved[line.asset] = EXACT.add(moved[line.asset], line.amount.copy_abs())
            yield self.form.posting(self._posting(line))
        for asset, amount in moved.items():
            self._check_digits(asset, amount)

    def _name(self, line: Line | Balance) -> str:
        return names.account(self.asked.view, line.code, line.sub, line.owner_id)

    def _posting(self, line: Line | Balance) -> Posting:
        """Write an amount at the asset's full scale; a finer one is a fault of the books, and stops the export."""
        try:
            exact = EXACT.quantize(line.amount, self.units[line.asset])
        except Inexact:
            raise InvariantViolationError(f"account {line.account_id}: {line.amount} is no whole quantum") from None
        return Posting(self._name(line), format(exact, "f"), self.commodities[line.asset])

    def _check_digits(self, asset: str, amount: Decimal) -> None:
        """Refuse an amount that the tool would round: Note [Digits]."""
        digits = self.form.DIGITS_MAX
        if digits is not None and amount.adjusted() + 1 + self.decimals[asset] > digits:
            raise TooManyDigitsError(tool=self.form.NAME, digits=digits, amount=plain(amount), asset=asset)


def _moment(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}"
