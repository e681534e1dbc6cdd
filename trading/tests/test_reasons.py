"""The published words are those that orders can have."""

from exchange.api.schema import error_rows
from matching_worker.protocol import Reason
from trading import reasons
from trading.api import OVERTAKEN
from trading.models import Order

NEVER_AN_ENDING = {"NONE", "LOST_PLACE", "WAITING", "AUCTION", "REFILLED", "CANCEL_ALL"}


def test_every_way_in_which_the_engine_ends_an_order_has_its_word() -> None:
    ways = {reason.name for reason in Reason if reason < Reason.DUPLICATE_ORDER_ID} - NEVER_AN_ENDING

    assert set(reasons.ENDED) == ways | {reasons.BY_OPERATOR, reasons.STOLEN, reasons.IN_DEBT}


def test_every_word_is_the_engines_a_refusals_or_the_roads() -> None:
    known = {reason.name for reason in Reason} | {row["error"] for row in error_rows()}

    words = {*reasons.ENDED, *reasons.REJECTED, *reasons.NOT_AMENDED}
    assert words - known == {reasons.BY_OPERATOR, reasons.STOLEN, "REFUSED_IN_REVIEW", reasons.NEVER_LOGGED}
    assert set(reasons.NOT_AMENDED) > OVERTAKEN
    assert max(map(len, words)) <= (Order._meta.get_field("reason").max_length or 0)


def test_they_read_as_one_text() -> None:
    assert reasons.listed({"A": "one", "B": "two"}) == "A: one; B: two"
