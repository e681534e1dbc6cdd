"""A matching worker that kills itself, as `kill -9` would, when it reaches a named step for the n-th time.

Run by test_crash.py, test_crash_suspense.py and test_takeover.py: `python -m trading.tests.crash_worker STEP N`. With
the name of another signal after that, as SIGSTOP, it sends itself this one, and goes on if it can.
"""

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import django

STEPS = {
    "before journal": ("matching_worker.shard", "Shard", "journal", "before"),
    "between write and sync": ("os", None, "fdatasync", "before"),
    "after sync": ("matching_worker.shard", "Shard", "journal", "after"),
    "before match": ("matching_worker.match_loop", "MatchLoop", "_match", "before"),
    "before settlement": ("trading.services.settlement", None, "settle", "before"),
    "after the cursor moved": ("trading.services.settlement", None, "_load", "before"),
    "before the door": ("ledger.services.journal", None, "door_call", "before"),
    "after the door": ("ledger.services.journal", None, "door_call", "after"),
    "after settlement": ("trading.services.settlement", None, "settle", "after"),
    "before the push": ("trading.services.private_events", None, "_push", "before"),
    "in the lease": ("trading.services.lease", None, "renew", "before"),
}
SUSPENSE_STEPS = {
    "between two halves": ("matching_worker.shard", "Shard", "_settle_part", "after"),
    "before suspense": ("trading.services.suspense", None, "settle", "before"),
    "after the cursor moved, before the books": ("trading.services.suspense", None, "_post", "before"),
    "after what the books take": ("trading.services.suspense", None, "_post", "after"),
    "after the refused entries are kept": ("trading.services.suspense", None, "_owed", "after"),
    "after the freeze": ("ledger.transfers.profiles", None, "freeze", "after"),
    "after the breaks": ("trading.services.suspense", None, "_tell", "after"),
    "after cancel-only": ("trading.services.trading_state", None, "change_within", "after"),
    "after suspense": ("trading.services.suspense", None, "settle", "after"),
}
"""The steps of a settlement that the books refuse: `trading/services/suspense.py`."""


def _dying(function: Callable[..., Any], when: str, at: int, sent: int) -> Callable[..., Any]:
    """Wrap a function so that its n-th call does not survive."""
    calls = 0

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        number = calls  # the function may call itself
        if when == "before" and number == at:
            os.kill(os.getpid(), sent)
        result = function(*args, **kwargs)
        if when == "after" and number == at:
            os.kill(os.getpid(), sent)
        return result

    return wrapper


def main(step: str, at: int, sent: str = "SIGKILL") -> None:
    """Patch the step and run the worker until it dies."""
    django.setup()
    from importlib import import_module

    from django.core.management import call_command

    module_name, owner, name, when = (STEPS | SUSPENSE_STEPS)[step]
    holder: Any = import_module(module_name)
    if owner is not None:
        holder = getattr(holder, owner)
    setattr(holder, name, _dying(getattr(holder, name), when, at, signal.Signals[sent]))
    call_command("run_matching_worker", http_port=0)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
