"""The order flow of the benchmarks: one instrument, a steady book of about 3,000 orders.

50 % passive limit orders, 40 % cancels of live orders, 10 % limit orders that trade at once and are
certain to fill whole, around a price that walks at random. Deterministic: the same seed, the same flow.
"""

import heapq
import random
from collections import deque
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from matching_worker import protocol
from matching_worker.protocol import CommandKind, OrderType, Rows, Side, TimeInForce

SEED: Final = 20_260_601
PRELOADED: Final = 5_000
COMMANDS: Final = 1_000_000
INSTRUMENT_ID: Final = 1
TRADERS: Final = 97

HALF: Final = 0.5
PASSIVE_BELOW: Final = 0.5
CANCEL_BELOW: Final = 0.9
TOO_MANY: Final = 1.4
TOO_FEW: Final = 0.6
LEANING: Final = 0.1
"""A draw below PASSIVE_BELOW places, below CANCEL_BELOW cancels, else takes. When the book is larger or
smaller than its steady size by these factors, that share of the draws leans the other way."""
SMALL_TAKERS: Final = 0.9


@dataclass
class _Market:
    """A simple market that knows what rests, so that cancels and takers hit what is there.

    Attributes:
        queues: For bids (0) and asks (1): price -> ids, oldest first; ids of gone orders are passed over.
        heaps: For each side, its prices, best first; bids negated.
        open_qty: Open quantity by id.
        live: Ids in no order, with `places` telling where each stands, so that a random one goes in O(1).
    """

    queues: tuple[dict[int, deque[int]], dict[int, deque[int]]] = field(default_factory=lambda: ({}, {}))
    heaps: tuple[list[int], list[int]] = field(default_factory=lambda: ([], []))
    open_qty: dict[int, int] = field(default_factory=dict)
    live: list[int] = field(default_factory=list)
    places: dict[int, int] = field(default_factory=dict)

    def best(self, side: int) -> int | None:
        """Return the side's best price, forgetting levels that have emptied."""
        heap, queues = self.heaps[side], self.queues[side]
        while heap:
            price = -heap[0] if side == 0 else heap[0]
            queue = queues.get(price)
            while queue and queue[0] not in self.open_qty:
                queue.popleft()
            if queue:
                return price
            heapq.heappop(heap)
            queues.pop(price, None)
        return None

    def rest(self, order_id: int, side: int, price: int, qty: int) -> None:
        """Add an order."""
        queue = self.queues[side].get(price)
        if queue is None:
            self.queues[side][price] = deque((order_id,))
            heapq.heappush(self.heaps[side], -price if side == 0 else price)
        else:
            queue.append(order_id)
        self.open_qty[order_id] = qty
        self.places[order_id] = len(self.live)
        self.live.append(order_id)

    def drop(self, order_id: int) -> None:
        """Remove an order."""
        del self.open_qty[order_id]
        place, last = self.places.pop(order_id), self.live.pop()
        if last != order_id:
            self.live[place] = last
            self.places[last] = place

    def take(self, side: int, want: int) -> tuple[int, int | None]:
        """Trade against `side`; returns the quantity traded and the worst price reached."""
        left, worst = want, None
        while left and (price := self.best(side)) is not None:
            maker = self.queues[side][price][0]
            traded = min(left, self.open_qty[maker])
            left -= traded
            worst = price
            if traded == self.open_qty[maker]:
                self.queues[side][price].popleft()
                self.drop(maker)
            else:
                self.open_qty[maker] -= traded
        return want - left, worst


class _Flow:
    """Writes the flow, one row (kind, side, id, price, qty) a command."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.market = _Market()
        self.fair = 100_000.0
        self.rows: list[tuple[int, int, int, int, int]] = []
        self.order_id = 0

    def passive(self, distance: float) -> None:
        """Place an order that rests, on average `distance` ticks from the fair price."""
        side = int(self.random.random() < HALF)
        away = int(self.random.expovariate(1 / distance))
        other_best = self.market.best(1 - side)
        price = int(self.fair) + 1 + away if side else int(self.fair) - away
        if other_best is not None:
            price = max(price, other_best + 1) if side else min(price, other_best - 1)
        self.order_id += 1
        qty = self.random.randint(1, 100)
        self.rows.append((CommandKind.PLACE, side, self.order_id, price, qty))
        self.market.rest(self.order_id, side, price, qty)

    def cancel(self) -> None:
        """Cancel one of the live orders."""
        order_id = self.market.live[int(self.random.random() * len(self.market.live))]
        self.rows.append((CommandKind.CANCEL, 0, order_id, 0, 0))
        self.market.drop(order_id)

    def marketable(self) -> None:
        """Place an order that trades at once and fills whole."""
        side = int(self.random.random() < HALF)
        is_small = self.random.random() < SMALL_TAKERS
        want = self.random.randint(1, 100) if is_small else self.random.randint(100, 600)
        traded, worst = self.market.take(1 - side, want)
        if worst is not None:
            self.order_id += 1
            self.rows.append((CommandKind.PLACE, side, self.order_id, worst, traded))

    def step(self, steady: int) -> None:
        """Add one command, leaning against a book that grows or shrinks too far."""
        self.fair += self.random.gauss(0, 0.15)
        draw, resting = self.random.random(), len(self.market.live)
        if resting > steady * TOO_MANY and draw < LEANING:
            draw += PASSIVE_BELOW
        elif resting < steady * TOO_FEW and PASSIVE_BELOW <= draw < PASSIVE_BELOW + LEANING:
            draw -= PASSIVE_BELOW
        if draw < PASSIVE_BELOW or not self.market.live:
            self.passive(12)
        elif draw < CANCEL_BELOW:
            self.cancel()
        else:
            self.marketable()


def workload(commands: int = COMMANDS, preloaded: int = PRELOADED, seed: int = SEED) -> Rows:
    """Return `preloaded` resting orders and then `commands` commands.

    Returns:
        (preloaded + commands,) COMMAND_DTYPE, numbered from 1.
    """
    flow = _Flow(seed)
    for _ in range(preloaded):
        flow.passive(40)
    while len(flow.rows) < preloaded + commands:
        flow.step(preloaded)
    table = np.array(flow.rows, np.int64)
    is_place = table[:, 0] == CommandKind.PLACE
    return protocol.encode(
        kind=table[:, 0],
        instrument_id=INSTRUMENT_ID,
        order_id=table[:, 2],
        trader_id=table[:, 2] % TRADERS + 1,
        side=np.where(is_place, table[:, 1] + int(Side.BUY), 0),
        order_type=np.where(is_place, int(OrderType.LIMIT), 0),
        time_in_force=np.where(is_place, int(TimeInForce.GTC), 0),
        price_ticks=table[:, 3],
        qty_lots=table[:, 4],
        timestamp_ns=np.arange(len(table)) * 1_000,
        sequence=np.arange(1, len(table) + 1),
    )
