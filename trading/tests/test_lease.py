"""The lease: one writer a shard, each taker with a higher epoch, the cursor obeying only the last."""

import subprocess
import sys
import time

import numpy as np
import pytest
from django.conf import settings

from exchange.kernel.clock import utc_now
from exchange.kernel.errors import InvariantViolationError
from matching_worker.protocol import COMMAND_DTYPE, EVENT_DTYPE, NO_LEVEL
from trading.models import SettlementCursor
from trading.services import lease, settlement
from trading.tests.processes import Scratch

pytestmark = pytest.mark.django_db

NOTICED_SECONDS_MAX = 20.0
HOLDER = (
    "import django; django.setup()\n"
    "from trading.services import lease\n"
    "print(lease.take(0, 'other'), flush=True)\n"
    "import time; time.sleep(60)\n"
)


@pytest.fixture(name="_django_db_helper")
def _no_transaction_around(django_db_setup) -> None:
    """Wrap nothing around the tests of this module: each has a database of its own, and really commits."""


def test_a_living_worker_s_shard_cannot_be_taken_a_killed_one_s_at_once(scratch: Scratch) -> None:
    command = [sys.executable, "-c", HOLDER]
    with subprocess.Popen(command, cwd=settings.BASE_DIR, env=scratch.env, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"(1, 0, 0)\n"

        with pytest.raises(lease.LeaseHeldError) as refusal:
            lease.take(0, "me")
        holder.kill()
        holder.wait()
        taken = _take_soon()

    assert refusal.value.data == {"shard": 0, "owner": "other"}
    assert taken == (2, 0, 0)


def _take_soon() -> tuple[int, int, int]:
    """Take the lease once the server has noticed that the other session is gone."""
    deadline = time.monotonic() + NOTICED_SECONDS_MAX
    while True:
        try:
            return lease.take(0, "me")
        except lease.LeaseHeldError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def test_who_lost_the_lease_can_neither_renew_nor_settle(scratch: Scratch) -> None:
    epoch, _, _ = lease.take(0, "me")
    lease.renew(0, epoch)
    lease.give_back(0, epoch)
    later, _, _ = lease.take(0, "me again")
    assert later == epoch + 1

    with pytest.raises(InvariantViolationError):
        lease.renew(0, epoch)
    commands, events = np.zeros(1, COMMAND_DTYPE), np.zeros(1, EVENT_DTYPE)
    events["level_lots"] = NO_LEVEL
    commands["sequence"] = events["sequence"] = 1
    with pytest.raises(settlement.FencedError):
        settlement.settle(0, epoch, commands, events, now=utc_now())

    assert SettlementCursor.objects.get(shard=0).sequence == 0
    lease.give_back(0, later)


def test_a_repeated_settlement_is_refused_and_changes_nothing(scratch: Scratch) -> None:
    epoch, _, _ = lease.take(0, "me")
    commands, events = np.zeros(1, COMMAND_DTYPE), np.zeros(1, EVENT_DTYPE)
    events["level_lots"] = NO_LEVEL
    commands["sequence"] = events["sequence"] = 1
    events["kind"], events["reason"], events["state_hash"] = 5, 33, 2**64 - 1
    commands["kind"] = 2
    settlement.settle(0, epoch, commands, events, now=utc_now())

    with pytest.raises(settlement.FencedError):
        settlement.settle(0, epoch, commands, events, now=utc_now())

    cursor = SettlementCursor.objects.get(shard=0)
    assert (cursor.sequence, int(cursor.state_hash)) == (1, 2**64 - 1)
    lease.give_back(0, epoch)
