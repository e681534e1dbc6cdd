"""A random history of the books: entries of every kind, over days, posted through the door.

The history keeps its own balances, as a dictionary, so that it draws only what the books can take; whoever uses it may
compare them with what the database, or an outside tool, has.
"""

import itertools
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from django.contrib.auth import get_user_model
from django.db import transaction

from exchange.kernel.money import EXACT, from_quanta, to_quanta
from ledger import posting_rules
from ledger.chart import CHART, AccountCode
from ledger.control_models import Proposal, ProposalKind, ProposalLine, ProposalState
from ledger.entries import AccountKey, EntryDraft
from ledger.posting_rules import EventKind
from ledger.services import accounts, journal
from ledger.tests import random_events
from ledger.tests.fixtures import make_asset
from ledger.waterfall import Debts

ASSETS = {"USDT": 6, "TWD": 2, "BTC": 8, "2330": 0, "1INCH": 18, "usdt.e": 6, "TRUE": 4}
BEGIN = datetime(2025, 1, 1, tzinfo=UTC)
BATCH_MAX = 40
LATE_SHARE = 0.03
UNDRAWN_SHARE = 0.25


class Posted(NamedTuple):
    """An entry of the history."""

    id: int
    draft: EntryDraft
    recorded_at: datetime

    @property
    def moment(self) -> datetime:
        """Return the moment of the books that it counts for."""
        late = self.draft.effective_at < self.recorded_at - timedelta(seconds=60)
        return self.draft.effective_at if late else self.recorded_at


class History:
    """Draws events that fit the balances so far, and posts them.

    Args:
        users: Ids of users; their gates are opened.
        seed: The same seed draws the same history.
        days: Over how many days it spreads; about one in six has no entry.
    """

    def __init__(self, users: Sequence[int], seed: int, days: int = 10) -> None:
        self.random = random.Random(seed)
        self.users = list(users)
        self.days = days
        self.decimals = ASSETS
        self.balances: dict[AccountKey, Decimal] = defaultdict(Decimal)
        self.debts = Debts()
        self.posted: list[Posted] = []
        self.reversed: set[int] = set()
        self._keys = itertools.count(1)
        self._now = BEGIN
        self._undrawn: Sequence[random_events.Event] = random_events.EVENTS

    # --- Playing -----------------------------------------------------------------------------------------------

    def play(self, count: int) -> None:
        """Post `count` entries or a few more; with some hundred, every kind is among them."""
        for asset, decimals in ASSETS.items():
            make_asset(asset, decimals=decimals)
        accounts.open_gates(self.users)
        moments = sorted(BEGIN + self._offset() for _ in range(count))
        while len(self.posted) < count:
            self._now = moments[min(len(self.posted), count - 1)]
            self._post(self._batch(min(BATCH_MAX, count - len(self.posted))))

    def _offset(self) -> timedelta:
        """Draw a moment of the history, leaving every sixth day empty."""
        day = self.random.choice([day for day in range(self.days) if day % 6 != 4])
        return timedelta(days=day, microseconds=self.random.randrange(86_400_000_000))

    def _batch(self, size: int) -> list[EntryDraft]:
        drafts: list[EntryDraft] = []
        size = self.random.randint(1, size)
        while len(drafts) < size:
            drafts += self._draw()
        return drafts

    def _post(self, drafts: Sequence[EntryDraft]) -> None:
        entries = journal.post(drafts, self._now)
        for entry, draft in zip(entries, drafts, strict=True):
            assert not entry.repeated
            self.posted.append(Posted(entry.id, draft, self._now))

    def balances_at(self, moment: datetime, known_at: datetime | None = None) -> dict[AccountKey, Decimal]:
        """Return every balance as of a moment of the books, with the late corrections recorded by another."""
        found: dict[AccountKey, Decimal] = defaultdict(Decimal)
        for entry in self.posted:
            if entry.moment <= moment and (known_at is None or entry.recorded_at <= known_at):
                for key, amount in entry.draft.lines:
                    found[key] = EXACT.add(found[key], amount)
        return dict(found)

    # --- Drawing -----------------------------------------------------------------------------------------------

    def _draw(self) -> list[EntryDraft]:
        """Draw events until one fits, those never drawn yet more often; some come in runs that belong together."""
        while True:
            event = self.random.choice(self._undrawn if self.random.random() < UNDRAWN_SHARE else random_events.EVENTS)
            drawn = [draft for draft in event(self) if draft.lines]
            if drawn:
                self._undrawn = [other for other in self._undrawn if other is not event] or random_events.EVENTS
                return drawn

    def held(self, owner_id: int | None, code: AccountCode, asset: str, sub: str = "") -> int:
        """Return a balance in quanta, without its sign."""
        return abs(to_quanta(self.balances[AccountKey(owner_id, code, asset, sub)], ASSETS[asset]))

    def holders(self, code: AccountCode) -> list[tuple[int, str, str]]:
        """Return which user has something of which asset, in which part, on an account."""
        return [
            (key.owner_id, key.asset, key.sub)
            for key, balance in self.balances.items()
            if key.code == code and balance and key.owner_id is not None
        ]

    def upto(self, quanta: int) -> int:
        """Draw an amount of at most so many quanta; all of it now and then."""
        return quanta if self.random.random() < 0.2 else self.random.randint(0, quanta)

    def some(self, asset: str) -> int:
        """Draw an amount that nothing limits: from one quantum to a million units."""
        return self.random.randint(1, 10 ** self.random.randint(1, ASSETS[asset] + 6))

    def user(self) -> int:
        return self.random.choice(self.users)

    def asset(self) -> str:
        return self.random.choice(list(ASSETS))

    def rule(
        self,
        kind: EventKind,
        amounts: Mapping[str, int],
        *,
        assets: Mapping[str, str],
        roles: Mapping[str, int] | None = None,
        parts: Mapping[str, str] | None = None,
    ) -> EntryDraft:
        """Draft an event by its rule and take it into the balances; amounts are quanta."""
        of_asset = {"quantity": assets.get("base", "")}
        draft = posting_rules.draft(
            kind,
            key=self._key(kind),
            effective_at=self._happened(),
            trace=f"{self.random.getrandbits(112):028x}",
            roles=roles or {},
            assets=assets,
            amounts={
                name: from_quanta(value, ASSETS[of_asset.get(name) or assets.get("asset") or assets["quote"]])
                for name, value in amounts.items()
            },
            parts=parts or {},
            debts=self.debts,
        )
        return self._taken(draft)

    def _key(self, kind: EventKind) -> str:
        """Return a key; some have what would break a careless file."""
        ending = self.random.choice(["", "", ', "quoted"', "; \\ 100 %"])
        return f"{kind.lower()}:{next(self._keys)}{ending}"

    def _happened(self) -> datetime:
        """Return when an event of now happened: mostly now, sometimes days ago, which makes it late."""
        if self.random.random() < LATE_SHARE:
            return self._now - timedelta(minutes=self.random.randint(2, 4_000))
        return self._now - timedelta(milliseconds=self.random.randint(0, 50_000))

    def _taken(self, draft: EntryDraft) -> EntryDraft:
        for key, amount in draft.lines:
            self.balances[key] = EXACT.add(self.balances[key], amount)
            assert self.balances[key] * CHART[AccountCode(key.code)].bound >= 0, (draft, key)
        return draft

    def by_hand(
        self, kind: ProposalKind, lines: list[tuple[AccountKey, Decimal]], reverses: int | None = None
    ) -> EntryDraft:
        """Draft an entry whose lines come from people: one proposes it, another approves."""
        at = self._happened() if kind == ProposalKind.CORRECTION else self._now
        with transaction.atomic():
            proposal = Proposal.objects.create(
                kind=kind,
                reason="drawn at random",
                effective_at=at if kind == ProposalKind.CORRECTION else None,
                reverses_id=reverses,
                maker=_person("maker"),
                made_at=self._now,
            )
            ProposalLine.objects.bulk_create(
                ProposalLine(proposal=proposal, n=n, amount=amount, **_account(key))
                for n, (key, amount) in enumerate(lines if reverses is None else [], start=1)
            )
            proposal.state, proposal.checker, proposal.checked_at = (
                ProposalState.APPROVED,
                _person("checker"),
                self._now,
            )
            proposal.save()
        key = f"proposal:{proposal.pk}"
        return self._taken(EntryDraft(kind, key, at, f"by-hand-{proposal.pk}", lines, reverses))


def _person(name: str) -> Any:
    person, _ = get_user_model().objects.get_or_create(username=f"history-{name}")
    return person


def _account(key: AccountKey) -> dict[str, Any]:
    return {"owner_id": key.owner_id, "code": key.code, "asset_id": key.asset, "sub": key.sub}
