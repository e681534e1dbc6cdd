"""Measures the feed: cost of publishing a batch, bytes of deltas against whole books, fan-out over daphne.

    python -m marketdata.benchmarks.feed            # needs nothing: starts its own Redis in a temporary folder
    python -m marketdata.benchmarks.feed --clients 200 --url ws://127.0.0.1:8000/ws --symbol BTCUSDT

The second form measures a running exchange: how long a trade takes from the engine's time stamp to each client.
"""

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from pathlib import Path

import django


def percentiles(seconds: list[float]) -> str:
    """Return median, p99 and worst in milliseconds."""
    ordered = sorted(seconds)
    picked = (statistics.median(ordered), ordered[int(len(ordered) * 0.99)], ordered[-1])
    return " / ".join(f"{value * 1000:.2f}" for value in picked) + " ms (median / p99 / worst)"


def publishing() -> None:
    """Print what a batch costs the worker, and what deltas weigh."""
    from exchange.embedded import addresses, redis
    from marketdata import feed
    from marketdata.services.publish import Publisher
    from marketdata.tests.events import Flow
    from marketdata.tests.factories import spec

    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # as root, the server runs as another user
        server = redis.start(Path(folder))
        publisher = Publisher(addresses.redis_url(Path(folder)))
        publisher.reset([spec()], {}, 0)
        flow = Flow(1)
        publisher.publish(flow.batch(3000))
        publisher.flush(10)
        for commands in (1, 10, 100, 1000):
            handed, done = [], []
            for _ in range(200):
                events = flow.batch(commands)
                started = time.perf_counter()
                publisher.publish(events)
                handed.append(time.perf_counter() - started)
                while publisher._queue or publisher._is_sending:  # noqa: SLF001 -- the bench looks inside
                    time.sleep(0.00005)
                done.append(time.perf_counter() - started)
            print(f"batch of {commands:>4} commands: handed over {percentiles(handed)}; in Redis {percentiles(done)}")
        publisher.flush(10)
        stream = publisher._streams[1]  # noqa: SLF001 -- the bench looks inside
        delta = whole = 0
        for _ in range(500):
            [step] = publisher._mirror.apply(flow.batch(3))  # noqa: SLF001
            for _, message in stream._step(step).messages:  # noqa: SLF001
                delta += sum(len(text) for text in message["texts"] if message["channel"].startswith("delta"))
            image = feed.book_message("depth", spec(), *stream.book.top(10**6), sequence=1, timestamp_ms=1)
            whole += len(feed.dumps(image))
        levels = sum(map(len, stream.book.sides))
        print(f"deltas {delta} bytes, whole books of {levels} levels {whole}: {100 * (1 - delta / whole):.2f} % fewer")
        publisher.close()
        server.terminate()
        server.wait()


async def fan_out(url: str, symbol: str, clients: int, seconds: float) -> None:
    """Print how long trades take from the engine's time stamp to each of many clients."""
    from websockets.asyncio.client import connect

    latencies: list[float] = []
    missed = 0

    async def listen() -> None:
        nonlocal missed
        async with connect(url) as socket:
            await socket.send(json.dumps({"action": "subscribe", "channels": [f"trade.{symbol}"]}))
            await socket.recv()
            last = None
            async for text in socket:
                message = json.loads(text)
                latencies.append(time.time() - message["timestamp"] / 1000)
                missed += 0 if last is None else message["sequence"] - last - 1
                last = message["sequence"]

    tasks = [asyncio.create_task(listen()) for _ in range(clients)]
    await asyncio.sleep(seconds)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    if not latencies:
        print(f"{clients} clients, no trade in {seconds:.0f} s")
        return
    print(f"{clients} clients, {len(latencies)} messages in {seconds:.0f} s, missed {missed}: {percentiles(latencies)}")


def main() -> None:
    """Run what the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--url")
    parser.add_argument("--symbol", default="BTCUSDT")
    parser.add_argument("--seconds", type=float, default=10.0)
    arguments = parser.parse_args()
    if arguments.url:
        asyncio.run(fan_out(arguments.url, arguments.symbol, arguments.clients, arguments.seconds))
        return
    django.setup()
    publishing()


if __name__ == "__main__":
    main()
