import contextlib
import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange.api.errors import MalformedJsonError
from exchange.api.wire import dumps, loads


def test_decimals_go_out_as_plain_strings() -> None:
    assert dumps([Decimal("1E-8"), Decimal("1E+3"), Decimal("0.10"), Decimal("-0")]) == (
        b'["0.00000001","1000","0.1","0"]'
    )


def test_times_go_out_in_utc_with_six_decimals() -> None:
    taipei = timezone(timedelta(hours=8))

    assert dumps(datetime(2025, 5, 18, 18, 30, tzinfo=taipei)) == b'"2025-05-18T10:30:00.000000Z"'
    assert dumps(datetime(2025, 5, 18, 10, 30, 0, 123456, tzinfo=UTC)) == b'"2025-05-18T10:30:00.123456Z"'


def test_floats_inside_our_own_answers_would_show_as_numbers_and_not_as_amounts() -> None:
    assert dumps({"a": 1}) == b'{"a":1}'
    with pytest.raises(TypeError):
        dumps({"a": object()})


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"a":1,}',
        b"{'a':1}",
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":-Infinity}',
        b'{"a":1,"a":2}',
        b'{"a":{"b":1,"b":1}}',
        b'{"a":01}',
        b'{"a":1}{}',
        b"\xff\xfe",
        b'\xef\xbb\xbf{"a":1}',
        b'{"a":"\\ud800"}',
        b'{"\\udc00":1}',
        b'{"a":' + b"9" * 5000 + b"}",
        b"[" * 100_000,
        b"[" * 40 + b"]" * 40,
    ],
)
def test_what_two_readers_could_understand_differently_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedJsonError):
        loads(body)


def test_nesting_and_escapes_are_read_up_to_what_is_allowed() -> None:
    assert loads(b"[" * 32 + b"1" + b"]" * 32)
    assert loads(b'{"a":' * 32 + b"1" + b"}" * 32)
    assert loads(b'{"caf\\u00e9":["\\ud83d\\ude00"]}') == {"café": ["😀"]}
    for body in (b"[" * 33 + b"]" * 33, b'{"a":' * 33 + b"1" + b"}" * 33, b'[{"a":[{"b":"\\ud83d"}]}]'):
        with pytest.raises(MalformedJsonError):
            loads(body)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda x: st.lists(x) | st.dictionaries(st.text(), x),
        max_leaves=20,
    )
)
def test_what_json_can_say_is_read_as_it_was_written(value: object) -> None:
    assert loads(json.dumps(value).encode()) == value


@given(st.binary(max_size=200))
def test_no_bytes_at_all_make_the_reader_fail_otherwise(body: bytes) -> None:
    with contextlib.suppress(MalformedJsonError):
        loads(body)
