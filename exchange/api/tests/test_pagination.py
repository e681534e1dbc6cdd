from types import SimpleNamespace

import pytest

from exchange.api.errors import InvalidCursorError
from exchange.api.pagination import decode_cursor, encode_cursor, page


@pytest.mark.parametrize("last_id", [0, 1, 50, 2**53 - 1])
def test_a_cursor_leads_back_to_where_it_was_given_out(last_id: int) -> None:
    assert decode_cursor(encode_cursor(last_id)) == last_id


@pytest.mark.parametrize("cursor", ["", "1", "!!!", "a" * 63, "MToxMjM0NTY3ODkwMTIzNDU2Nzg5MA", "MTot", "é", "MjoxMA"])
def test_a_cursor_that_was_never_given_out_is_refused(cursor: str) -> None:
    with pytest.raises(InvalidCursorError):
        decode_cursor(cursor)


def test_a_page_names_the_next_one_only_while_there_is_one() -> None:
    rows = [SimpleNamespace(id=number) for number in (9, 8, 7)]

    first = page(rows, limit=2, shape=lambda row: row.id)
    last = page(rows[2:], limit=2, shape=lambda row: row.id)

    assert first == {"items": [9, 8], "next_cursor": encode_cursor(8)}
    assert last == {"items": [7], "next_cursor": None}
