"""What customers may request and take back, and what each refusal leaves as it was."""

from datetime import timedelta
from decimal import Decimal

import pytest

from exchange.kernel.money import InexactAmountError
from ledger import tasks
from ledger.models import FinanceLog, JournalEntry, Notice, TransferEvent, TransferRoute, WithdrawalLimit
from ledger.services import accounts, journal, office_rounds
from ledger.tests.factories import NOW
from ledger.tests.fixtures import make_asset
from ledger.transfers import errors, payouts, profiles, stops, withdrawals
from ledger.transfers.models import HolderKind, TransferTier, WithdrawalState
from ledger.transfers.outside import OUTSIDE
from ledger.transfers.profiles import ProfileChange
from ledger.transfers.tests.conftest import OTHER_TRON, debt
from ledger.transfers.withdrawals import WithdrawalRequest

pytestmark = pytest.mark.usefixtures("books", "transfers_audited")


@pytest.fixture
def alice(customer, desk):
    return customer("alice", USDT=1000)


def test_a_request_holds_its_funds_and_leaves_its_traces(desk, alice) -> None:
    made = desk.request(alice, 100)

    assert (alice.balance("USDT"), alice.balance("USDT", "withdraw_hold")) == (900, 100)
    assert (made.state, made.version, made.fee) == (WithdrawalState.REQUESTED, 1, 1)
    entry = JournalEntry.objects.get(pk=made.hold_entry_id)
    assert (entry.kind, entry.key, entry.trace) == ("WITHDRAWAL_HOLD", f"withdrawal:{made.pk}:hold", made.trace)
    [step] = TransferEvent.objects.filter(withdrawal=made)
    assert (step.from_state, step.to_state, step.by_id, step.version) == ("", "REQUESTED", alice.id, 1)
    assert Notice.objects.get(owner_id=alice.id).kind == "WITHDRAWAL_REQUESTED"
    assert FinanceLog.objects.get(action="withdrawal.requested").subject == str(made.pk)


def test_a_retry_with_the_clients_id_finds_the_first_request(desk, alice) -> None:
    address = desk.address(alice)
    wanted = WithdrawalRequest(address.pk, Decimal(100), "mine-1")

    first, made_again = withdrawals.request(alice.id, wanted, now=NOW)
    second, repeated = withdrawals.request(alice.id, wanted, now=NOW)

    assert (made_again, repeated, second.pk) == (False, True, first.pk)
    assert alice.balance("USDT", "withdraw_hold") == 100


def test_a_clients_id_for_something_else_is_refused(desk, alice, counted) -> None:
    address = desk.address(alice)
    withdrawals.request(alice.id, WithdrawalRequest(address.pk, Decimal(100), "mine-1"), now=NOW)
    before = counted()

    with pytest.raises(errors.ClientIdReusedError):
        withdrawals.request(alice.id, WithdrawalRequest(address.pk, Decimal(101), "mine-1"), now=NOW)

    assert counted() == before


def _stopped(desk, alice) -> None:
    stops.stop("USDT", reason="a break", by=None, now=NOW)


def _all_stopped(desk, alice) -> None:
    stops.stop(None, reason="a break", by=None, now=NOW)


def _owing(desk, alice) -> None:
    accounts.lock([alice.id])
    journal.post([debt(alice.id, "0.5", "BTC")], NOW)


def _frozen(desk, alice, *, frozen: bool = True) -> None:
    change = ProfileChange("Alice", "TW", HolderKind.PERSON, frozen, not frozen, "a court order", 0)
    profiles.change(alice.id, change, by=desk.accountant.pk, now=NOW)


def _blocked(desk, alice) -> None:
    _frozen(desk, alice, frozen=False)


def _route_closed(desk, alice) -> None:
    TransferRoute.objects.update(withdrawals_open=False)


def _no_limit(desk, alice) -> None:
    WithdrawalLimit.objects.all().delete()


def _many_today(desk, alice) -> None:
    TransferTier.objects.create(name="STANDARD", requests_per_day=1)
    desk.request(alice, 10, address_id=desk.address(alice, OTHER_TRON).pk)


@pytest.mark.parametrize(
    ("amount", "given", "refusal"),
    [
        ("100", _stopped, errors.WithdrawalsStoppedError),
        ("100", _all_stopped, errors.WithdrawalsStoppedError),
        ("100", _owing, errors.DebtBlocksWithdrawalError),
        ("100", _frozen, errors.WithdrawalsBlockedError),
        ("100", _blocked, errors.WithdrawalsBlockedError),
        ("100", _route_closed, errors.RouteClosedError),
        ("100", _no_limit, errors.NoWithdrawalLimitError),
        ("100", _many_today, errors.TooManyWithdrawalsError),
        ("9.99999999", None, errors.WithdrawalTooSmallError),
        ("1000.00000001", None, errors.WithdrawalLimitError),
        ("10.000000001", None, InexactAmountError),
    ],
)
def test_what_cannot_be_withdrawn_is_refused_and_nothing_changes(
    desk, customer, counted, amount, given, refusal
) -> None:
    alice = customer("alice", USDT=2000)
    make_asset("BTC")
    address = desk.address(alice)
    if given is not None:
        given(desk, alice)
    before = counted()

    with pytest.raises(refusal):
        withdrawals.request(alice.id, WithdrawalRequest(address.pk, Decimal(amount)), now=NOW)

    assert counted() == before
    assert alice.balance("USDT", "withdraw_hold") in {0, 10}


def test_more_than_is_available_is_refused(desk, customer, counted) -> None:
    bob = customer("bob", USDT=50)
    address = desk.address(bob)
    before = counted()

    with pytest.raises(errors.InsufficientBalanceError) as refused:
        withdrawals.request(bob.id, WithdrawalRequest(address.pk, Decimal("50.01")), now=NOW)

    assert refused.value.data == {"available": "50", "asset": "USDT"}
    assert counted() == before


def test_another_customers_address_does_not_exist(desk, alice, customer, counted) -> None:
    address = desk.address(customer("bob"))
    before = counted()

    with pytest.raises(errors.AddressNotFoundError):
        withdrawals.request(alice.id, WithdrawalRequest(address.pk, Decimal(100)), now=NOW)

    assert counted() == before


def test_limits_count_the_last_24_hours_and_30_days_but_not_what_came_back(desk, alice) -> None:
    WithdrawalLimit.objects.update(per_day=300, per_month=500)
    address = desk.address(alice)

    def ask(amount: int, days: int):
        return withdrawals.request(
            alice.id, WithdrawalRequest(address.pk, Decimal(amount)), now=NOW + timedelta(days=days)
        )[0]

    first = ask(200, 0)
    with pytest.raises(errors.WithdrawalLimitError) as of_day:
        ask(101, 0)
    ask(300, 1)
    with pytest.raises(errors.WithdrawalLimitError) as of_month:
        ask(10, 2)
    withdrawals.cancel(alice.id, first.pk, now=NOW)
    ask(200, 3)

    assert of_day.value.data == {"limit": "300", "left": "100", "asset": "USDT", "hours": 24}
    assert of_month.value.data == {"limit": "500", "left": "0", "asset": "USDT", "hours": 720}


def test_a_customers_own_limit_comes_before_the_tiers(desk, alice) -> None:
    WithdrawalLimit.objects.create(owner_id=alice.id, asset_id="USDT", per_day=20, per_month=20)

    with pytest.raises(errors.WithdrawalLimitError):
        desk.request(alice, 21)

    assert desk.request(alice, 20, address_id=desk.address(alice, OTHER_TRON).pk)


def test_a_cancelled_request_gives_the_funds_back_once(desk, alice) -> None:
    made = desk.request(alice, 100)

    cancelled = withdrawals.cancel(alice.id, made.pk, now=NOW)
    assert withdrawals.cancel(alice.id, made.pk, now=NOW).version == cancelled.version
    assert payouts.release(NOW) == 1
    assert payouts.release(NOW) == 0

    assert (alice.balance("USDT"), alice.balance("USDT", "withdraw_hold")) == (1000, 0)
    assert withdrawals.one(alice.id, made.pk).state == WithdrawalState.CANCELLED


def test_an_approved_withdrawal_is_no_longer_the_customers_to_cancel(desk, alice, counted) -> None:
    made = desk.to_approved(alice, 100)
    before = counted()

    with pytest.raises(errors.WithdrawalMovedOnError):
        withdrawals.cancel(alice.id, made.pk, now=NOW)

    assert counted() == before


def test_another_customers_withdrawal_does_not_exist(desk, alice, customer) -> None:
    made = desk.request(alice, 100)

    with pytest.raises(errors.WithdrawalNotFoundError):
        withdrawals.cancel(customer("bob").id, made.pk, now=NOW)


def test_a_request_waits_until_settlement_has_passed_the_logs(desk, alice, monkeypatch) -> None:
    settled = {"0": 6}
    monkeypatch.setattr(OUTSIDE, "log_heads", lambda: {"0": 7})
    monkeypatch.setattr(OUTSIDE, "ready_when", lambda heads: all(settled[log] >= head for log, head in heads.items()))
    made = desk.request(alice, 100)

    assert payouts.advance(NOW) == 0
    assert withdrawals.one(alice.id, made.pk).state == WithdrawalState.REQUESTED
    settled["0"] = 7
    assert payouts.advance(NOW) == 1
    assert withdrawals.one(alice.id, made.pk).state == WithdrawalState.REVIEW


def test_a_debt_that_settlement_brings_rejects_the_request_and_is_repaid_from_it(desk, customer) -> None:
    alice = customer("alice", USDT=100)
    made = desk.request(alice, 100)
    accounts.lock([alice.id])
    journal.post([debt(alice.id, 30)], NOW)

    payouts.advance(NOW)
    payouts.release(NOW)

    ended = withdrawals.one(alice.id, made.pk)
    assert (ended.state, ended.reason) == (WithdrawalState.REJECTED, payouts.REASON_DEBT)
    assert (alice.balance("USDT"), alice.balance("USDT", "withdraw_hold")) == (70, 0)


def test_a_page_shows_ones_own_newest_first(desk, alice, customer) -> None:
    address = desk.address(alice)
    ids = [withdrawals.request(alice.id, WithdrawalRequest(address.pk, Decimal(10)), now=NOW)[0].pk for _ in range(3)]
    desk.request(customer("bob", USDT=10), 10)

    assert [row.pk for row in withdrawals.page(alice.id, limit=2)] == [ids[2], ids[1]]
    assert [row.pk for row in withdrawals.page(alice.id, before_id=ids[1], limit=2)] == [ids[0]]
    assert withdrawals.page(alice.id, asset="BTC", limit=2) == []
    assert withdrawals.page(alice.id, states=("SETTLED",), limit=2) == []


def test_what_is_asked_for_while_celery_is_gone_is_counted_and_worked_off_later(desk, alice) -> None:
    first, second = desk.request(alice, 100), desk.request(alice, 50)
    withdrawals.cancel(alice.id, second.pk, now=NOW)
    assert office_rounds.standing().waiting == {"withdrawals": 2}

    tasks.carry_out()

    assert office_rounds.standing().waiting == {}
    first.refresh_from_db()
    second.refresh_from_db()
    assert (first.state, second.state) == (WithdrawalState.REVIEW, WithdrawalState.CANCELLED)
    assert (alice.balance("USDT"), alice.balance("USDT", "withdraw_hold")) == (900, 100)
