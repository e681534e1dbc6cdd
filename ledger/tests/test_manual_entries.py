"""Which lines and moments may be proposed."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from exchange.kernel.clock import utc_now
from exchange.kernel.errors import DomainError
from exchange.kernel.money import InexactAmountError
from ledger.access import NotAllowedError, Role
from ledger.control_models import PeriodAction, Proposal
from ledger.services import manual_entries, periods
from ledger.services.journal import InFutureError, PeriodClosedError
from ledger.services.manual_entries import LineCountError, LinesError, ProposedLine, UnbalancedError
from ledger.services.periods import ReasonMissingError
from ledger.tests.factories import staff
from ledger.tests.fixtures import make_asset

pytestmark = pytest.mark.usefixtures("books")
TAKEN = ProposedLine(None, "5140", "USDT", Decimal(20))
GIVEN = ProposedLine(None, "1190", "USDT", Decimal(-20))


def propose(*lines: ProposedLine, reason: str = "as agreed", effective_at: datetime | None = None) -> Proposal:
    return manual_entries.propose(staff(Role.ACCOUNTANT), lines, reason, effective_at=effective_at, now=utc_now())


def test_the_lines_are_kept_as_proposed(db) -> None:
    make_asset("USDT")

    proposal = propose(TAKEN, GIVEN._replace(sub="bank"), reason="  the bank's mistake ")

    assert proposal.reason == "the bank's mistake"
    assert list(proposal.lines.order_by("n").values_list("owner_id", "code", "asset", "sub", "amount")) == [
        (None, "5140", "USDT", "", Decimal(20)),
        (None, "1190", "USDT", "bank", Decimal(-20)),
    ]


@pytest.mark.parametrize(
    ("lines", "error", "said"),
    [
        ([TAKEN], LineCountError, "2 to 100"),
        ([TAKEN, GIVEN] * 51, LineCountError, "2 to 100"),
        ([TAKEN, GIVEN._replace(code="9999")], LinesError, "9999"),
        ([TAKEN, GIVEN._replace(code="1010")], LinesError, "1010: user"),
        ([TAKEN, GIVEN._replace(owner_id=1)], LinesError, "1190: platform"),
        ([TAKEN, ProposedLine(77, "1010", "USDT", Decimal(20))], LinesError, "user 77"),
        ([TAKEN, GIVEN._replace(asset="DOGE")], LinesError, "DOGE"),
        ([TAKEN, GIVEN._replace(amount=Decimal(0))], LinesError, "0"),
        ([TAKEN, GIVEN._replace(amount=Decimal("NaN"))], LinesError, "NaN"),
        ([TAKEN, GIVEN._replace(amount=Decimal("-Infinity"))], LinesError, "Infinity"),
        ([TAKEN, GIVEN._replace(amount=Decimal("-1e18"))], LinesError, "1E"),
        ([TAKEN, GIVEN._replace(amount=Decimal("-20.000000001"))], InexactAmountError, "decimals"),
        ([TAKEN, GIVEN._replace(amount=Decimal(-19))], UnbalancedError, "1 USDT in the journal of platform"),
        ([TAKEN, GIVEN._replace(asset="BTC")], UnbalancedError, "20 USDT"),
    ],
)
def test_lines_that_make_no_entry_are_refused_in_words(db, lines, error, said) -> None:
    make_asset("USDT")
    make_asset("BTC")

    with pytest.raises(error) as caught:
        propose(*lines)

    assert said in str(caught.value)
    assert not Proposal.objects.exists()


def test_a_users_own_journal_must_balance_too(customer) -> None:
    alice = customer("alice", USDT=1)
    lines = [ProposedLine(alice.id, "1010", "USDT", Decimal(5)), ProposedLine(None, "5140", "USDT", Decimal(5))]

    with pytest.raises(UnbalancedError, match=f"5 USDT in the journal of user {alice.id}"):
        propose(*lines)


def test_proposing_needs_a_reason_and_the_right(db) -> None:
    make_asset("USDT")

    with pytest.raises(ReasonMissingError):
        propose(TAKEN, GIVEN, reason="  ")
    with pytest.raises(NotAllowedError):
        manual_entries.propose(staff(Role.AUDITOR), [TAKEN, GIVEN], "as agreed", now=utc_now())

    assert not Proposal.objects.exists()


@pytest.mark.parametrize(
    ("shift", "error"),
    [(timedelta(hours=1), InFutureError), (timedelta(days=-400), PeriodClosedError)],
)
def test_a_correction_lies_in_an_open_period_of_the_past(db, shift: timedelta, error: type[DomainError]) -> None:
    make_asset("USDT")
    close = utc_now() - timedelta(days=300)
    periods.ask(staff(Role.APPROVER), PeriodAction.CLOSE, close, "last year", now=utc_now())
    periods.carry_out(utc_now())

    with pytest.raises(error):
        propose(TAKEN, GIVEN, effective_at=utc_now() + shift)

    assert propose(TAKEN, GIVEN, effective_at=close).kind == "CORRECTION"


def test_a_moment_before_the_books_began_is_closed(db) -> None:
    make_asset("USDT")

    with pytest.raises(PeriodClosedError):
        propose(TAKEN, GIVEN, effective_at=datetime(1999, 12, 31, tzinfo=UTC))
