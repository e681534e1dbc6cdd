"""Deposits by hand and by announcement: what is credited, what waits for whom, and what each refusal leaves."""

from decimal import Decimal

import pytest
from django.db import IntegrityError, connection, transaction

from exchange.kernel.money import InexactAmountError
from ledger.entries import AccountKey
from ledger.models import DepositNotice, FinanceLog, JournalEntry, Notice, TransferEvent
from ledger.services import accounts, journal
from ledger.services.transfers import DepositAmountError
from ledger.tests.factories import NOW
from ledger.transfers import crediting, deposits, errors, steps
from ledger.transfers.deposits import Announcement
from ledger.transfers.models import DepositSource, DepositState
from ledger.transfers.tests.conftest import debt

pytestmark = pytest.mark.usefixtures("books", "transfers_audited")


@pytest.fixture
def alice(customer, desk):
    return customer("alice")


def record(desk, person, amount: object, reference: str = "bank-1", **changes) -> DepositNotice:
    wanted = {"owner_id": person.id, "amount": Decimal(str(amount)), "reference": reference, **changes}
    return deposits.record_by_hand(
        changes.pop("custody_id", desk.custody.pk), **wanted, occurred_at=NOW, by=desk.accountant.pk, now=NOW
    )


def told(desk, *items: Announcement, source=DepositSource.WEBHOOK, by=None) -> list[DepositNotice]:
    with transaction.atomic():
        return deposits.announce(desk.custody, items, source=source, by=by, now=NOW)


def again(deposit: DepositNotice) -> DepositNotice:
    return DepositNotice.objects.get(pk=deposit.pk)


def suspense():
    key = AccountKey(None, "1190", "USDT", "deposits")
    return accounts.balances([key])[key]


def test_a_small_deposit_by_hand_is_credited_by_the_back_office(desk, alice) -> None:
    made = record(desk, alice, 500)
    assert (made.state, deposits.waits_for(made), alice.balance("USDT")) == ("CONFIRMED", "POSTING", 0)

    assert crediting.credit(NOW) == 1
    assert crediting.credit(NOW) == 0

    credited = again(made)
    assert (credited.state, alice.balance("USDT")) == (DepositState.CREDITED, 500)
    entry = JournalEntry.objects.get(deposit=credited)
    assert (entry.kind, entry.key) == ("DEPOSIT", f"deposit:{desk.custody.pk}:bank-1")
    taken = TransferEvent.objects.filter(deposit=made).order_by("version")
    assert [(step.version, step.to_state, step.by_id) for step in taken] == [
        (1, "CONFIRMED", desk.accountant.pk),
        (2, "CREDITED", None),
    ]
    assert [row.action for row in FinanceLog.objects.filter(subject=str(made.pk)).order_by("pk")] == [
        "deposit.confirmed",
        "deposit.credited",
    ]
    assert Notice.objects.get(owner_id=alice.id).kind == "DEPOSIT_CREDITED"


def test_a_large_deposit_by_hand_waits_for_a_second_person(desk, alice) -> None:
    made = record(desk, alice, "500.01")
    assert (made.state, deposits.waits_for(made)) == ("ANNOUNCED", "SECOND_PERSON")
    desk.work()
    assert alice.balance("USDT") == 0

    with pytest.raises(errors.SamePersonError):
        deposits.approve(made.pk, version=made.version, by=desk.accountant.pk, now=NOW)
    approved = deposits.approve(made.pk, version=made.version, by=desk.approver.pk, now=NOW)
    desk.work()

    assert (approved.state, again(made).state) == ("CONFIRMED", "CREDITED")
    assert alice.balance("USDT") == Decimal("500.01")


def test_the_same_reference_by_hand_again_is_the_same_deposit(desk, alice) -> None:
    first = record(desk, alice, 100)

    assert record(desk, alice, 100).pk == first.pk
    desk.work()
    assert record(desk, alice, 100).pk == first.pk
    desk.work()

    assert alice.balance("USDT") == 100


def test_a_known_reference_with_another_amount_or_owner_is_refused(desk, alice, customer, counted) -> None:
    record(desk, alice, 100)
    bob = customer("bob")
    before = counted()

    for person, amount in ((alice, 101), (bob, 100)):
        with pytest.raises(errors.DepositKnownError):
            record(desk, person, amount)

    assert counted() == before


@pytest.mark.parametrize(
    ("amount", "refusal"),
    [
        ("0", DepositAmountError),
        ("-1", DepositAmountError),
        ("NaN", DepositAmountError),
        ("1e18", DepositAmountError),
        ("0.000000001", InexactAmountError),
    ],
)
def test_an_impossible_amount_is_refused(desk, alice, counted, amount, refusal) -> None:
    before = counted()

    with pytest.raises(refusal):
        record(desk, alice, amount)

    assert counted() == before


def test_nobody_credits_or_approves_money_of_their_own(desk, customer, counted) -> None:
    ann, ben = customer("annie"), customer("benny")
    large = record(desk, ben, 1000)
    before = counted()

    with pytest.raises(errors.OwnTransferError):
        deposits.record_by_hand(
            desk.custody.pk, owner_id=ann.id, amount=Decimal(1), reference="x", occurred_at=NOW, by=ann.id, now=NOW
        )
    with pytest.raises(errors.OwnTransferError):
        deposits.approve(large.pk, version=large.version, by=ben.id, now=NOW)

    assert counted() == before


def test_a_deposit_is_credited_once_enough_blocks_confirm_it(desk, alice) -> None:
    for confirmations in (0, 2, 2, 1):
        [made] = told(desk, Announcement("tx:0", Decimal(50), alice.id, NOW, confirmations=confirmations))
        desk.work()
        assert (again(made).state, deposits.waits_for(again(made))) == ("ANNOUNCED", "CONFIRMATIONS")
    assert again(made).confirmations == 2
    assert [notice.kind for notice in Notice.objects.all()] == ["DEPOSIT_SEEN"]

    told(desk, Announcement("tx:0", Decimal(50), alice.id, NOW, confirmations=3))
    desk.work()
    told(desk, Announcement("tx:0", Decimal(50), alice.id, NOW, confirmations=9))
    desk.work()

    assert (again(made).state, again(made).confirmations, alice.balance("USDT")) == ("CREDITED", 9, Decimal(50))


def test_a_large_deposit_of_a_provider_waits_for_one_person(desk, alice) -> None:
    [made] = told(desk, Announcement("tx:0", Decimal(501), alice.id, NOW, confirmations=3))
    desk.work()
    assert (again(made).state, deposits.waits_for(again(made))) == ("CONFIRMED", "SECOND_PERSON")
    assert suspense() == -501

    deposits.approve(made.pk, version=again(made).version, by=desk.approver.pk, now=NOW)
    desk.work()

    assert (alice.balance("USDT"), suspense()) == (501, 0)


def test_money_that_names_nobody_stands_in_suspense_until_its_owner_is_found(desk, alice) -> None:
    [made] = told(desk, Announcement("tx:0", Decimal(600), None, NOW, confirmations=3))
    desk.work()
    assert (again(made).state, deposits.waits_for(again(made)), suspense()) == ("CONFIRMED", "OWNER", -600)

    found = deposits.assign_owner(made.pk, alice.id, version=again(made).version, by=desk.accountant.pk, now=NOW)
    desk.work()
    assert alice.balance("USDT") == 0
    with pytest.raises(errors.SamePersonError):
        deposits.approve(made.pk, version=found.version, by=desk.accountant.pk, now=NOW)
    deposits.approve(made.pk, version=found.version, by=desk.approver.pk, now=NOW)
    desk.work()

    assert (again(made).state, alice.balance("USDT"), suspense()) == ("CREDITED", 600, 0)
    assert JournalEntry.objects.get(deposit=made).kind == "SUSPENSE_CREDIT"


def test_what_is_refused_stays_in_suspense_until_somebody_pays_it_back(desk, alice) -> None:
    [made] = told(desk, Announcement("tx:0", Decimal(600), None, NOW, confirmations=3))
    desk.work()

    deposits.refuse(made.pk, version=again(made).version, by=desk.approver.pk, reason="whose?", now=NOW)
    desk.work()

    assert (again(made).state, suspense()) == (DepositState.REFUSED, -600)


def test_a_deposit_repays_a_debt_first(desk, alice) -> None:
    accounts.lock([alice.id])
    journal.post([debt(alice.id, 30)], NOW)
    record(desk, alice, 100)

    desk.work()

    assert alice.balance("USDT") == 70


def test_a_refused_deposit_credits_nothing_and_says_why(desk, alice) -> None:
    made = record(desk, alice, 1000)

    with pytest.raises(errors.ReasonRequiredError):
        deposits.refuse(made.pk, version=made.version, by=desk.approver.pk, reason=" ", now=NOW)
    deposits.refuse(made.pk, version=made.version, by=desk.approver.pk, reason="not on the statement", now=NOW)
    desk.work()

    assert (again(made).state, alice.balance("USDT")) == (DepositState.REFUSED, 0)
    assert Notice.objects.get(kind="DEPOSIT_REFUSED").data["reason"] == "not on the statement"
    with pytest.raises(errors.DepositMovedOnError):
        deposits.approve(made.pk, version=again(made).version, by=desk.approver.pk, now=NOW)


def test_a_decision_on_what_has_changed_since_is_refused(desk, alice, counted) -> None:
    made = record(desk, alice, 1000)
    before = counted()

    for decide in (
        lambda: deposits.approve(made.pk, version=made.version + 1, by=desk.approver.pk, now=NOW),
        lambda: deposits.assign_owner(made.pk, alice.id, version=made.version, by=desk.approver.pk, now=NOW),
    ):
        with pytest.raises(errors.DepositMovedOnError):
            decide()
    with pytest.raises(errors.DepositNotFoundError):
        deposits.approve(10**9, version=1, by=desk.approver.pk, now=NOW)

    assert counted() == before


def test_a_batch_is_credited_in_a_constant_number_of_statements(desk, customer, django_assert_num_queries) -> None:
    people = [customer(f"user{number}") for number in range(12)]
    counts = []
    for size in (2, 12):
        told(
            desk,
            *(Announcement(f"{size}:{person.id}", Decimal(5), person.id, NOW) for person in people[:size]),
        )
        with django_assert_num_queries(21, exact=False) as queries:
            assert crediting.credit(NOW) == size
        counts.append(len(queries))

    assert counts[0] == counts[1]
    assert [person.balance("USDT") for person in people] == [10] * 2 + [5] * 10


def test_one_deposit_that_cannot_be_posted_holds_up_no_other(desk, alice, customer, monkeypatch) -> None:
    first = record(desk, alice, 10, "bad")
    bob = customer("bob")
    record(desk, bob, 20, "good")
    post = journal.post

    def refuse(drafts, now):
        if any(draft.key.endswith(":bad") for draft in drafts):
            raise errors.CustodyUnknownError
        return post(drafts, now)

    monkeypatch.setattr(journal, "post", refuse)
    assert crediting.credit(NOW) == 1
    monkeypatch.setattr(journal, "post", post)

    assert (again(first).state, bob.balance("USDT")) == ("CONFIRMED", 20)
    assert crediting.credit(NOW) == 1


def test_a_run_that_dies_between_entry_and_step_is_simply_repeated(desk, alice, monkeypatch) -> None:
    made = record(desk, alice, 10)
    record_steps = steps.record_deposits

    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(steps, "record_deposits", die)
    with pytest.raises(KeyboardInterrupt):
        crediting.credit(NOW)
    monkeypatch.setattr(steps, "record_deposits", record_steps)

    assert (again(made).state, alice.balance("USDT")) == ("CONFIRMED", 0)
    assert crediting.credit(NOW) == 1
    assert alice.balance("USDT") == 10


ATTACKS = {
    "say it is credited": "state = 'CREDITED'",
    "credit by a foreign entry": "state = 'CREDITED', approved_by_id = {approver},"
    " entry_id = (SELECT max(id) FROM ledger_entry)",
    "more money": "amount = amount + 1",
    "do without the second person": "second_person = false",
    "approve as the maker": "approved_by_id = made_by_id",
    "another owner under the approval": "owner_id = {approver}, approved_by_id = {approver}",
}


@pytest.mark.parametrize("role", ["exchange_web", "exchange_back_office", None])
@pytest.mark.parametrize("attack", ATTACKS)
def test_the_table_refuses_what_the_services_would_not_do(desk, alice, customer, attack, role) -> None:
    customer("bob", USDT=5)
    made = record(desk, alice, 1000)

    with transaction.atomic(), connection.cursor() as cursor:
        if role:
            cursor.execute(f"SET LOCAL ROLE {role}")
        change = ATTACKS[attack].format(approver=desk.approver.pk)
        with pytest.raises(IntegrityError), transaction.atomic():
            cursor.execute(f"UPDATE ledger_depositnotice SET version = version + 1, {change} WHERE id = %s", [made.pk])
        cursor.execute("RESET ROLE")

    assert again(made).state == DepositState.ANNOUNCED
