"""The random history itself: what it says of the books is what the books say."""

import pytest

from ledger.posting_rules import EventKind
from ledger.services import accounts
from ledger.tests.random_history import History

pytestmark = pytest.mark.usefixtures("books")


@pytest.mark.parametrize("seed", [1, 2])
def test_a_history_has_every_kind_and_the_balances_of_the_books(seed) -> None:
    history = History(users=range(1, 9), seed=seed)

    history.play(500)

    assert {entry.draft.kind for entry in history.posted} == set(EventKind)
    assert accounts.balances(history.balances) == history.balances
    assert any(entry.moment != entry.recorded_at for entry in history.posted)
