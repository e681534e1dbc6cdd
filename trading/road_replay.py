"""Sends recorded order flow down the whole road and compares what was settled with what the engine alone does.

Accounts and an instrument are made for each run, so a running exchange is not disturbed and nothing real is traded.
"""

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Final

from django.conf import settings
from django.contrib.auth import get_user_model

from exchange.kernel.clock import to_ns
from exchange.kernel.errors import DomainError
from ledger.models import Asset, AssetKind
from ledger.services import accounts, transfers
from marketdata.models import Instrument
from matching_worker import replay
from matching_worker.protocol import CommandKind, Side, TimeInForce
from risk.models import TraderProfile
from trading import selectors
from trading.models import Trade
from trading.services import orders
from trading.services.requests import CancelOrder, PlaceOrder, ReduceOrder, Submission

SHARD: Final = 0
BATCH: Final = 200
TRADERS: Final = 16
LAG_MAX: Final = 4_000
"""Commands that may wait for settlement before the replay waits for them."""

STALLED_SECONDS: Final = 30.0
PRICE_DECIMALS: Final = 4
"""The files quote dollars x 10,000."""

QUOTE, BASE = "REPLAYUSD", "REPLAYSHARE"
FUNDS: Final = Decimal(10) ** 15
SHARES: Final = Decimal(10) ** 12
TICK: Final = Decimal(1).scaleb(-PRICE_DECIMALS)


class RoadStalledError(Exception):
    """Nothing was settled for STALLED_SECONDS: no worker runs, or it cannot go on."""


@dataclass(slots=True)
class RoadResult:
    """Figures of one replay.

    Attributes:
        trades: What the engine alone makes of the accepted commands.
        settled: How many of these stand in the trades table, with the same maker, price and quantity, in order.
    """

    commands: int = 0
    accepted: int = 0
    refused: int = 0
    trades: int = 0
    settled: int = 0
    seconds: float = 0.0
    refusals: list[str] = field(default_factory=list)
    first_difference: str = ""


@contextlib.contextmanager
def worker() -> Iterator[None]:
    """Use the running worker of the shard, or run one as a process of its own."""
    if any(shard.shard == SHARD and shard.lease_owner for shard in selectors.lag()):
        yield
        return
    command = [sys.executable, str(settings.BASE_DIR / "manage.py"), "run_matching_worker", "--shard", str(SHARD)]
    process = subprocess.Popen([*command, "--http-port", "0"], stdout=sys.stderr)  # noqa: S603 -- our own command
    try:
        yield
    finally:
        process.terminate()
        process.wait()


class RoadReplay:
    """One run: its market, its traders, and which of our orders is which of the file's."""

    def __init__(self, file: replay.CommandFile, limit: int | None, now: datetime) -> None:
        self.labels = file.labels[:limit]
        self.commands = file.commands[:limit]
        self.result = RoadResult(commands=len(self.commands))
        self.instrument = self._make_market(now)
        self.traders = self._make_traders(now)
        self._ours: dict[int, int] = {}
        self._owners: dict[int, int] = {}
        self._labels_of: dict[int, int] = {}

    def _make_market(self, now: datetime) -> Instrument:
        """Make an instrument with a wide band, in assets that exist for replays only."""
        for code, decimals, kind in ((QUOTE, PRICE_DECIMALS, AssetKind.FIAT), (BASE, 0, AssetKind.STOCK)):
            Asset.objects.get_or_create(code=code, defaults={"name": code, "decimals": decimals, "kind": kind})
        prices = self.commands["price_ticks"][self.commands["price_ticks"] > 0]
        middle = TICK * ((int(prices.min()) + int(prices.max())) // 2)
        return Instrument.objects.create(
            symbol=f"REPLAY-{to_ns(now) // 1000:X}",
            name="Replay of recorded order flow",
            base_id=BASE,
            quote_id=QUOTE,
            tick_size=TICK,
            lot_size=Decimal(1),
            min_notional=Decimal(0),
            band_rate=Decimal("0.99"),
            reference_price=middle,
            shard=SHARD,
            is_demo=True,
        )

    def _make_traders(self, now: datetime) -> list[int]:
        """Make users who cannot sign in, funded by ledger deposits."""
        model = get_user_model()
        users = [
            model.objects.create_user(f"{self.instrument.symbol.lower()}-{number}", is_active=False, is_demo=True)
            for number in range(TRADERS)
        ]
        owners = [user.pk for user in users]
        accounts.open_gates(owners)
        TraderProfile.objects.bulk_create(
            TraderProfile(user_id=owner, tier_id="MARKET_MAKER", counted_on=now.date()) for owner in owners
        )
        transfers.deposit(
            [
                transfers.Deposit(owner, asset, amount, f"replay:{owner}:{asset}", "replay of recorded order flow")
                for owner in owners
                for asset, amount in ((QUOTE, FUNDS), (BASE, SHARES))
            ],
            now,
        )
        return owners

    # --- sending ------------------------------------------------------------------------------------------
    def send(self, clock: Callable[[], datetime], advance: Callable[[int], None]) -> None:
        """Submit every command in order, in batches, never far ahead of settlement; wait until all is settled."""
        started = time.perf_counter()
        for start in range(0, len(self.commands), BATCH):
            self._send_batch(start, min(start + BATCH, len(self.commands)), clock())
            advance(min(BATCH, len(self.commands) - start))
            _wait_for_lag(LAG_MAX)
        _wait_for_lag(0)
        self.result.seconds = time.perf_counter() - started

    def _send_batch(self, start: int, end: int, now: datetime) -> None:
        """Submit one batch as one transaction."""
        fresh = iter(orders.allocate_ids(end - start))
        submissions = [self._submission(index, fresh) for index in range(start, end)]
        for submission, outcome in zip(submissions, orders.submit(submissions, now=now), strict=True):
            if isinstance(outcome, DomainError):
                self.result.refused += 1
                self.result.refusals.append(f"{submission.request}: {outcome}")
            else:
                self.result.accepted += 1

    def _submission(self, index: int, fresh: Iterator[int]) -> Submission:
        """Turn one recorded command into a trader's request."""
        command = self.commands[index]
        recorded_id = int(command["order_id"])
        if command["kind"] == CommandKind.PLACE:
            order_id = next(fresh)
            owner = self.traders[index % TRADERS]
            self._ours[recorded_id], self._owners[order_id] = order_id, owner
            self._labels_of[order_id] = index
            request = PlaceOrder(
                symbol=self.instrument.symbol,
                side="buy" if command["side"] == Side.BUY else "sell",
                type="limit",
                quantity=Decimal(int(command["qty_lots"])),
                price=TICK * int(command["price_ticks"]),
                time_in_force="ioc" if command["time_in_force"] == TimeInForce.IOC else "gtc",
                order_id=order_id,
            )
            return Submission(owner, request)
        order_id = self._ours.get(recorded_id, 0)
        owner = self._owners.get(order_id, self.traders[0])
        if command["kind"] == CommandKind.REDUCE:
            return Submission(owner, ReduceOrder(order_id, Decimal(int(command["qty_lots"]))))
        return Submission(owner, CancelOrder(order_id))

    # --- comparing ----------------------------------------------------------------------------------------
    def compare(self) -> None:
        """Compare the trades table with what the engine alone makes of the same commands."""
        alone = replay.CommandFile(Path(), self.labels, self.commands)
        fills = replay.replay(alone, []).fills
        expected = [
            (int(label), self._ours[fill.maker_id], TICK * fill.price, Decimal(fill.qty))
            for label in self.labels
            for fill in fills.get(int(label), [])
        ]
        stored = [
            (
                int(self.labels[self._labels_of[taker]]),
                maker,
                trade.price,
                trade.quantity,
            )
            for trade in Trade.objects.filter(instrument_id=self.instrument.pk).order_by("number")
            for taker, maker in [_taker_and_maker(trade)]
        ]
        self.result.trades = len(expected)
        self.result.settled = sum(made == kept for made, kept in zip(expected, stored, strict=False))
        if expected != stored:
            pairs = zip(expected, stored, strict=False)
            different = next(((made, kept) for made, kept in pairs if made != kept), None)
            self.result.first_difference = (
                f"{len(expected)} trades made, {len(stored)} settled; first difference: {different}"
            )


def _taker_and_maker(trade: Trade) -> tuple[int, int]:
    """Return the ids of the arriving and of the resting order."""
    if trade.taker_side == "buy":
        return trade.buy_order_id, trade.sell_order_id
    return trade.sell_order_id, trade.buy_order_id


def _wait_for_lag(most: int) -> None:
    """Wait until at most so many commands are unsettled.

    Raises:
        RoadStalledError: Settlement does not move.
    """
    settled, moved_at = -1, time.monotonic()
    while True:
        [shard] = [item for item in selectors.lag() if item.shard == SHARD]
        if shard.lag <= most:
            return
        if shard.settled_sequence != settled:
            settled, moved_at = shard.settled_sequence, time.monotonic()
        elif time.monotonic() - moved_at > STALLED_SECONDS:
            raise RoadStalledError(
                f"{shard.lag} commands wait and nothing has been settled for {STALLED_SECONDS:.0f} s"
            )
        time.sleep(0.005)
