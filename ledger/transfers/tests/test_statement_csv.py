"""Statement files: what is read, and the words for what is wrong, row by row."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from ledger.transfers import statement_csv
from ledger.transfers.errors import StatementRefusedError

BANK = "date,reference,amount,balance,text\n"
CHAIN = "date,reference,amount,fee,balance,address,text,confirmations\n"


def read(text: str, kind: str = "BANK", decimals: int = 2):
    return statement_csv.read(text.encode(), kind, decimals)


def test_a_bank_statement_is_read_row_by_row() -> None:
    rows = read(BANK + "2026-03-01,r1,1000.50,1000.5,Alice\n2026-03-01T10:30:00+08:00,r2,-0.5,1000.00,fee, \n"[:-3])

    assert rows[0] == (
        1,
        "r1",
        datetime(2026, 3, 1, tzinfo=UTC),
        datetime(2026, 3, 1, 23, 59, 59, 999999, tzinfo=UTC),
        Decimal("1000.50"),
        0,
        Decimal("1000.5"),
        "",
        "Alice",
        None,
    )
    assert (rows[1].occurred_at, rows[1].amount) == (datetime(2026, 3, 1, 2, 30, tzinfo=UTC), Decimal("-0.5"))


def test_a_balance_of_a_day_stands_until_the_days_end_and_one_of_a_moment_until_that() -> None:
    day, moment = read(BANK + "2026-03-01,r1,1,1,x\n2026-03-01T10:30:00Z,r2,1,2,x\n")

    assert day.holds_until == datetime(2026, 3, 1, 23, 59, 59, 999999, tzinfo=UTC)
    assert moment.holds_until == moment.occurred_at


def test_a_chain_statement_has_fees_addresses_and_confirmations() -> None:
    [row] = read(CHAIN + "2026-03-01T00:00:00Z,tx:0,-5,0.1,94.9,bc1q,W-1,6\n", "CHAIN", 8)

    assert (row.fee, row.address, row.text, row.confirmations) == (Decimal("0.1"), "bc1q", "W-1", 6)


@pytest.mark.parametrize(
    "text", ["\ufeff" + BANK, BANK.replace("\n", "\r\n"), " Date , Reference,AMOUNT,balance,text\n"]
)
def test_what_spreadsheets_make_of_the_file_is_read_too(text: str) -> None:
    assert len(read(text + "2026-03-01,r1,1,1,x\n\n")) == 1


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "must name the columns date, reference, amount, balance, text"),
        (BANK, "has no rows"),
        ("a,b\n1,2\n", "must name the columns"),
        (BANK + "x" * statement_csv.BYTES_MAX, "is larger than"),
        (BANK + "2026-03-01,r1,1,1,x\n" * (statement_csv.ROWS_MAX + 1), "is larger than"),
    ],
)
def test_a_file_that_is_no_statement_is_refused(text: str, why: str) -> None:
    with pytest.raises(StatementRefusedError) as refused:
        read(text)

    assert why in refused.value.data["reason"]


def test_a_file_in_another_encoding_is_refused_with_the_place() -> None:
    with pytest.raises(StatementRefusedError) as refused:
        statement_csv.read(BANK.encode() + "2026-03-01,r1,1,1,台銀".encode("big5"), "BANK", 2)

    assert "not UTF-8 text (byte " in refused.value.data["reason"]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("2026-03-01,r2,1", "it has 3 fields instead of 5"),
        ("01.03.2026,r2,1,11,x", "the date 01.03.2026 is not like"),
        ("2026-02-28,r2,1,11,x", "is before that of the row above"),
        ('2026-03-01,r2,"1,000",11,x', "amount 1,000 is not a decimal"),
        ("2026-03-01,r2,1e3,11,x", "amount 1e3 is not a decimal"),
        ("2026-03-01,r2,\uff11,11,x", "is not a decimal"),
        ("2026-03-01,r2,NaN,11,x", "amount NaN is not a decimal"),
        ("2026-03-01,r2,1.001,11,x", "has more than 2 decimals"),
        ("2026-03-01,r2,0,10,x", "neither amount nor fee moves anything"),
        ("2026-03-01,,1,11,x", "the reference must have 1 to 100 letters"),
        ("2026-03-01,r1,1,11,x", "the reference r1 stands in an earlier row too"),
        ("2026-03-01,r2,1,12,x", "the balance should be 11 after the row above, and is 12"),
        ("2026-03-01,r2,1,11," + "x" * 301, "text is longer than 300 letters"),
    ],
)
def test_a_row_with_an_error_is_named_in_words(row: str, words: str) -> None:
    with pytest.raises(StatementRefusedError) as refused:
        read(f"{BANK}2026-03-01,r1,10,10,x\n{row}\n")

    [error] = refused.value.data["rows"]
    assert error["row"] == 2
    assert words in error["error"]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("2026-03-01,r1,1,-1,2,a,x,3", "fee -1 is not a decimal"),
        ("2026-03-01,r1,1,0,2,a,x,many", "confirmations many is not a whole number"),
        ("2026-03-01,r1,1,0,2,a,x,-1", "confirmations -1 is not a whole number"),
    ],
)
def test_a_chains_row_with_an_error_is_named_in_words(row: str, words: str) -> None:
    with pytest.raises(StatementRefusedError) as refused:
        read(CHAIN + row + "\n", "WALLET")

    assert words in refused.value.data["rows"][0]["error"]


def test_every_row_with_an_error_is_listed_up_to_a_limit() -> None:
    with pytest.raises(StatementRefusedError) as refused:
        read(BANK + "".join(f"2026-03-01,r{n},x,1,t\n" for n in range(60)))

    assert refused.value.data["reason"] == "60 rows have errors."
    assert len(refused.value.data["rows"]) == statement_csv.ERRORS_MAX
