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
    "0201020102"  # version 2, PLACE, SELL, LIMIT, IOC
    "05010401"  # POST_ONLY | CLOSE_POSITION, MARK, DECREMENT, has terms
    "000000"  # reserved
    "0100000000000000"  # trigger_ticks
    "0200000000000000"  # worst_ticks
    "0300000000000000"  # display_lots
    "0400000000000000"  # quote_lots
    "0500000000000000"  # expires_ns
    "0600000000000000"  # activation_ticks
    "07000000"  # callback_ppm
    "000000000000000000000000"  # reserved
)
GOLDEN_VERSION_1 = GOLDEN[:52] + b"\x01" + GOLDEN[53:57] + bytes(7)


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
        flags=5,
        trigger_source=1,
        stp=4,
        trigger_ticks=1,
        worst_ticks=2,
        display_lots=3,
        quote_lots=4,
        expires_ns=5,
        activation_ticks=6,
        callback_ppm=7,
    )


def test_a_stored_command_has_exactly_these_bytes() -> None:
    assert protocol.payloads(golden_command()) == [GOLDEN[:52] + b"\x03" + GOLDEN[53:]]


def test_rows_have_the_sizes_that_the_log_and_the_wal_rely_on() -> None:
    assert COMMAND_DTYPE.itemsize == 128
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
    assert commands["version"].tolist() == [3, 3]
    assert commands["has_terms"].tolist() == [0, 0]


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
    with pytest.raises(InvariantViolationError, match="neither 64 nor 128 bytes"):
        protocol.decode(range(len(stored)), stored)


def test_a_payload_of_another_version_stops_the_process() -> None:
    newer = GOLDEN[:52] + b"\x04" + GOLDEN[53:]

    with pytest.raises(InvariantViolationError, match=r"versions \[2, 4\]; this code reads 1 to 3"):
        protocol.decode([1, 2], [GOLDEN, newer])


def test_a_payload_of_version_1_becomes_a_row_of_today() -> None:
    dirty = GOLDEN_VERSION_1[:57] + b"\xff" * 7

    old, new, reserved = protocol.decode([5, 6, 7], [GOLDEN_VERSION_1, GOLDEN, dirty])

    names = ("order_id", "trader_id", "price_ticks", "qty_lots", "instrument_id", "side", "time_in_force")
    assert [old[name] for name in names] == [new[name] for name in names]
    assert (old["version"], old["sequence"], old["has_terms"], old["flags"]) == (1, 5, 0, 0)
    assert bytes(64) == old.tobytes()[64:]
    assert old.tobytes()[8:] == reserved.tobytes()[8:]
    assert (new["version"], new["callback_ppm"]) == (2, 7)


def test_a_short_payload_of_version_2_stops_the_process() -> None:
    with pytest.raises(InvariantViolationError, match="only version 1 in 64 bytes"):
        protocol.decode([1], [GOLDEN[:64]])


def test_terms_are_named_as_the_row_names_them() -> None:
    [command] = protocol.encode(kind=1, instrument_id=1, order_id=1, expires_ns=[9])

    assert command["has_terms"] == 1
    with pytest.raises(InvariantViolationError, match="commands have no"):
        protocol.encode(kind=1, instrument_id=1, order_id=1, trailing=3)


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
