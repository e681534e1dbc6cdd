"""A matching worker one of whose stages fails at its first batch, as on a full disk.

Run by test_process.py: `python -m matching_worker.tests.failing_worker STAGE`.
"""

import sys
from typing import Any

import django

WORK = {
    "journal": ("matching_worker.shard", "Shard", "journal"),
    "match": ("matching_worker.match_loop", "MatchLoop", "_match"),
    "publish": ("marketdata.services.publish", "Publisher", "publish"),
    "settle": ("matching_worker.shard", "Shard", "settle"),
}


def _fail(*_: Any, **__: Any) -> None:
    raise OSError("no space left on device")


def main(stage: str) -> None:
    """Break the stage and run the worker until it ends."""
    django.setup()
    from importlib import import_module

    from django.core.management import call_command

    module_name, owner, name = WORK[stage]
    setattr(getattr(import_module(module_name), owner), name, _fail)
    call_command("run_matching_worker", http_port=0)


if __name__ == "__main__":
    main(sys.argv[1])
