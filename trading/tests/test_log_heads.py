"""Withdrawals wait for settlement: how far the logs reach, and whether the books have followed."""

import pytest

from ledger.transfers.outside import OUTSIDE
from trading.models import CommandStream, SettlementCursor
from trading.services import log_heads

pytestmark = pytest.mark.django_db


def test_heads_are_settled_once_the_cursor_has_passed_them_on_every_shard() -> None:
    CommandStream.objects.filter(shard=0).update(sequence=7)
    heads = log_heads.now()

    assert heads == {"0": 7}
    assert not log_heads.have_settled(heads)
    SettlementCursor.objects.filter(shard=0).update(sequence=6)
    assert not log_heads.have_settled(heads)
    SettlementCursor.objects.filter(shard=0).update(sequence=7)
    assert log_heads.have_settled(heads)


def test_a_shard_that_is_not_known_is_not_settled() -> None:
    assert not log_heads.have_settled({"99": 0})


def test_the_ledger_asks_these_answers() -> None:
    assert (OUTSIDE.log_heads, OUTSIDE.ready_when) == (log_heads.now, log_heads.have_settled)
