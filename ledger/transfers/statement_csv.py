"""Reads the CSV files in which banks and chains report a custody account. Pure: bytes in, rows or errors in words out.

Both forms are UTF-8 text with a header line, commas, and decimal points; `TRANSFERS.md` shows them. A file is read
whole or not at all: its running balance is checked from row to row, so that nothing can be missing from its middle.
"""

import csv
import io
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final, NamedTuple

from django.utils.translation import gettext

from exchange.kernel.errors import gettext_noop
from exchange.kernel.money import EXACT, MONEY_DECIMALS, plain
from ledger.transfers.errors import StatementRefusedError
from ledger.transfers.models.custody import CustodyKind

BYTES_MAX: Final = 1_000_000
ROWS_MAX: Final = 10_000
ERRORS_MAX: Final = 50
REFERENCE_LENGTH_MAX: Final = 100
TEXT_LENGTH_MAX: Final = 300
ADDRESS_LENGTH_MAX: Final = 128

BANK_COLUMNS: Final = ("date", "reference", "amount", "balance", "text")
CHAIN_COLUMNS: Final = ("date", "reference", "amount", "fee", "balance", "address", "text", "confirmations")

REASON_EMPTY = gettext_noop("it has no rows.")
REASON_LARGE = gettext_noop("it is larger than %(bytes)s bytes or has more than %(rows)s rows.")
REASON_ENCODING = gettext_noop("it is not UTF-8 text (byte %(byte)s).")
REASON_HEADER = gettext_noop("its first line must name the columns %(columns)s.")
REASON_ROWS = gettext_noop("%(count)s rows have errors.")

WRONG_COLUMNS = gettext_noop("it has %(found)s fields instead of %(wanted)s")
WRONG_DATE = gettext_noop("the date %(text)s is not like 2026-03-01 or 2026-03-01T12:30:00Z")
WRONG_ORDER = gettext_noop("the date %(text)s is before that of the row above")
WRONG_AMOUNT = gettext_noop("%(column)s %(text)s is not a decimal such as 1234.56 or -1234.56")
WRONG_DECIMALS = gettext_noop("%(column)s %(text)s has more than %(decimals)s decimals")
WRONG_ZERO = gettext_noop("neither amount nor fee moves anything")
WRONG_REFERENCE = gettext_noop("the reference must have 1 to %(length)s letters")
WRONG_REPEAT = gettext_noop("the reference %(text)s stands in an earlier row too")
WRONG_BALANCE = gettext_noop("the balance should be %(wanted)s after the row above, and is %(text)s")
WRONG_COUNT = gettext_noop("confirmations %(text)s is not a whole number")
WRONG_LONG = gettext_noop("%(column)s is longer than %(length)s letters")

_DECIMAL = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,18})?")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_LAST_OF_DAY = timedelta(days=1) - timedelta(microseconds=1)
_COUNT = re.compile(r"[0-9]{1,9}")


class StatementRow(NamedTuple):
    """One movement as the file reports it.

    Args:
        n: The row's number, from 1 behind the header.
        holds_until: Up to when the balance stands: the end of the day, where the file gives only that.
        amount: In positive, out negative, without the fee.
        fee: What the movement itself cost, from zero on.
        balance: After the movement and its fee.
        confirmations: None where there are none, as with a bank.
    """

    n: int
    reference: str
    occurred_at: datetime
    holds_until: datetime
    amount: Decimal
    fee: Decimal
    balance: Decimal
    address: str
    text: str
    confirmations: int | None


class RowError(NamedTuple):
    """What is wrong with a row, in the reader's language."""

    n: int
    words: str


def columns(kind: str) -> tuple[str, ...]:
    """Return the columns of the form in which this kind of custody account is reported."""
    return BANK_COLUMNS if kind == CustodyKind.BANK else CHAIN_COLUMNS


def read(content: bytes, kind: str, decimals: int) -> list[StatementRow]:
    """Read a statement, oldest row first.

    Args:
        kind: A `CustodyKind`: banks have one form, wallets and chains the other.
        decimals: Of the account's asset.

    Raises:
        StatementRefusedError: The file has errors; `data.rows` lists the first of them by row.
    """
    if len(content) > BYTES_MAX:
        raise _refused(REASON_LARGE, bytes=BYTES_MAX, rows=ROWS_MAX)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _refused(REASON_ENCODING, byte=error.start) from None
    wanted = columns(kind)
    lines = csv.reader(io.StringIO(text, newline=""))
    header = next(lines, None)
    if header is None or [name.strip().lower() for name in header] != list(wanted):
        raise _refused(REASON_HEADER, columns=", ".join(wanted))
    rows = [fields for fields in lines if fields]
    if not rows:
        raise _refused(REASON_EMPTY)
    if len(rows) > ROWS_MAX:
        raise _refused(REASON_LARGE, bytes=BYTES_MAX, rows=ROWS_MAX)
    return _Reader(wanted, decimals).read(rows)


def _refused(reason: str, errors: "list[RowError] | None" = None, **data: object) -> StatementRefusedError:
    listed = [{"row": error.n, "error": error.words} for error in errors or []]
    return StatementRefusedError(reason=gettext(reason) % data, rows=listed)


class _Wrong(Exception):  # noqa: N818 -- a finding on its way to the list
    """What is wrong with a field."""

    def __init__(self, words: str, **data: object) -> None:
        super().__init__(gettext(words) % data)


class _Reader:
    """Reads the rows of one file, remembering what each must follow from."""

    def __init__(self, names: tuple[str, ...], decimals: int) -> None:
        self._names, self._decimals = names, decimals
        self._seen: set[str] = set()
        self._previous: StatementRow | None = None

    def read(self, rows: list[list[str]]) -> list[StatementRow]:
        found, errors = [], []
        for n, fields in enumerate(rows, start=1):
            try:
                row = self._row(n, [field.strip() for field in fields])
            except _Wrong as wrong:
                errors.append(RowError(n, str(wrong)))
                self._previous = None
                continue
            found.append(row)
            self._previous = row
        if errors:
            raise _refused(REASON_ROWS, errors[:ERRORS_MAX], count=len(errors))
        return found

    def _row(self, n: int, fields: list[str]) -> StatementRow:
        if len(fields) != len(self._names):
            raise _Wrong(WRONG_COLUMNS, found=len(fields), wanted=len(self._names))
        given = dict(zip(self._names, fields, strict=True))
        moment = _moment(given["date"])
        row = StatementRow(
            n=n,
            reference=self._reference(given["reference"]),
            occurred_at=moment,
            holds_until=moment + _LAST_OF_DAY if _DAY.fullmatch(given["date"]) else moment,
            amount=self._amount("amount", given["amount"]),
            fee=self._amount("fee", given.get("fee") or "0"),
            balance=self._amount("balance", given["balance"]),
            address=_short("address", given.get("address", ""), ADDRESS_LENGTH_MAX),
            text=_short("text", given["text"], TEXT_LENGTH_MAX),
            confirmations=_count(given["confirmations"]) if "confirmations" in given else None,
        )
        if row.fee < 0:
            raise _Wrong(WRONG_AMOUNT, column="fee", text=given["fee"])
        if not row.amount and not row.fee:
            raise _Wrong(WRONG_ZERO)
        self._follow(row, given)
        return row

    def _follow(self, row: StatementRow, given: dict[str, str]) -> None:
        """See that a row follows from the one above."""
        before = self._previous
        if before is None:
            return
        if row.occurred_at < before.occurred_at:
            raise _Wrong(WRONG_ORDER, text=given["date"])
        wanted = EXACT.subtract(EXACT.add(before.balance, row.amount), row.fee)
        if row.balance != wanted:
            raise _Wrong(WRONG_BALANCE, wanted=plain(wanted), text=given["balance"])

    def _reference(self, text: str) -> str:
        if not 0 < len(text) <= REFERENCE_LENGTH_MAX:
            raise _Wrong(WRONG_REFERENCE, length=REFERENCE_LENGTH_MAX)
        if text in self._seen:
            raise _Wrong(WRONG_REPEAT, text=text)
        self._seen.add(text)
        return text

    def _amount(self, column: str, text: str) -> Decimal:
        if not _DECIMAL.fullmatch(text):
            raise _Wrong(WRONG_AMOUNT, column=column, text=text[:40])
        places = len(text.partition(".")[2].rstrip("0"))
        if places > min(self._decimals, MONEY_DECIMALS):
            raise _Wrong(WRONG_DECIMALS, column=column, text=text, decimals=self._decimals)
        return Decimal(text)


def _moment(text: str) -> datetime:
    """Read a date, which is that day's first moment in UTC, or a moment with its offset."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise _Wrong(WRONG_DATE, text=text[:40]) from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _count(text: str) -> int:
    if not _COUNT.fullmatch(text):
        raise _Wrong(WRONG_COUNT, text=text[:40])
    return int(text)


def _short(column: str, text: str, length: int) -> str:
    if len(text) > length:
        raise _Wrong(WRONG_LONG, column=column, length=length)
    return text
