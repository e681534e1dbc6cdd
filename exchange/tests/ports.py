"""Ports for exchanges of tests."""

import os
import socket

from exchange.management import children

FIRST = 20_000
SPREAD = 10_000
"""Test runs begin to look at different ports."""
LAST = 32_767
"""Above it systems choose ports for outgoing connections: one could be taken before the exchange listens."""


def free_port() -> int:
    """Return a port that is free, as are those of two shards' workers that belong to it."""
    for port in range(FIRST + os.getpid() % SPREAD, LAST - children.WORKER_PORT_OFFSET - 1):
        with socket.socket() as web, socket.socket() as worker, socket.socket() as second:
            try:
                web.bind(("127.0.0.1", port))
                worker.bind(("127.0.0.1", port + children.WORKER_PORT_OFFSET))
                second.bind(("127.0.0.1", port + children.WORKER_PORT_OFFSET + 1))
            except OSError:
                continue
            return port
    raise AssertionError("no free port")
