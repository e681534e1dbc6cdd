"""Wakes the back office: the web may write a staff decision down, only the back office's role may post it.

What is decided and not done yet is found and done by `ledger.tasks.carry_out`, which also runs periodically, so that
a lost call only costs time.
"""

from typing import Final

from celery import current_app
from django.db import transaction

TASK: Final = "ledger.tasks.carry_out"
ROUND_SECONDS: Final = 15.0
"""How often it is called without anybody's wish."""


def wake() -> None:
    """Ask the back office to look for work once the caller's transaction has committed."""
    transaction.on_commit(lambda: current_app.send_task(TASK), robust=True)
