"""Random events in random batches against a model in plain Python: same answers, every identity after each."""

from collections import defaultdict
from decimal import Decimal

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger import audit
from ledger.chart import CHART, AccountCode
from ledger.entries import AccountKey, EntryDraft, PostedEntry
from ledger.posting_rules import EventKind
from ledger.services import accounts, journal
from ledger.services.journal import LedgerBoundError
from ledger.tests.factories import event, freeze, spot_fill, unfreeze
from ledger.tests.fixtures import make_asset

USERS = (1, 2, 3)
QUANTUM = Decimal("0.00000001")

amounts = st.integers(1, 60_00000000).map(lambda quanta: quanta * QUANTUM)
keys = st.integers(0, 40).map(str)
single = st.sampled_from(
    [
        EventKind.DEPOSIT,
        EventKind.ORDER_FREEZE,
        EventKind.ORDER_UNFREEZE,
        EventKind.WITHDRAWAL_HOLD,
        EventKind.WITHDRAWAL_REJECT,
        EventKind.MAKER_REBATE,
    ]
)
single_events = st.builds(
    event, single, keys, st.sampled_from(USERS), amounts, st.sampled_from(["USDT", "USDT", "BTC"])
)


@st.composite
def fills(draw: st.DrawFn) -> EntryDraft:
    """Draw a fill whose numbers fit each other; the wallets may or may not cover it."""
    notional, improvement = draw(amounts), draw(amounts)
    buyer_fee, seller_fee = (notional / 4).quantize(QUANTUM), (notional / 5).quantize(QUANTUM)
    return spot_fill(
        draw(keys),
        draw(st.sampled_from(USERS)),
        draw(st.sampled_from(USERS)),
        hold_share=notional + improvement + buyer_fee,
        improvement=improvement,
        notional=notional,
        quantity=draw(amounts),
        buyer_fee=buyer_fee,
        seller_fee=seller_fee,
        total_fee=buyer_fee + seller_fee,
    )


class Model:
    """The books as a dictionary: what the door must do, said line by line."""

    def __init__(self) -> None:
        self.balances: dict[AccountKey, Decimal] = defaultdict(Decimal)
        self.kinds: dict[str, str] = {}

    def post(self, drafts: list[EntryDraft]) -> list[bool] | None:
        """Apply a batch: for each draft whether it was a repeat, or None when the batch is refused."""
        balances, kinds, repeated = self.balances.copy(), self.kinds.copy(), []
        for draft in drafts:
            repeated.append(draft.key in kinds)
            if draft.key in kinds:
                continue
            kinds[draft.key] = draft.kind
            for key, amount in draft.lines:
                balances[key] += amount
                if balances[key] * CHART[AccountCode(key.code)].bound < 0:
                    return None
        self.balances, self.kinds = balances, kinds
        return repeated


@pytest.mark.django_db
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(batches=st.lists(st.lists(single_events | fills(), min_size=1, max_size=8), min_size=1, max_size=6))
def test_any_batches_give_what_the_model_gives_and_keep_every_invariant(batches) -> None:
    with transaction.atomic():
        _play(batches)
        transaction.set_rollback(True)


def _play(batches: list[list[EntryDraft]]) -> None:
    """Post batches to the books and to the model, comparing after each."""
    from ledger.tests.factories import NOW

    make_asset("USDT")
    make_asset("BTC")
    model = Model()
    start = [event(EventKind.DEPOSIT, f"start{u}{a}", u, 100, a) for u in USERS for a in ("USDT", "BTC")]
    for drafts in [start, [freeze("s1", 1, 80), unfreeze("s2", 1, 5)], *batches]:
        expected = model.post(drafts)
        posted: list[PostedEntry] | None
        try:
            with transaction.atomic():
                posted = journal.post(drafts, NOW)
        except LedgerBoundError:
            posted = None

        assert (None if posted is None else [entry.repeated for entry in posted]) == expected
        if posted:
            assert [entry.kind for entry in posted] == [model.kinds[draft.key] for draft in drafts]
        assert accounts.balances(model.balances) == model.balances
        assert [invariant for invariant in audit.invariants() if not invariant.ok] == []
