"""What `posting.py` posts: users with funds, and drafts of random transfers and fills; the same seed makes the same."""

import random
from datetime import datetime
from decimal import Decimal
from typing import Final

from exchange.kernel.clock import utc_now
from ledger import posting_rules
from ledger.entries import AccountKey, EntryDraft
from ledger.models import Asset
from ledger.posting_rules import EventKind
from ledger.services import accounts, journal

CONTRACTS: Final = tuple(f"C{number}-PERP" for number in range(10))
QUANTUM: Final = Decimal("0.00000001")
FUNDS: Final = Decimal(10) ** 9
SEED: Final = 1
BATCH: Final = 1000


def _draft(
    kind: EventKind, key: str, user: int, amounts: dict[str, Decimal], now: datetime, contract: str = ""
) -> EntryDraft:
    """Compose an event of one user."""
    return posting_rules.draft(
        kind,
        key=key,
        effective_at=now,
        trace=f"{key:0>28}",
        roles={"user": user},
        assets={"asset": "USDT"},
        amounts=amounts,
        parts={"contract": contract, "custody": "main"},
    )


class Workload:
    """Makes drafts of events of random users, with keys of its own.

    Args:
        users: They are numbered from 1.
        name: Part of the keys and of the seed.
    """

    def __init__(self, users: int, name: str) -> None:
        self._chance = random.Random(f"{SEED}:{name}")
        self._users = users
        self._name = name
        self._made = 0

    def transfers(self, size: int) -> list[EntryDraft]:
        """Return a batch of freezes: two lines each."""
        now = utc_now()
        return [
            _draft(EventKind.ORDER_FREEZE, self._key(), self._user(), {"amount": self._amount()}, now)
            for _ in range(size)
        ]

    def fills(self, size: int) -> list[EntryDraft]:
        """Return a batch of perpetual matches, nine lines each.

        Two entries: the taker's, whose hold leaves something to give back, has five lines, the maker's four.
        """
        drafts, now = [], utc_now()
        nothing = {"drawn": Decimal(0), "borrowed": Decimal(0)}
        for _ in range(size):
            key, contract, margin, fee = self._key(), self._chance.choice(CONTRACTS), self._amount(), 3 * QUANTUM
            taker = {"hold_share": margin + fee + QUANTUM, "margin": margin, "fee": fee, "credited": QUANTUM}
            maker = {"hold_share": margin + fee, "margin": margin, "fee": fee, "credited": Decimal(0)}
            for side, amounts in (("buy", taker), ("sell", maker)):
                drafts.append(
                    _draft(EventKind.OPEN_FILL, f"{key}:{side}", self._user(), amounts | nothing, now, contract)
                )
        return drafts

    def _key(self) -> str:
        self._made += 1
        return f"{self._name}:{self._made}"

    def _user(self) -> int:
        return self._chance.randint(1, self._users)

    def _amount(self) -> Decimal:
        return Decimal(self._chance.randint(1, 10**9)) * QUANTUM


def prepare(users: int) -> None:
    """Give every user a gate, funds, half of them held for orders, and the accounts that trading needs."""
    Asset.objects.create(code="USDT", name="Tether", decimals=8, kind="CRYPTO")
    everyone = range(1, users + 1)
    accounts.open_gates(everyone)
    keys = [AccountKey(user, "1040", "USDT", contract) for user in everyone for contract in CONTRACTS]
    keys += [AccountKey(user, "5030", "USDT") for user in everyone]
    for first in range(0, len(keys), accounts.KEYS_MAX):
        accounts.ids(keys[first : first + accounts.KEYS_MAX])
    for first in range(1, users + 1, BATCH):
        batch = range(first, min(first + BATCH, users + 1))
        now = utc_now()
        for kind, amount in ((EventKind.DEPOSIT, FUNDS), (EventKind.ORDER_FREEZE, FUNDS / 2)):
            journal.post([_draft(kind, f"{kind}:{user}", user, {"amount": amount}, now) for user in batch], now)
