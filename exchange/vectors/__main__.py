"""Prints the vectors of contracts with their journal entries: `python -m exchange.vectors [--rest] [--check]`.

It trades them on a PostgreSQL and a Redis of its own, in a folder that is gone at the end; it touches no other
database.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from exchange.embedded import redis
from ledger.benchmarks import scratch


def main() -> int:
    """Trade every vector and print it; return how many do not show what the page says."""
    parser = argparse.ArgumentParser(prog="python -m exchange.vectors", description=__doc__)
    parser.add_argument("--rest", action="store_true", help="through REST, as an integrator; else through services")
    parser.add_argument("--check", action="store_true", help="print only whether each shows what the page says")
    options = parser.parse_args()
    with scratch.server(durable=False) as data_dir:
        (data_dir / "static").mkdir(exist_ok=True)  # where WhiteNoise looks as soon as the application is made
        running = redis.start(data_dir, durable=False)
        try:
            return _all(through_rest=options.rest, check=options.check)
        finally:
            redis.stop(running, data_dir)


def _all(*, through_rest: bool, check: bool) -> int:
    """Trade every vector of the page."""
    from exchange.kernel.clock import utc_now
    from exchange.vectors import page, play, rest, road, services
    from ledger import audit as books
    from matching_worker.shard import Shard
    from trading import audit

    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        shard = Shard(0, wal_dir=Path(folder), owner="vectors")
        shard.recover(now=utc_now())

        def settle() -> None:
            while shard.step(now=utc_now()):
                pass

        for vector in page.read():
            symbol = play.symbol_of(vector)
            way: road.Road = rest.Rest(symbol, rest.in_process()) if through_rest else services.Services(symbol)
            played = play.Play(symbol, way, settle)
            shown = [played.block(block.steps) for block in vector.blocks]
            is_right = shown == [block.shows for block in vector.blocks]
            wrong += not is_right
            sys.stdout.write(f"{'as written' if is_right else 'NOT AS WRITTEN'}: {vector.title}\n")
            if not check:
                for block, text in zip(vector.blocks, shown, strict=True):
                    happens = "\n".join("; ".join(line) for line in block.steps)
                    sys.stdout.write(f"\n{happens}\n\n{text}\n")
        shard.close()
    broken = [item for item in (*books.invariants(), *audit.invariants()) if not item.ok]
    sys.stdout.write(f"broken invariants: {broken}\n" if broken else "audit: every invariant of books and road holds\n")
    return wrong + len(broken)


if __name__ == "__main__":
    sys.exit(main())
