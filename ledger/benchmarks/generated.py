"""Makes the books of a busy year, whole to the last hash, faster than the door would: for the benchmark of statements.

Users deposit USDT and BTC once each; then orders are placed, traded or cancelled, and more deposits come, some of them
recorded days late. Amounts are whole millionths. What is made obeys every rule of the books but was not checked while
it was loaded (triggers are off), so `sampled.py` audits a sample of it afterwards.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from ledger.chart import CHART, AccountCode, Face

LAST_AT: Final = datetime(2026, 6, 30, tzinfo=UTC)
YEAR_US: Final = 365 * 24 * 3600 * 1_000_000
LATE_SHARE: Final = 0.1
ACTIONS_PER_CHUNK: Final = 10_000
LINES_PER_ACTION: Final = 10.5
LINES_PER_ENTRY: Final = 4.2
MILLION: Final = 1_000_000
TRADE, CANCEL, DEPOSIT = 0, 1, 2
SHARES: Final = (0.6, 0.3, 0.1)
PRICE: Final = 50_000
_OF_A_USER: Final = (
    (AccountCode.AVAILABLE, "USDT"),
    (AccountCode.ORDER_HOLD, "USDT"),
    (AccountCode.EXTERNAL, "USDT"),
    (AccountCode.CONVERSION, "USDT"),
    (AccountCode.COST_FEE, "USDT"),
    (AccountCode.AVAILABLE, "BTC"),
    (AccountCode.ORDER_HOLD, "BTC"),
    (AccountCode.EXTERNAL, "BTC"),
    (AccountCode.CONVERSION, "BTC"),
)
AVAILABLE, HOLD, EXTERNAL, CONVERSION, FEE, BTC = 0, 1, 2, 3, 4, 5
"""Places of a user's accounts; those in BTC follow at BTC + AVAILABLE, HOLD, EXTERNAL, CONVERSION."""
_OF_THE_PLATFORM: Final = (
    (AccountCode.CUSTODY, "USDT", "main"),
    (AccountCode.CUSTODY, "BTC", "main"),
    (AccountCode.REVENUE_TRADING_FEE, "USDT", ""),
)
CUSTODY_USDT, CUSTODY_BTC, REVENUE = 1, 2, 3

Integers = npt.NDArray[np.int64]


class AccountRow(NamedTuple):
    """One ledger account, as COPY takes it."""

    id: int
    owner_id: int | None
    code: str
    asset: str
    sub: str
    face: str
    bound: int
    balance: str
    last_entry_id: int


class Chunk(NamedTuple):
    """Text for COPY, and how many lines it holds."""

    entries: str
    lines: str
    line_count: int


def text(amount: int) -> str:
    """Write millionths as PostgreSQL writes numeric(38, 18)."""
    whole, part = divmod(abs(amount), MILLION)
    return f"{'-' if amount < 0 else ''}{whole}.{part:06d}000000000000"


class _Lines:
    """Lines of many actions, collected column by column and then put into the order of the journal."""

    def __init__(self) -> None:
        self.columns: list[list[Integers]] = [[], [], [], [], []]

    def add(self, action: Integers, entry: int, n: int, account: Integers | int, amount: Integers) -> None:
        """Add one line to an entry of each action."""
        size = len(action)
        for column, values in zip(self.columns, (action, entry, n, account, amount), strict=True):
            column.append(np.broadcast_to(np.asarray(values, dtype=np.int64), (size,)))

    def in_order(self) -> tuple[Integers, ...]:
        """Return action, entry, n, account and amount, sorted by the first three."""
        action, entry, n, account, amount = (np.concatenate(column) for column in self.columns)
        order = np.lexsort((n, entry, action))
        return action[order], entry[order], n[order], account[order], amount[order]


@dataclass
class Books:
    """The state of the books while they are made.

    Args:
        lines: How many lines to make, at least; the last action is made whole.
        accounts: How many accounts: nine a user and three of the platform.
    """

    lines: int
    accounts: int
    seed: int = 1
    made: int = 0
    entries: int = 0
    hash: bytes = field(default_factory=lambda: hashlib.sha256(b"").digest())
    recorded_us: int = 0

    def __post_init__(self) -> None:
        self.chance = np.random.default_rng(self.seed)
        self.users = max(2, (self.accounts - len(_OF_THE_PLATFORM)) // len(_OF_A_USER))
        count = len(_OF_THE_PLATFORM) + self.users * len(_OF_A_USER) + 1
        self.balances: Integers = np.zeros(count, dtype=np.int64)
        self.last_entries: Integers = np.zeros(count, dtype=np.int64)
        self.keys = 0
        self.step_us = max(1, int(YEAR_US * LINES_PER_ENTRY / self.lines))
        self.started_us = int(LAST_AT.timestamp()) * MILLION - YEAR_US

    def of(self, users: Integers, place: int) -> Integers:
        """Return the ids of one account of each of these users, numbered from 0."""
        return 1 + len(_OF_THE_PLATFORM) + users * len(_OF_A_USER) + place

    def account_rows(self) -> Iterator[AccountRow]:
        """Yield every account with its balance at the end."""
        for number, (code, asset, sub) in enumerate(_OF_THE_PLATFORM, start=1):
            yield self._account(number, None, code, asset, sub)
        for user in range(self.users):
            for place, (code, asset) in enumerate(_OF_A_USER):
                number = 1 + len(_OF_THE_PLATFORM) + user * len(_OF_A_USER) + place
                yield self._account(number, user + 1, code, asset, "")

    def _account(self, number: int, owner_id: int | None, code: AccountCode, asset: str, sub: str) -> AccountRow:
        row = CHART[code]
        face = Face(row.face).value
        balance, last_entry_id = text(int(self.balances[number])), int(self.last_entries[number])
        return AccountRow(number, owner_id, code.value, asset, sub, face, row.bound, balance, last_entry_id)

    def chunks(self) -> Iterator[Chunk]:
        """Yield the books, a chunk at a time, in the order of the journal."""
        usdt, btc = 10_000 + 400 * self.lines // self.users, 10 + self.lines // 100 // self.users
        yield self._written(self._first_deposits(usdt, 0))
        yield self._written(self._first_deposits(btc, BTC))
        while self.made < self.lines:
            rest = int((self.lines - self.made) / LINES_PER_ACTION) + 1
            yield self._written(self._actions(min(ACTIONS_PER_CHUNK, rest)))

    def _first_deposits(self, amount: int, of_asset: int) -> tuple[_Lines, dict[int, list[str]]]:
        """Give every user so much of one asset that nothing later can overdraw a wallet."""
        lines, users = _Lines(), np.arange(self.users, dtype=np.int64)
        self._deposit(lines, users, users, np.full(self.users, amount * MILLION), of_asset)
        return lines, {0: ["DEPOSIT"] * self.users}

    def _deposit(self, lines: _Lines, action: Integers, users: Integers, amounts: Integers, of_asset: int) -> None:
        custody = CUSTODY_BTC if of_asset else CUSTODY_USDT
        lines.add(action, 0, 1, self.of(users, of_asset + AVAILABLE), amounts)
        lines.add(action, 0, 2, self.of(users, of_asset + EXTERNAL), -amounts)
        lines.add(action, 0, 3, custody, amounts)

    def _actions(self, count: int) -> tuple[_Lines, dict[int, list[str]]]:
        """Make a chunk of actions: six trades to three cancelled orders to one deposit."""
        lines = _Lines()
        actions = np.arange(count, dtype=np.int64)
        kind = self.chance.choice(3, size=count, p=SHARES)
        trades, cancels, deposits = (actions[kind == number] for number in (TRADE, CANCEL, DEPOSIT))
        self._trades(lines, trades)
        users = self.chance.integers(0, self.users, len(cancels))
        amounts = self.chance.integers(1, 1000 * MILLION, len(cancels))
        for entry, sign in ((0, 1), (1, -1)):
            lines.add(cancels, entry, 1, self.of(users, HOLD), sign * amounts)
            lines.add(cancels, entry, 2, self.of(users, AVAILABLE), -sign * amounts)
        users = self.chance.integers(0, self.users, len(deposits))
        self._deposit(lines, deposits, users, self.chance.integers(1, 1000 * MILLION, len(deposits)), 0)
        names = {
            0: ["DEPOSIT" if number == DEPOSIT else "ORDER_FREEZE" for number in kind.tolist()],
            1: ["ORDER_FREEZE" if number == TRADE else "ORDER_UNFREEZE" for number in kind.tolist()],
            2: ["SPOT_FILL"] * count,
        }
        return lines, names

    def _trades(self, lines: _Lines, action: Integers) -> None:
        """Two users' orders are placed and meet; each pays a fee of 0.02 %, rounded up."""
        buyers = self.chance.integers(0, self.users, len(action))
        sellers = (buyers + self.chance.integers(1, self.users, len(action))) % self.users
        quantity = self.chance.integers(1, MILLION // 50, len(action))
        notional = quantity * PRICE
        fee = -(-notional * 2 // 10_000)
        for entry, users, place, amount in ((0, buyers, 0, notional + fee), (1, sellers, BTC, quantity)):
            lines.add(action, entry, 1, self.of(users, place + HOLD), amount)
            lines.add(action, entry, 2, self.of(users, place + AVAILABLE), -amount)
        places: tuple[tuple[Integers | int, Integers], ...] = (
            (self.of(buyers, HOLD), -notional - fee),
            (self.of(buyers, FEE), fee),
            (self.of(buyers, CONVERSION), notional),
            (self.of(buyers, BTC + AVAILABLE), quantity),
            (self.of(buyers, BTC + CONVERSION), -quantity),
            (self.of(sellers, BTC + HOLD), -quantity),
            (self.of(sellers, BTC + CONVERSION), quantity),
            (self.of(sellers, AVAILABLE), notional - fee),
            (self.of(sellers, FEE), fee),
            (self.of(sellers, CONVERSION), -notional),
            (REVENUE, -2 * fee),
        )
        for n, (account, amount) in enumerate(places, start=1):
            lines.add(action, 2, n, account, amount)

    def _written(self, made: tuple[_Lines, dict[int, list[str]]]) -> Chunk:
        """Number a chunk's entries, run its balances, chain its hashes, and write it as text."""
        action, place, n, account, amount = made[0].in_order()
        is_first = np.ones(len(action), dtype=bool)
        is_first[1:] = (action[1:] != action[:-1]) | (place[1:] != place[:-1])
        entry = self.entries + np.cumsum(is_first)
        after = self._run_balances(account, amount, entry)
        bodies: list[str] = []
        rows: list[str] = []
        for entry_id, number, account_id, moved, balance in zip(
            *(column.tolist() for column in (entry, n, account, amount, after)), strict=True
        ):
            change, left = text(moved), text(balance)
            rows.append(f"{entry_id}\t{number}\t{account_id}\t{change}\t{left}\n")
            bodies.append(f"{number}:{account_id}:{change}:{left}")
        firsts = np.flatnonzero(is_first).tolist()
        which = zip(place[firsts].tolist(), action[firsts].tolist(), strict=True)
        names = [made[1][of_place][of_action] for of_place, of_action in which]
        entries = self._entries(names, firsts, bodies)
        self.made += len(rows)
        return Chunk(entries, "".join(rows), len(rows))

    def _run_balances(self, account: Integers, amount: Integers, entry: Integers) -> Integers:
        """Return the balance after each line, and keep the last ones with their entries."""
        order = np.argsort(account, kind="stable")
        accounts, amounts = account[order], amount[order]
        starts = np.flatnonzero(np.r_[True, accounts[1:] != accounts[:-1]])
        sums = np.cumsum(amounts)
        before = np.r_[0, sums][starts]
        lengths = np.diff(np.r_[starts, len(accounts)])
        running = sums - np.repeat(before - self.balances[accounts[starts]], lengths)
        ends = np.r_[starts[1:], len(accounts)] - 1
        self.balances[accounts[starts]] = running[ends]
        self.last_entries[accounts[starts]] = entry[order][ends]
        after = np.empty_like(running)
        after[order] = running
        return after

    def _entries(self, names: list[str], firsts: list[int], bodies: list[str]) -> str:
        """Write entries, each with its key, its moments and its hash."""
        late = (self.chance.random(len(names)) < LATE_SHARE).tolist()
        delays = self.chance.integers(2 * 60 * MILLION, 3 * 24 * 3600 * MILLION, len(names)).tolist()
        ends = [*firsts[1:], len(bodies)]
        rows: list[str] = []
        for name, first, end, may_be_late, delay in zip(names, firsts, ends, late, delays, strict=True):
            self.entries += 1
            number = self.entries
            recorded = self.started_us + number * self.step_us
            is_late = may_be_late and name == "DEPOSIT"
            effective = recorded - delay if is_late else recorded
            key, trace = f"made:{number}", f"{number:032x}"
            payload = (
                f'[{number}, "{name}", "{key}", {effective}, {"true" if is_late else "false"}, {recorded},'
                f' "{trace}", null, "{",".join(bodies[first:end])}"]'
            )
            self.hash = hashlib.sha256(self.hash + payload.encode()).digest()
            self.recorded_us = recorded
            rows.append(
                f"{number}\t{name}\t{key}\t{_moment(effective)}\t{'t' if is_late else 'f'}\t{_moment(recorded)}"
                f"\t{trace}\t\\N\t1\t\\\\x{self.hash.hex()}\n"
            )
        return "".join(rows)


def _moment(microseconds: int) -> str:
    """Write a moment as PostgreSQL reads it."""
    seconds, rest = divmod(microseconds, MILLION)
    return f"{datetime.fromtimestamp(seconds, tz=UTC):%Y-%m-%d %H:%M:%S}.{rest:06d}+00"


def columns(row: AccountRow) -> str:
    """Write an account for COPY."""
    values: list[Any] = ["\\N" if value is None else value for value in row]
    return "\t".join(map(str, values)) + "\n"
