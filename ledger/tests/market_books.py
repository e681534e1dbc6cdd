"""Posts the events of the random market, and compares the books with a copy of what each event means after every entry.

The copy is kept by other means than the books: quanta as integers, the bank's statement by the meaning of the event.
`BooksAndCopy.check_books` runs after each entry; `market.Market.check` after each event, which may be several entries.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import count
from typing import Final, NamedTuple

import pytest
from django.db import connection, transaction

from exchange.kernel.clock import utc_now
from exchange.kernel.money import from_quanta, to_quanta
from ledger import audit, posting_rules, waterfall
from ledger.access import Role
from ledger.chart import CHART, AccountCode, Face, Root
from ledger.control_models import Proposal, ProposalState
from ledger.entries import AccountKey, EntryDraft
from ledger.models import JournalEntry
from ledger.posting_rules import RULES, WITHOUT_RULE, EventKind
from ledger.services import accounts, journal, proposals
from ledger.services.journal import LedgerBoundError
from ledger.services.reversal import MIRRORED
from ledger.tests.factories import staff
from ledger.tests.fixtures import make_asset
from ledger.waterfall import CloseAmounts, FundingAmounts, OpenAmounts

DECIMALS: Final = 8
USERS: Final = (1, 2, 3, 4)
CUSTODY: Final = ("main", "cold")
REVERSIBLE: Final = sorted(set(EventKind) - MIRRORED - {EventKind.REVERSAL})
"""Whatever the product lets people reverse: a kind that it should not breaks an identity."""

BANK: Final = {
    EventKind.DEPOSIT: 1,
    EventKind.CAPITAL: 1,
    EventKind.SUSPENSE_RECEIPT: 1,
    EventKind.CAPITAL_PAYOUT: -1,
    EventKind.CUSTODY_CHARGE: -1,
    EventKind.SUSPENSE_PAYMENT: -1,
}
"""What an event of one amount does to the bank's statement."""

NEVER: Final = {
    (EventKind.ADL_CLOSE, "hold_share"): "deleveraging is no order",
    (EventKind.ADL_CLOSE, "fee"): "who is deleveraged pays none",
    (EventKind.CLOSE_TO_OPEN, "hold_share"): "the order was meant to close, and held nothing",
    (EventKind.CLOSE_TO_OPEN, "credited"): "without a hold nothing is given back",
}
"""Amounts of a rule that are always zero, and why: rules that open or close share their lines."""

AMOUNTS: Final = {
    (kind, name) for kind, lines in RULES.items() for line in lines for name in re.findall("[a-z_]+", line.amount)
} - set(NEVER)
"""Every amount of every rule: by kind, the name."""

_BALANCES: Final = "SELECT owner_id, code, asset, sub, balance FROM ledger_account WHERE balance <> 0"
_LINES: Final = """
SELECT e.id, e.kind, a.owner_id, a.code, a.asset, a.sub, l.amount
FROM ledger_entry e JOIN ledger_line l ON l.entry_id = e.id JOIN ledger_account a ON a.id = l.account_id
WHERE e.id > %s ORDER BY e.id, l.n
"""
Bank = dict[tuple[str, str], int]
"""By asset and custody account: quanta that came in, or went out."""


class Entry(NamedTuple):
    """An entry as the tables have it."""

    id: int
    kind: str
    lines: list[tuple[AccountKey, int]]


class BooksAndCopy:
    """The only poster of its books, and what they must be."""

    def __init__(self) -> None:
        self.balances: dict[AccountKey, int] = defaultdict(int)
        self.bank: Counter[tuple[str, str]] = Counter()
        self.kinds: Counter[str] = Counter()
        self.amounts: set[tuple[EventKind, str]] = set()
        self.last: EntryDraft | None = None
        self._posted: dict[int, Entry] = {}
        self._banked: dict[int, Bank] = {}
        self._numbers = count(1)
        self._seen = 0
        for asset in ("USDT", "BTC"):
            make_asset(asset)
        accounts.open_gates(USERS)

    # --- reading --------------------------------------------------------------------------------------
    def has(self, user: int | None, code: AccountCode, asset: str = "USDT", sub: str = "") -> int:
        """Return a balance: debit positive, in the user's view."""
        return self.balances[AccountKey(user, code, asset, sub)]

    def available(self, user: int, asset: str = "USDT") -> int:
        """Return what a user may use."""
        return self.has(user, AccountCode.AVAILABLE, asset)

    def fund(self) -> int:
        """Return what is in the insurance fund."""
        return -self.has(None, AccountCode.INSURANCE)

    def in_custody(self, asset: str = "USDT", custody: str = "main") -> int:
        """Return what the platform keeps in a custody account."""
        return self.has(None, AccountCode.CUSTODY, asset, custody)

    # --- posting --------------------------------------------------------------------------------------
    def draft(
        self,
        kind: EventKind,
        quanta: dict[str, int] | OpenAmounts | CloseAmounts | FundingAmounts,
        roles: dict[str, int] | None = None,
        *,
        user: int | None = None,
        asset: str = "USDT",
        **parts: str,
    ) -> EntryDraft:
        """Compose an event by its rule; of one user, unless roles are given."""
        amounts = quanta if isinstance(quanta, dict) else quanta._asdict()
        self.amounts |= {(kind, name) for name, value in amounts.items() if value}
        owed = [
            (key.owner_id, key.asset, from_quanta(-balance, DECIMALS))
            for key, balance in self.balances.items()
            if key.code == AccountCode.DEBT and balance and key.owner_id is not None
        ]
        return posting_rules.draft(
            kind,
            key=f"event:{next(self._numbers)}",
            effective_at=utc_now(),
            trace="market",
            roles=roles or ({} if user is None else {"user": user}),
            assets={"asset": asset, "base": "BTC", "quote": "USDT"},
            amounts={name: from_quanta(value, DECIMALS) for name, value in amounts.items()},
            parts={"custody": "main"} | parts,
            debts=waterfall.Debts(owed),
        )

    def post(self, draft: EntryDraft, bank: Bank | None = None) -> int:
        """Post an entry, move the copy, and compare; return the entry's number.

        Args:
            bank: What the event does to the bank's statement.
        """
        owners = {key.owner_id for key, _ in draft.lines if key.owner_id is not None}
        with transaction.atomic():
            accounts.lock(owners)
            [posted] = journal.post([draft], utc_now())
        assert not posted.repeated
        self.last = draft
        lines = [(key, to_quanta(amount, DECIMALS)) for key, amount in draft.lines]
        self._follow(Entry(posted.id, draft.kind, lines), bank or {})
        assert self._fresh() == [Entry(posted.id, draft.kind, lines)], "R7: the stored lines are those of the rule"
        self.check_books()
        return posted.id

    def event(self, kind: EventKind, amount: int, user: int | None = None, asset: str = "USDT", **parts: str) -> int:
        """Post an event of one amount."""
        draft = self.draft(kind, {"amount": amount}, None, user=user, asset=asset, **parts)
        return self.post(draft, {(asset, "main"): BANK[kind] * amount} if kind in BANK else None)

    def repeat(self) -> None:
        """Post the last draft again: it is answered with its entry, and nothing is posted."""
        assert self.last is not None
        [posted] = journal.post([self.last], utc_now())

        assert posted.repeated
        assert self._fresh() == []

    def overdraw(self, user: int, asset: str, beyond: int) -> None:
        """Freeze more than a user has: the books refuse it, and nothing changes."""
        draft = self.draft(
            EventKind.ORDER_FREEZE, {"amount": self.available(user, asset) + beyond}, user=user, asset=asset
        )
        with pytest.raises(LedgerBoundError), transaction.atomic():
            journal.post([draft], utc_now())

        assert self._fresh() == []
        self.check_books()

    def decide(self, proposal: Proposal, lines: list[tuple[AccountKey, int]]) -> bool:
        """Approve a proposal, let it be posted, and follow; return whether the books took it.

        Args:
            lines: What its entry must have. Entries that repay a debt from what it put into available follow.
        """
        proposals.approve(staff(Role.APPROVER), proposal.pk, now=utc_now())
        proposals.carry_out(utc_now())
        proposal.refresh_from_db()
        posted = self._fresh()
        assert (proposal.state == ProposalState.POSTED) == bool(posted)
        for entry in posted[:1]:
            assert (entry.kind, entry.lines) == (proposal.kind, lines)
            undone = self._banked.get(proposal.reverses_id or 0, {})
            self._follow(entry, {place: -moved for place, moved in undone.items()})
        for entry in posted[1:]:
            owes = entry.lines[0][0]
            has = owes._replace(code=AccountCode.AVAILABLE)
            repaid = min(-self.balances[owes], self.balances[has])
            assert entry == Entry(entry.id, EventKind.DEBT_REPAYMENT, [(owes, repaid), (has, -repaid)])
            self.amounts.add((EventKind.DEBT_REPAYMENT, "amount"))
            self._follow(entry, {})
        self.check_books()
        return bool(posted)

    def lines_of(self, number: int) -> list[tuple[AccountKey, int]]:
        """Return what an entry posted."""
        return self._posted[number].lines

    def reversible(self) -> list[int]:
        """Return the numbers of entries that may be reversed, oldest first."""
        entries = JournalEntry.objects.filter(kind__in=REVERSIBLE, reversed_by=None, reversal_proposals=None)
        return list(entries.order_by("id").values_list("id", flat=True))

    def _follow(self, entry: Entry, bank: Bank) -> None:
        self.kinds[entry.kind] += 1
        self._posted[entry.id] = entry
        self._banked[entry.id] = bank
        self.bank.update(bank)
        for key, amount in entry.lines:
            self.balances[key] += amount

    def _fresh(self) -> list[Entry]:
        """Return the entries that were posted since the last call, as the tables have them."""
        with connection.cursor() as cursor:
            cursor.execute(_LINES, [self._seen])
            rows = cursor.fetchall()
        found: dict[int, Entry] = {}
        for number, kind, *key, amount in rows:
            entry = found.setdefault(number, Entry(number, kind, []))
            entry.lines.append((AccountKey(*key), to_quanta(amount, DECIMALS)))
        self._seen = max(found, default=self._seen)
        return list(found.values())

    # --- what must hold -------------------------------------------------------------------------------
    def check_books(self) -> None:
        """Audit the whole books, and compare balances with the copy and the bank (R6); any break fails."""
        assert [invariant for invariant in audit.invariants() if not invariant.ok] == []
        with connection.cursor() as cursor:
            cursor.execute(_BALANCES)
            found = {AccountKey(*row[:4]): to_quanta(row[4], DECIMALS) for row in cursor.fetchall()}
        assert found == {key: balance for key, balance in self.balances.items() if balance}
        in_custody = {(key.asset, key.sub): value for key, value in found.items() if key.code == AccountCode.CUSTODY}
        assert in_custody == {place: value for place, value in self.bank.items() if value}
        check_equations(found)


def check_equations(found: dict[AccountKey, int]) -> None:
    """A + X = L + E + R in every journal and asset; what is owned is owed; each account keeps its sign."""
    sheets: dict[tuple[int | None, str], Counter[Root]] = defaultdict(Counter)
    owned: Counter[str] = Counter()
    owed: Counter[str] = Counter()
    for key, balance in found.items():
        row = CHART[AccountCode(key.code)]
        assert row.bound * balance >= 0, f"{key} stands at {balance}"
        if row.user_root is not None:
            sheets[key.owner_id, key.asset][row.user_root] += balance
        if row.platform_root is not None:
            sheets[None, key.asset][row.platform_root] += -balance if row.face == Face.BOTH else balance
        if row.face != Face.USER:
            (owned if row.face == Face.BOTH else owed)[key.asset] += balance
        if key.code == AccountCode.DEBT:
            assert not found.get(key._replace(code=AccountCode.AVAILABLE)), f"{key} owes and has something"
    for whose, sums in sheets.items():
        assets_and_expenses = sums[Root.ASSET] + sums[Root.EXPENSE]
        assert assets_and_expenses == -sums[Root.LIABILITY] - sums[Root.EQUITY] - sums[Root.REVENUE], whose
    assert all(owned[asset] == owed[asset] for asset in owned | owed)


def unexercised(played: Iterable[BooksAndCopy]) -> set[tuple[str, str]]:
    """Return what no history has posted: kinds, and amounts of their rules that were always zero."""
    kinds: Counter[str] = Counter()
    amounts: set[tuple[str, str]] = set()
    for books in played:
        kinds.update(books.kinds)
        amounts |= books.amounts
    without = {(str(kind), "") for kind in WITHOUT_RULE if not kinds[kind]}
    return without | {(kind, name) for kind, name in AMOUNTS if (kind, name) not in amounts or not kinds[kind]}
