"""Statements of banks and chains: the preview says what each row would do, and the import does just that."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from django.db import DatabaseError, connection, transaction

from ledger.models import CustodyStatement, DepositNotice, FinanceLog, JournalEntry, StatementLine, StatementUpload
from ledger.tests.factories import NOW
from ledger.tests.reconciling import look
from ledger.transfers import decisions, deposit_addresses, deposits, errors, statements, stops
from ledger.transfers.models import DepositState
from ledger.transfers.statements import Outcome
from ledger.transfers.tests.conftest import OTHER_TRON

pytestmark = pytest.mark.usefixtures("books", "transfers_audited")

HEADER = "date,reference,amount,fee,balance,address,text,confirmations\n"
MARCH = datetime(2026, 3, 1, tzinfo=UTC)
AT_NOON = NOW  # the day of the rows is not over yet


def statement(*rows: tuple[str, str, str, str, str, int], start: str = "0") -> bytes:
    """Write a chain's statement: reference, amount, fee, address, text, confirmations of each row."""
    balance, lines = Decimal(start), []
    for reference, amount, fee, address, text, confirmations in rows:
        balance += Decimal(amount) - Decimal(fee)
        lines.append(f"2026-03-01,{reference},{amount},{fee},{balance},{address},{text},{confirmations}\n")
    return (HEADER + "".join(lines)).encode()


def upload(desk, content: bytes, name: str = "march.csv") -> StatementUpload:
    return statements.upload(desk.custody.pk, file_name=name, content=content, by=desk.accountant.pk, now=NOW)


def import_(desk, kept: StatementUpload, *, may_pay: bool = True):
    return statements.import_upload(kept.pk, by=desk.accountant.pk, may_pay=may_pay, now=NOW)


def outcomes(found: statements.Preview) -> list[str]:
    return [judged.outcome.value for judged in found.rows]


@pytest.fixture
def alice(customer, desk):
    return customer("alice")


@pytest.fixture
def home(desk, alice) -> str:
    """Return an address of Alice's own."""
    deposit_addresses.stock(desk.custody, [OTHER_TRON], by=desk.accountant.pk, now=NOW)
    return deposit_addresses.assign(alice.id, asset="USDT", network="TRON", now=NOW).address


def test_the_preview_says_what_each_row_would_do_and_changes_nothing(desk, alice, home, counted) -> None:
    kept = upload(
        desk,
        statement(
            ("tx1", "100", "0", home, "", 3),
            ("tx2", "900", "0", home, "", 3),
            ("tx3", "50", "0", home, "", 1),
            ("tx4", "7", "0", "", "who knows", 9),
            ("tx5", "-5", "1", "", "a payment", 9),
        ),
    )
    before = counted()

    found = statements.preview(kept, now=NOW)

    assert outcomes(found) == ["CREDIT", "SECOND_PERSON", "CONFIRMATIONS", "OWNER", "UNMATCHED"]
    assert [judged.owner_id for judged in found.rows] == [alice.id, alice.id, alice.id, None, None]
    assert (found.as_of, found.balance) == (AT_NOON, Decimal(1051))
    assert found.rows[3].words == "names no customer: goes to suspense"
    assert counted() == before


def test_the_import_credits_announces_and_keeps_the_balance(desk, alice, home) -> None:
    kept = upload(
        desk,
        statement(("tx1", "100", "0", home, "", 3), ("tx2", "900", "0", home, "", 3), ("tx4", "7", "0", "", "who", 9)),
    )

    stored, _ = import_(desk, kept)
    desk.work()

    assert (stored.as_of, stored.balance, stored.lines.count()) == (AT_NOON, 1007, 3)
    assert alice.balance("USDT") == 100
    assert dict(DepositNotice.objects.values_list("reference", "state")) == {
        "tx1": "CREDITED",
        "tx2": "CONFIRMED",
        "tx4": "CONFIRMED",
    }
    assert JournalEntry.objects.get(kind="DEPOSIT").effective_at == MARCH
    assert JournalEntry.objects.filter(kind="SUSPENSE_RECEIPT").count() == 2  # one of nobody, one too large
    logged = FinanceLog.objects.get(action="statement.import")
    assert (logged.detail["CREDIT"], logged.detail["balance"]) == (1, "1007")


def test_the_same_file_is_refused_and_an_overlapping_one_repeats_nothing(desk, alice, home) -> None:
    first = statement(("tx1", "100", "0", home, "", 3))
    import_(desk, upload(desk, first))
    longer = upload(desk, statement(("tx1", "100", "0", home, "", 3), ("tx2", "20", "0", home, "", 3)), "april.csv")

    with pytest.raises(errors.StatementKnownError):
        upload(desk, first, "renamed.csv")
    stored, found = import_(desk, longer)
    with pytest.raises(errors.StatementKnownError):
        import_(desk, longer)
    desk.work()

    assert outcomes(found) == ["REPEAT", "CREDIT"]
    assert (stored.lines.count(), StatementLine.objects.count(), alice.balance("USDT")) == (1, 2, 120)


def test_a_file_uploaded_twice_before_it_is_imported_is_one_upload(desk, home) -> None:
    content = statement(("tx1", "100", "0", home, "", 3))

    assert upload(desk, content).pk == upload(desk, content).pk


def test_a_known_reference_with_another_amount_is_refused_alone(desk, alice, home) -> None:
    import_(desk, upload(desk, statement(("tx1", "100", "0", home, "", 3))))

    stored, found = import_(
        desk, upload(desk, statement(("tx1", "101", "0", home, "", 3), ("tx2", "1", "0", home, "", 3)))
    )
    desk.work()

    assert outcomes(found) == ["REFUSED", "CREDIT"]
    assert found.rows[0].reason == "the amount is 100 in the books"
    assert (stored.balance, alice.balance("USDT")) == (102, 101)


def test_more_confirmations_in_a_later_statement_credit_the_deposit(desk, alice, home) -> None:
    import_(desk, upload(desk, statement(("tx1", "100", "0", home, "", 1))))
    desk.work()
    assert alice.balance("USDT") == 0

    _, found = import_(desk, upload(desk, statement(("tx1", "100", "0", home, "", 4))))
    desk.work()

    assert (outcomes(found), alice.balance("USDT")) == (["CONFIRM"], 100)


def test_the_line_of_a_notice_typed_by_hand_confirms_it(desk, alice, home) -> None:
    notice = deposits.record_by_hand(
        desk.custody.pk,
        owner_id=alice.id,
        amount=Decimal(800),
        reference="tx1",
        occurred_at=NOW,
        by=desk.accountant.pk,
        now=NOW,
    )

    _, found = import_(desk, upload(desk, statement(("tx1", "800", "0", home, "", 3))))

    deposit = DepositNotice.objects.get(pk=notice.pk)
    assert outcomes(found) == ["MATCH_DEPOSIT"]
    assert (deposit.state, deposits.waits_for(deposit)) == ("CONFIRMED", "SECOND_PERSON")
    assert StatementLine.objects.get(deposit=deposit).reference == "tx1"


def test_a_code_in_the_words_names_the_customer(desk, alice, customer) -> None:
    bank = desk.custody
    type(bank).objects.filter(pk=bank.pk).update(kind="WALLET")
    code = deposit_addresses.assign(alice.id, asset="USDT", network="TRON", now=NOW).memo
    other = deposit_addresses.assign(customer("bob").id, asset="USDT", network="TRON", now=NOW).memo
    broken = code[:-1] + ("A" if code[-1] != "A" else "B")

    found = statements.preview(
        upload(
            desk,
            statement(
                ("tx1", "1", "0", "", f"deposit {code.lower()} thanks", 3),
                ("tx2", "1", "0", "", code.replace("-", ""), 3),
                ("tx3", "1", "0", "", broken, 3),
                ("tx4", "1", "0", "", f"{code} or {other}", 3),
            ),
        ),
        now=NOW,
    )

    assert [judged.owner_id for judged in found.rows] == [alice.id, alice.id, None, None]


def test_a_line_that_names_an_approved_withdrawal_pays_it_out(desk, customer) -> None:
    bob = customer("bob", USDT=500)
    made = desk.to_approved(bob, 100)

    _, found = import_(desk, upload(desk, statement(("tx9", "-99", "0.5", "", f"W-{made.pk}", 9), start="500")))
    desk.work()

    settled = decisions.find(made.pk)
    assert outcomes(found) == ["PAYOUT"]
    assert (settled.state, settled.payout_reference, settled.network_fee) == ("SETTLED", "tx9", Decimal("0.5"))
    assert StatementLine.objects.get(withdrawal=settled).reference == "tx9"


def test_a_line_with_the_reference_of_a_recorded_payout_matches_it(desk, customer) -> None:
    made = desk.paid(customer("bob", USDT=500), 100, reference="tx9")

    _, found = import_(desk, upload(desk, statement(("tx9", "-99", "0", "", "", 9), start="500")))

    assert outcomes(found) == ["MATCH_PAYOUT"]
    assert StatementLine.objects.get(withdrawal=made).reference == "tx9"


def test_a_line_of_another_amount_does_not_pay(desk, customer) -> None:
    made = desk.to_approved(customer("bob", USDT=500), 100)

    _, found = import_(desk, upload(desk, statement(("tx9", "-100", "0", "", f"W-{made.pk}", 9), start="500")))

    assert (outcomes(found), found.rows[0].reason) == (["REFUSED"], "the amount is -99 in the books")
    assert decisions.find(made.pk).state == "APPROVED"


@pytest.mark.parametrize("why", ["no right", "stopped"])
def test_a_payout_that_may_not_be_recorded_now_leaves_its_line_open(desk, customer, why) -> None:
    made = desk.to_approved(customer("bob", USDT=500), 100)
    kept = upload(desk, statement(("tx9", "-99", "0", "", f"W-{made.pk}", 9), start="500"))
    if why == "stopped":
        stops.stop(None, reason="a break", by=None, now=NOW)

    import_(desk, kept, may_pay=why != "no right")

    assert decisions.find(made.pk).state == "APPROVED"
    assert StatementLine.objects.get().reference == "tx9"


def test_a_file_with_errors_is_not_kept(desk) -> None:
    with pytest.raises(errors.StatementRefusedError):
        upload(desk, b"not a statement")

    assert not StatementUpload.objects.exists()


def test_a_file_for_no_account_is_refused(desk) -> None:
    with pytest.raises(errors.CustodyUnknownError):
        statements.upload(10**9, file_name="x", content=statement(), by=desk.accountant.pk, now=NOW)


@pytest.mark.parametrize("table", ["ledger_custodystatement", "ledger_statementline", "ledger_statementupload"])
@pytest.mark.parametrize("role", [None, "exchange_web", "exchange_back_office"])
def test_nobody_changes_a_statement(desk, home, table, role) -> None:
    import_(desk, upload(desk, statement(("tx1", "100", "0", home, "", 3))))

    for attack in (f"UPDATE {table} SET id = id", f"DELETE FROM {table}"):
        with transaction.atomic(), connection.cursor() as cursor:
            if role:
                cursor.execute(f"SET LOCAL ROLE {role}")
            with pytest.raises(DatabaseError), transaction.atomic():
                cursor.execute(attack)
            cursor.execute("RESET ROLE")


def test_a_long_statement_costs_no_more_statements_than_a_short_one(desk, home, django_assert_num_queries) -> None:
    counts = []
    for size in (2, 200):
        rows = [(f"{size}-{n}", "1", "0", home, "", 3) for n in range(size)]
        kept = upload(desk, statement(*rows), f"{size}.csv")
        with django_assert_num_queries(36, exact=False) as queries:
            import_(desk, kept)
        counts.append(len(queries))

    assert counts[0] == counts[1]
    assert CustodyStatement.objects.count() == 2
    assert DepositNotice.objects.filter(state=DepositState.CONFIRMED).count() == 202


def test_a_statement_agrees_with_the_books_at_every_step_of_what_it_reports(desk, alice, home, customer) -> None:
    def agrees() -> bool:
        return look("custody.statements") == set()

    import_(
        desk,
        upload(
            desk,
            statement(
                ("tx1", "700", "0", home, "", 9),
                ("tx2", "800", "0", home, "", 9),
                ("tx3", "50", "0", home, "", 1),
                ("tx4", "7", "0", "", "who", 9),
            ),
        ),
    )
    assert agrees()  # the back office has not posted yet
    desk.work()
    assert agrees()  # in suspense, or waiting for confirmations
    for deposit in DepositNotice.objects.filter(reference__in=["tx1", "tx2"]):
        deposits.approve(deposit.pk, version=deposit.version, by=desk.approver.pk, now=NOW)
    desk.work()
    assert agrees()

    made = desk.to_approved(alice, 100)
    payout = ("tx9", "-99", "0.5", "", f"W-{made.pk}", 9)
    import_(desk, upload(desk, statement(("tx8", "1", "0", "", "who", 9), payout, start="1557")))
    assert agrees()  # being settled
    desk.work()
    assert agrees()
    assert decisions.find(made.pk).state == "SETTLED"


def test_money_that_left_for_nothing_known_is_a_break(desk, home) -> None:
    import_(desk, upload(desk, statement(("tx1", "700", "0", home, "", 9), ("tx2", "-5", "0", "", "?", 9))))
    desk.work()

    assert look("custody.statements") == {("custody.statements", "main, USDT")}


def test_every_outcome_has_its_words() -> None:
    assert set(statements.WORDS) == set(Outcome)
