"""Ten times as many orders as the road can take, over HTTP, for half a minute; and what is left of it afterwards.

First the rate that the road sustains is found: batches of 50 from a few clients, each sent when the one before is
answered; what is accepted or what is settled in a second, whichever is less. Then ten times as many are offered, each
batch at its moment whatever became of the earlier ones, by users at addresses of their own, so that no user's limit
stands before the road's. Meanwhile one trader takes single orders off, and closes a position lot by lot: these must
pass. At the end clients go on as at first, and every order that was accepted is looked for in the books.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import cycle, islice
from typing import TYPE_CHECKING, Any, Final

from trading.benchmarks.road import http, web

if TYPE_CHECKING:
    from trading.benchmarks.road.flow import Flow

TIMES: Final = 10
CONNECTIONS_MAX: Final = 600
"""Batches that are sent and not answered. Beyond them a client gives up before it has sent anything."""
RECOVERED_SHARE: Final = 0.9
"""Of the sustained rate: what counts as being back."""
WINDOW_SECONDS: Final = 2.0
RECOVERY_SECONDS_MAX: Final = 30.0
REDUCING_PAUSE_SECONDS: Final = 0.25
DRAWN_MAX: Final = 1_000
"""Different batches; more are not needed, for an order's words may come again."""
TOO_MANY: Final = 429

Headers = Mapping[int, Mapping[str, str]]


@dataclass
class Flood:
    """What came of a phase.

    Attributes:
        accepted: Ids of orders.
        refused: Orders by the name of their refusal, those of refused batches included.
        unsent: Orders that no connection was free for.
        unnamed: Refusals by 429 that did not say when to come again.
        errors: Batches by what was wrong with them.
    """

    seconds: float = 0.0
    offered: int = 0
    accepted: list[int] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    unsent: int = 0
    unnamed: int = 0
    errors: Counter[str] = field(default_factory=Counter)

    @property
    def rate(self) -> float:
        """Orders accepted in a second."""
        return len(self.accepted) / self.seconds

    def note(self, asked: http.Request, answer: http.Answer | Exception) -> None:
        """Count what came of a batch."""
        if isinstance(answer, Exception):
            self.errors[type(answer).__name__] += 1
        elif answer.status == TOO_MANY:
            self.refused[answer.read()["data"]["error"]] += asked.items
            self.unnamed += not answer.names_return
        elif not answer.is_success:
            self.errors[f"status {answer.status}"] += 1
        else:
            for result in answer.read()["data"]["results"]:
                if result["code"]:
                    self.refused[result["data"]["error"]] += 1
                else:
                    self.accepted.append(result["data"]["order_id"])


@dataclass
class Passing:
    """Calls that take orders off or close a position, which no limit holds up.

    Attributes:
        held_off: By the name of the refusal, if one was refused for a while.
    """

    cancels: int = 0
    reductions: int = 0
    held_off: Counter[str] = field(default_factory=Counter)
    milliseconds: list[float] = field(default_factory=list)


def drawn(flow: "Flow", signed: Headers) -> Iterator[http.Request]:
    """Return batches of 50, of one user after the other, again and again."""
    owners = list(signed)
    return cycle([web.orders(flow, owner, signed[owner]) for owner in islice(cycle(owners), DRAWN_MAX)])


async def sustained(port: int, batches: Iterator[http.Request], seconds: float) -> Flood:
    """Let a few clients send one batch after the other."""
    found, connections = Flood(), http.Connections(port)
    started = time.monotonic()

    async def one() -> None:
        while time.monotonic() < started + seconds:
            asked = next(batches)
            found.offered += asked.items
            found.note(asked, await connections.send(asked))

    await asyncio.gather(*(one() for _ in range(web.CLIENTS)))
    found.seconds = time.monotonic() - started
    connections.close()
    return found


async def flooded(
    port: int, batches: Iterator[http.Request], seconds: float, rate: float, reducing: "Reducing"
) -> tuple[Flood, Passing]:
    """Offer so many orders a second, whatever becomes of them; meanwhile one trader reduces."""
    found, connections = Flood(), http.Connections(port)
    ending = asyncio.Event()
    started = time.monotonic()

    async def one(asked: http.Request) -> None:
        found.note(asked, await connections.send(asked))

    async with asyncio.TaskGroup() as group:
        passing = group.create_task(reducing.until(ending))
        waiting: set[asyncio.Task[None]] = set()
        while (passed := time.monotonic() - started) < seconds:
            while found.offered < passed * rate:
                asked = next(batches)
                found.offered += asked.items
                if len(waiting) >= CONNECTIONS_MAX:
                    found.unsent += asked.items
                    continue
                task = group.create_task(one(asked))
                waiting.add(task)
                task.add_done_callback(waiting.discard)
            await asyncio.sleep(web.ORDERS_A_REQUEST / rate)
        found.seconds = time.monotonic() - started
        ending.set()
    connections.close()
    return found, passing.result()


class Reducing:
    """A trader who takes orders off, and closes a position lot by lot.

    Args:
        spot: Symbol of the market on which orders rest, far from what trades.
        contract: Symbol of the contract in which there is a long position.
    """

    def __init__(self, port: int, headers: Mapping[str, str], spot: str, contract: str) -> None:
        self._port = port
        self._headers = headers
        self._spot = spot
        self._contract = contract
        self._resting: list[int] = []

    async def prepare(self, orders: int, price: str, quantity: str) -> None:
        """Place orders to be cancelled later.

        Raises:
            RuntimeError: They are not accepted.
        """
        connections = http.Connections(self._port)
        order = {"symbol": self._spot, "side": "buy", "type": "limit", "quantity": quantity, "price": price}
        for _ in range(0, orders, web.ORDERS_A_REQUEST):
            wanted = {"orders": [order] * web.ORDERS_A_REQUEST}
            found = Flood()
            asked = http.request("POST", f"{web.ORDERS}/batch", self._headers, wanted)
            found.note(asked, await connections.send(asked))
            if len(found.accepted) != web.ORDERS_A_REQUEST:
                raise RuntimeError(f"orders to be cancelled were not taken: {found.refused or found.errors}")
            self._resting += found.accepted
        connections.close()

    async def until(self, ending: asyncio.Event) -> Passing:
        """Cancel and reduce in turns until the end."""
        found, connections = Passing(), http.Connections(self._port)
        sell = {"symbol": self._contract, "side": "sell", "type": "market", "quantity": "0.1", "reduce_only": True}
        while not ending.is_set() and self._resting:
            cancel = http.request("DELETE", f"{web.ORDERS}/{self._resting.pop()}", self._headers)
            found.cancels += await self._passes(connections, cancel, found)
            reduce = http.request("POST", web.ORDERS, self._headers, sell)
            found.reductions += await self._passes(connections, reduce, found)
            await asyncio.sleep(REDUCING_PAUSE_SECONDS)
        connections.close()
        return found

    async def _passes(self, connections: http.Connections, asked: http.Request, found: Passing) -> bool:
        """Send a call; return whether it was done, and note why if not."""
        sent = time.monotonic()
        answer = await connections.send(asked)
        found.milliseconds.append((time.monotonic() - sent) * 1e3)
        if isinstance(answer, Exception):
            found.held_off[type(answer).__name__] += 1
            return False
        if not answer.is_success:
            found.held_off[answer.read()["data"]["error"]] += 1
        return answer.is_success


def recovered(port: int, batches: Iterator[http.Request], rate: float, accepted: list[int]) -> float | None:
    """Go on as at first; return the seconds until the rate was back, or None when it took too long.

    Args:
        accepted: Gets the orders that were accepted meanwhile.
    """
    started = time.monotonic()
    while time.monotonic() - started < RECOVERY_SECONDS_MAX:
        found = asyncio.run(sustained(port, batches, WINDOW_SECONDS))
        accepted += found.accepted
        if found.rate >= RECOVERED_SHARE * rate:
            return round(time.monotonic() - started, 1)
    return None


def without_outcome(accepted: list[int]) -> int:
    """Return how many accepted orders the books do not know; that open ones stand in the book is the audit's to say."""
    from exchange import database

    statement = """
        SELECT count(*) FROM unnest(%s::bigint[]) AS given(id)
        WHERE NOT EXISTS (SELECT FROM orders o WHERE o.id = given.id)
    """
    [[(missing,)]] = database.fetch((statement, (database.array(accepted),)))
    return int(missing)


def memory(processes: Mapping[str, Any]) -> dict[str, int]:
    """Return what processes and their children hold in memory, in MB; pages that they share count once."""
    found = {}
    for name, process in processes.items():
        sizes = [one.memory_full_info().pss for one in (process, *process.children(recursive=True)) if one.is_running()]
        found[name] = sum(sizes) >> 20
    return found
