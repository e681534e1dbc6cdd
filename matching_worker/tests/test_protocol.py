import numpy as np
import pytest

from exchange.kernel.errors import InvariantViolationError
from matching_worker import protocol
from matching_worker.protocol import COMMAND_DTYPE, EVENT_DTYPE, CommandKind, OrderType, Side, TimeInForce

GOLDEN = bytes.fromhex(
    "0000000000000000"  # sequence, zero in the stored payload
    "15cd5b0700000000"  # timestamp_ns 123456789
    "feffffffffffffff"  # order_id -2
    "0500000000000000"  # trader_id 5
    "0000000000010000"  # price_ticks 2**40
    "0700000000000000"  # qty_lots 7
    "ffff0000"  # instrument_id 65535
    "0101020102"  # version, PLACE, SELL, LIMIT, IOC
    "00000000000000"  # reserved
)


def golden_command() -> protocol.Rows:
    return protocol.encode(
        kind=CommandKind.PLACE,
        instrument_id=65_535,
        order_id=-2,
        trader_id=5,
        timestamp_ns=123_456_789,
        side=Side.SELL,
        order_type=OrderType.LIMIT,
        time_in_force=TimeInForce.IOC,
        price_ticks=1 << 40,
        qty_lots=7,
        sequence=99,
    )


def test_a_stored_command_has_exactly_these_bytes() -> None:
    assert protocol.payloads(golden_command()) == [GOLDEN]


def test_rows_have_the_sizes_that_the_log_and_the_wal_rely_on() -> None:
    assert COMMAND_DTYPE.itemsize == 64
    assert EVENT_DTYPE.itemsize == 128
    for dtype in (COMMAND_DTYPE, EVENT_DTYPE):
        assert sum(dtype[name].itemsize for name in dtype.names or ()) == dtype.itemsize


def test_a_payload_comes_back_with_the_sequence_of_its_row() -> None:
    [command] = protocol.decode([42], [GOLDEN])

    assert command["sequence"] == 42
    assert command["order_id"] == -2
    assert command["price_ticks"] == 1 << 40
    assert protocol.payloads(np.array([command])) == [GOLDEN]


def test_columns_and_single_numbers_make_rows() -> None:
    commands = protocol.encode(kind=CommandKind.CANCEL, instrument_id=3, order_id=[8, 9], sequence=np.array([1, 2]))

    assert commands["order_id"].tolist() == [8, 9]
    assert commands["instrument_id"].tolist() == [3, 3]
    assert commands["version"].tolist() == [1, 1]


def test_encoding_does_not_change_what_it_was_given() -> None:
    commands = golden_command()

    protocol.payloads(commands)

    assert commands["sequence"].tolist() == [99]


def test_nothing_is_encoded_and_decoded_as_nothing() -> None:
    empty = protocol.encode(kind=[], instrument_id=[], order_id=[])

    assert protocol.payloads(empty) == []
    assert len(protocol.decode([], [])) == 0


def test_columns_of_different_lengths_are_a_bug() -> None:
    with pytest.raises(InvariantViolationError, match="different lengths"):
        protocol.encode(kind=[1, 2], instrument_id=1, order_id=[1, 2, 3])


@pytest.mark.parametrize("stored", [[GOLDEN[:-1]], [GOLDEN + b"\0"], [GOLDEN[:-1], GOLDEN + b"\0"]])
def test_a_payload_of_another_length_stops_the_process(stored: list[bytes]) -> None:
    with pytest.raises(InvariantViolationError, match="not 64 bytes"):
        protocol.decode(range(len(stored)), stored)


def test_a_payload_of_another_version_stops_the_process() -> None:
    newer = GOLDEN[:52] + b"\x02" + GOLDEN[53:]

    with pytest.raises(InvariantViolationError, match=r"versions \[1, 2\]; this code reads 1"):
        protocol.decode([1, 2], [GOLDEN, newer])


def test_each_payload_needs_a_sequence() -> None:
    with pytest.raises(InvariantViolationError, match="2 sequences for 1 payloads"):
        protocol.decode([1, 2], [GOLDEN])


def test_the_largest_trade_id_fits_a_javascript_number() -> None:
    largest = protocol.trade_id(protocol.EPOCH_MAX, protocol.SHARD_MAX, protocol.TRADE_COUNT_MAX)

    assert largest == 2**53 - 1


def test_trade_ids_are_made_of_epoch_shard_and_count() -> None:
    assert protocol.trade_id(1, 2, 3) == (1 << 47) + (2 << 41) + 3


@pytest.mark.parametrize(("epoch", "shard", "count"), [(64, 0, 1), (-1, 0, 1), (0, 64, 1), (0, 0, 0), (0, 0, 2**41)])
def test_a_trade_id_outside_its_bits_is_a_bug(epoch: int, shard: int, count: int) -> None:
    with pytest.raises(InvariantViolationError):
        protocol.trade_id(epoch, shard, count)
