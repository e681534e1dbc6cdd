"""What is done to which process; in turns, so that no kind waits long for its next one.

Of the two matching workers, which take each other's place, the one with the lease is the worker, the other one the
standby, whatever the supervisor calls them.
"""

import random
from collections.abc import Iterator, Sequence
from enum import StrEnum


class Kind(StrEnum):
    """What is done: to a process of that name kill -9, or what its title says."""

    WORKER = "worker"
    STALL = "stall"
    STANDBY = "standby"
    WEB = "web"
    CELERY = "celery"
    REDIS = "redis"
    EMPTIED = "emptied"
    POSTGRES = "postgres"
    RESTART = "restart"


TITLES = {
    Kind.WORKER: "worker, kill -9",
    Kind.STALL: "worker, stopped 3 s",
    Kind.STANDBY: "standby, kill -9",
    Kind.WEB: "Daphne, kill -9",
    Kind.CELERY: "Celery, kill -9",
    Kind.REDIS: "Redis, kill -9",
    Kind.EMPTIED: "Redis, emptied",
    Kind.POSTGRES: "PostgreSQL, kill -9",
    Kind.RESTART: "PostgreSQL, restarted",
}
STALL_SECONDS = 3.0
TAKEOVERS = (Kind.WORKER, Kind.STALL)
"""After these the standby has to take the shard over."""

OTHERS = {Kind.EMPTIED: "redis", Kind.RESTART: "postgres"}
"""Whose processes are meant by kinds of another name."""

WORKERS = ("worker", "standby")
"""The supervisor's names of the two matching workers."""


def drawn(kinds: Sequence[Kind], rng: random.Random) -> Iterator[Kind]:
    """Give kinds without end: all of them in some order, then all of them in another."""
    while True:
        yield from rng.sample(kinds, len(kinds))
