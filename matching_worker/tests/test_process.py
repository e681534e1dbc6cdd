import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command

from exchange.kernel.clock import utc_now
from ledger.services import accounts, transfers
from matching_worker.tests.failing_worker import WORK
from trading import audit
from trading.models import Order
from trading.services.requests import PlaceOrder
from trading.tests.processes import Scratch, scratch_database
from trading.tests.road import make_instrument, place

pytestmark = pytest.mark.django_db


@pytest.fixture(name="_django_db_helper")
def _no_transaction_around(django_db_setup) -> None:
    """Wrap nothing around the tests of this module: each has a database of its own, and really commits."""


@pytest.fixture
def scratch(django_db_setup, django_db_blocker, tmp_path: Path) -> Iterator[Scratch]:
    with django_db_blocker.unblock(), scratch_database(tmp_path) as made:
        yield made


def _trader(name: str) -> int:
    user = get_user_model().objects.create_user(name)
    accounts.open_gates([user.pk])
    now = utc_now()
    amounts = (("USDT", 1_000_000), ("BTC", 10))
    transfers.deposit(
        [transfers.Deposit(user.pk, asset, Decimal(amount), f"{name}:{asset}", "test") for asset, amount in amounts],
        now,
    )
    return user.pk


@pytest.mark.parametrize("stage", WORK)
def test_a_stage_that_fails_ends_the_process_and_the_next_worker_does_what_was_left(
    scratch: Scratch, stage: str
) -> None:
    make_instrument()
    alice, bob = _trader("alice"), _trader("bob")
    [sell] = place(alice, PlaceOrder("BTCUSDT", "sell", "limit", Decimal("0.0010"), Decimal(50_000)))

    failing = scratch.start_worker("-m", "matching_worker.tests.failing_worker", stage)
    [buy] = place(bob, PlaceOrder("BTCUSDT", "buy", "limit", Decimal("0.0010"), Decimal(50_000)))
    code = failing.wait(timeout=120)

    log = re.sub(r"\x1b\[[0-9;]*m", "", (scratch.folder / "worker.log").read_text())
    assert code == 1, log
    [said] = [line for line in log.splitlines() if "worker_thread_failed" in line]
    assert f"thread={stage}" in said

    scratch.start_worker("manage.py", "run_matching_worker", "--http-port", "0", "--cores", "match=0")
    scratch.wait_settled()

    assert [item for item in audit.invariants() if not item.ok] == []
    assert set(Order.objects.filter(id__in=[sell.id, buy.id]).values_list("status", flat=True)) == {"filled"}


def test_a_worker_refuses_processors_for_a_stage_that_does_not_exist() -> None:
    with pytest.raises(CommandError, match="no stage 'matching'"):
        call_command("run_matching_worker", cores="matching=1")
