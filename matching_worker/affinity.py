"""Optional CPU affinity: which processor a stage's thread runs on. Off unless it is asked for.

The system calls apply to the calling thread, so each thread pins itself when it starts.
"""

import os
from collections.abc import Collection, Mapping
from typing import Final

SETTING: Final = "EXCHANGE_WORKER_CORES"
"""The environment variable: `match=1,journal=0`; stages not named run anywhere."""


class AffinityError(Exception):
    """The wish for processors cannot be met; the message says why."""


def parse(text: str, stages: Collection[str]) -> dict[str, int]:
    """Return the processor of each stage that has one.

    Args:
        text: `stage=processor`, separated by commas; empty for none.
        stages: The names that may occur.

    Raises:
        AffinityError: This is not such a text, or names a stage twice or one that does not exist.
    """
    cores: dict[str, int] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        name, _, number = (piece.strip() for piece in part.partition("="))
        if name not in stages:
            raise AffinityError(f"{SETTING}: there is no stage {name!r}; the stages are {', '.join(stages)}")
        if not number.isdecimal():
            raise AffinityError(f"{SETTING}: {part!r} is not stage=processor")
        if name in cores:
            raise AffinityError(f"{SETTING}: stage {name} is named twice")
        cores[name] = int(number)
    return cores


def pin(core: int) -> str:
    """Keep the calling thread on one processor.

    Returns:
        Nothing, or why this could not be done: affinity is a wish for speed, and no reason to stop.
    """
    if not hasattr(os, "sched_setaffinity"):
        return "this system cannot bind threads to processors; they run anywhere"
    try:
        os.sched_setaffinity(0, {core})
    except OSError as error:
        allowed = ", ".join(map(str, sorted(os.sched_getaffinity(0))))
        return f"processor {core} cannot be had ({error.strerror}); this process may use {allowed}"
    return ""


def describe(cores: Mapping[str, int]) -> str:
    """Return a wish as text, as `parse` reads it."""
    return ",".join(f"{name}={core}" for name, core in cores.items())
