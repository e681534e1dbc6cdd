"""The finance pages: who may open and decide what, what a decision does, and what a refusal leaves as it was."""

from decimal import Decimal

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from exchange.kernel.clock import utc_now
from ledger.models import (
    CustodyStatement,
    DepositNotice,
    FinanceLog,
    StatementUpload,
)
from ledger.transfers import decisions, deposit_addresses, deposits, payouts, profiles, stops
from ledger.transfers.models import DepositState
from ledger.transfers.tests.conftest import OTHER_TRON, Staff
from risk.models import RiskTier
from risk.services import tiers

pytestmark = pytest.mark.usefixtures("books", "transfers_audited")
HEADER = "date,reference,amount,fee,balance,address,text,confirmations\n"


@pytest.fixture
def alice(customer, desk):
    return customer("alice", USDT=1000)


def record(desk, person, amount: object, reference: str = "bank-1") -> DepositNotice:
    return deposits.record_by_hand(
        desk.custody.pk,
        owner_id=person.id,
        amount=Decimal(str(amount)),
        reference=reference,
        occurred_at=utc_now(),
        by=desk.accountant.pk,
        now=utc_now(),
    )


@pytest.fixture
def everything(desk, alice) -> dict[str, int]:
    """Return the ids of one of each thing that pages show."""
    kept = StatementUpload.objects.create(
        custody=desk.custody,
        file_name="march.csv",
        digest="0" * 64,
        content=(HEADER + f"2026-03-01,tx1,7,0,7,{OTHER_TRON},,3\n").encode(),
        uploaded_by=desk.accountant,
        uploaded_at=utc_now(),
    )
    return {
        "withdrawal": desk.to_review(alice, 100).pk,
        "deposit": record(desk, alice, 900).pk,
        "custody": desk.custody.pk,
        "upload": kept.pk,
        "customer": alice.id,
    }


READERS = {"accountant", "approver", "auditor"}
EVERYBODY = READERS | {"support"}
PAGES = {
    "withdrawals": EVERYBODY,
    "withdrawals/{withdrawal}": EVERYBODY,
    "deposits": EVERYBODY,
    "deposits/{deposit}": EVERYBODY,
    "deposits/new": {"accountant"},
    "custody": READERS,
    "custody/{custody}": READERS,
    "custody/uploads/{upload}": {"accountant"},
    "customers": EVERYBODY,
    "customers/{customer}": EVERYBODY,
}
DECISIONS = {
    "withdrawals/stop": {"accountant", "approver"},
    "withdrawals/stops/1/lift": {"approver"},
    "withdrawals/{withdrawal}/pass": {"accountant"},
    "withdrawals/{withdrawal}/approve": {"approver"},
    "withdrawals/{withdrawal}/reject": {"accountant", "approver"},
    "withdrawals/{withdrawal}/payout": {"accountant"},
    "deposits/{deposit}/owner": {"accountant"},
    "deposits/{deposit}/approve": {"approver"},
    "deposits/{deposit}/refuse": {"accountant", "approver"},
    "custody/{custody}/upload": {"accountant"},
    "custody/{custody}/stock": {"approver"},
    "custody/uploads/{upload}/import": {"accountant"},
    "customers/{customer}/edit": {"accountant"},
}


@pytest.mark.parametrize("path", PAGES)
def test_each_role_sees_just_its_pages_and_each_visit_is_logged(people, everything, path) -> None:
    address = path.format(**everything)

    answers = {role: person.get(address).status_code for role, person in people.items()}

    assert answers == {role: 200 if role in PAGES[path] else 403 for role in people}
    visits = FinanceLog.objects.filter(detail__method="GET").values_list("user__username", flat=True)
    assert sorted(visits) == sorted(people[role].user.username for role in PAGES[path])


@pytest.mark.parametrize("path", DECISIONS)
def test_each_role_takes_just_its_decisions(people, everything, counted, path) -> None:
    address = path.format(**everything)
    before = counted()

    refused = {role for role, person in people.items() if person.post(address).status_code == 403}

    assert refused == set(people) - DECISIONS[path]
    unsound = {"ledger_statementline", "ledger_custodystatement", "ledger_depositnotice", "ledger_transferevent"}
    after = counted()
    assert {name: after[name] for name in after if name not in unsound} == {
        name: before[name] for name in before if name not in unsound
    }


@pytest.mark.parametrize("path", [*PAGES, *DECISIONS])
def test_customers_and_strangers_see_nothing(desk, customer, everything, path) -> None:
    mallory = Staff(customer("mallory").user)
    address = path.format(**everything)
    visit = (lambda person: person.get(address)) if path in PAGES else (lambda person: person.post(address))

    assert visit(mallory).status_code == 403
    stranger = Staff(customer("nobody").user)
    stranger.client.logout()
    assert visit(stranger).status_code == 302


def test_a_withdrawal_is_reviewed_approved_paid_and_settled_by_buttons(people, desk, alice) -> None:
    made = desk.to_review(alice, 100)
    page = people["accountant"].get(f"withdrawals/{made.pk}").content.decode()
    assert "The customer has no second factor" in page
    assert "Looks right" in page
    assert "Looks right" not in people["approver"].get(f"withdrawals/{made.pk}").content.decode()

    said = people["accountant"].told(f"withdrawals/{made.pk}/pass", version=made.version, note="called him")
    assert said == "Reviewed. A second person must approve it."
    version = decisions.find(made.pk).version
    assert people["approver"].told(f"withdrawals/{made.pk}/approve", version=version).startswith("Approved")
    paid = {"custody": desk.custody.pk, "reference": "tx-1", "network_fee": "0.5", "version": version + 1}
    assert people["accountant"].told(f"withdrawals/{made.pk}/payout", **paid).startswith("Recorded")
    payouts.settle(utc_now())

    ended = decisions.find(made.pk)
    assert (ended.state, ended.review_note, ended.network_fee) == ("SETTLED", "called him", Decimal("0.5"))
    page = people["auditor"].get(f"withdrawals/{made.pk}").content.decode()
    assert f"#{ended.final_entry_id}" in page
    assert "Reject" not in page


def test_a_superuser_who_reviewed_cannot_approve(desk, alice, django_user_model, counted) -> None:
    root = Staff(django_user_model.objects.create_superuser("root", password="x"))
    made = desk.to_review(alice, 100)
    root.told(f"withdrawals/{made.pk}/pass", version=made.version)
    assert "You reviewed it" in root.get(f"withdrawals/{made.pk}").content.decode()
    before = counted()

    said = root.told(f"withdrawals/{made.pk}/approve", version=made.version + 1)

    assert said == "A second person must decide this."
    assert counted() == before


def test_two_who_decide_on_what_they_saw_do_not_both_decide(people, desk, alice) -> None:
    made = desk.to_review(alice, 100)

    people["accountant"].told(f"withdrawals/{made.pk}/reject", version=made.version, reason="too much")
    said = people["accountant"].told(f"withdrawals/{made.pk}/pass", version=made.version)

    assert "is REJECTING by now; nothing was changed" in said


@pytest.mark.parametrize(
    ("path", "values", "said"),
    [
        ("pass", {}, "This field is required"),
        ("pass", {"version": "x"}, "Enter a whole number"),
        ("reject", {"version": "2", "reason": ""}, "This field is required"),
        ("payout", {"version": "2", "custody": "x", "reference": "t"}, "Select a valid choice"),
        ("payout", {"version": "2", "reference": "t", "network_fee": "many"}, "Enter a number"),
        ("payout", {"version": "2", "reference": "t", "paid_at": "soon"}, "Enter a valid date/time"),
    ],
)
def test_a_form_that_makes_no_sense_changes_nothing(people, everything, counted, path, values, said) -> None:
    before = counted()

    assert said in people["accountant"].told(f"withdrawals/{everything['withdrawal']}/{path}", **values)

    assert counted() == before


def test_withdrawals_are_stopped_by_either_and_go_on_by_the_approver(people, desk, alice) -> None:
    assert people["accountant"].told("withdrawals/stop", asset="USDT", reason="a break") == "Withdrawals are stopped."
    [stop] = stops.active()
    assert (stop.asset_id, stop.stopped_by) == ("USDT", desk.accountant)
    assert "Withdrawals of USDT are stopped." in people["support"].get("withdrawals").content.decode()

    assert people["approver"].told(f"withdrawals/stops/{stop.pk}/lift", reason="explained") == "Withdrawals go on."

    assert stops.active() == []
    logged = FinanceLog.objects.filter(action__in=["withdrawals.stop", "withdrawals.resume"]).order_by("pk")
    assert [row.action for row in logged] == ["withdrawals.stop", "withdrawals.resume"]


def test_a_queue_shows_what_is_under_way_and_what_has_ended_page_by_page(people, desk, alice, monkeypatch) -> None:
    monkeypatch.setattr("ledger.transfers.pages.common.PAGE_ROWS", 1)
    done = desk.paid(alice, 50)
    first = desk.to_review(alice, 100)
    second = desk.to_review(alice, 100)

    page = people["support"].get("withdrawals").content.decode()
    older = people["support"].get(f"withdrawals?before={second.pk}").content.decode()
    ended = people["support"].get("withdrawals?state=ended").content.decode()

    assert (f"W-{second.pk}<" in page, f"W-{first.pk}<" in page, "Older ones" in page) == (True, False, True)
    assert (f"W-{first.pk}<" in older, "Older ones" in older) == (True, False)
    assert f"W-{done.pk}<" in ended


def test_a_deposit_is_recorded_and_approved_by_two(people, desk, alice) -> None:
    values = {
        "customer": "ALICE",
        "custody": desk.custody.pk,
        "amount": "900",
        "reference": "bank-9",
        "occurred_at": "2026-03-01 12:30",
    }
    answer = people["accountant"].post("deposits/new", **values)
    made = DepositNotice.objects.get(reference="bank-9")
    assert answer["Location"] == f"/admin/finance/deposits/{made.pk}"
    assert (made.state, made.owner_id, f"{made.occurred_at:%H:%M}") == ("ANNOUNCED", alice.id, "12:30")
    assert "a second person" in people["auditor"].get("deposits").content.decode()

    assert people["approver"].told(f"deposits/{made.pk}/approve", version=made.version).startswith("Approved")
    desk.work()

    assert DepositNotice.objects.get(pk=made.pk).state == DepositState.CREDITED
    assert alice.balance("USDT") == 1900


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"customer": "nosuch"}, "There is no customer nosuch."),
        ({"amount": "-5"}, "A deposit of -5 is not possible."),
        ({"amount": "0.000000001"}, "more than 8 decimals"),
        ({"amount": "many"}, "Enter a number"),
        ({"reference": ""}, "This field is required"),
        ({"custody": "0"}, "Select a valid choice"),
        ({"customer": "ann"}, "Nobody decides on what is their own."),
        ({"reference": "bank-1"}, "is known with another amount or owner"),
    ],
)
def test_a_deposit_that_cannot_be_is_refused_beside_its_form(people, desk, alice, counted, change, said) -> None:
    record(desk, alice, 5)
    before = counted()

    values = {"customer": "alice", "custody": desk.custody.pk, "amount": "10", "reference": "bank-2", **change}
    answer = people["accountant"].post("deposits/new", **values)

    assert answer.status_code == 200
    assert said in answer.content.decode()
    assert counted() == before


def test_money_of_nobody_gets_an_owner_or_an_entry_is_refused(people, desk, alice) -> None:
    made = record(desk, alice, 900)
    people["accountant"].told(f"deposits/{made.pk}/refuse", version=made.version, reason="not on the statement")

    assert DepositNotice.objects.get(pk=made.pk).state == DepositState.REFUSED
    assert "is REFUSED by now" in people["accountant"].told(f"deposits/{made.pk}/owner", version=2, customer="alice")


def test_a_statement_is_previewed_and_imported(people, desk, alice) -> None:
    deposit_addresses.stock(desk.custody, [OTHER_TRON], by=desk.approver.pk, now=utc_now())
    deposit_addresses.assign(alice.id, asset="USDT", network="TRON", now=utc_now())
    content = (HEADER + f"2026-03-01,tx1,7,0,7,{OTHER_TRON},,3\n2026-03-02,tx2,-5,1,1,,a payment,9\n").encode()

    answer = people["accountant"].post(f"custody/{desk.custody.pk}/upload", file=SimpleUploadedFile("m.csv", content))
    page = people["accountant"].client.get(answer["Location"]).content.decode()
    assert "will be credited" in page
    assert "stays open for reconciliation" in page
    assert not CustodyStatement.objects.exists()

    kept = StatementUpload.objects.get()
    assert people["accountant"].told(f"custody/uploads/{kept.pk}/import").startswith("Imported.")
    desk.work()
    stored = CustodyStatement.objects.get()
    assert (stored.balance, alice.balance("USDT")) == (1, 1007)
    shown = people["auditor"].get(f"custody/statements/{stored.pk}").content.decode()
    assert "credited" in shown
    assert "nothing" in shown
    assert people["accountant"].get(f"custody/uploads/{kept.pk}").status_code == 302
    again = people["accountant"].post(f"custody/{desk.custody.pk}/upload", file=SimpleUploadedFile("m.csv", content))
    assert "This file was imported before." in again.content.decode()
    assert "1" in people["auditor"].get("custody").content.decode()


def test_a_file_with_errors_is_shown_row_by_row(people, desk) -> None:
    content = (HEADER + "2026-03-01,tx1,x,0,7,,,3\n").encode()

    answer = people["accountant"].post(f"custody/{desk.custody.pk}/upload", file=SimpleUploadedFile("m.csv", content))

    assert answer.status_code == 422
    assert "amount x is not a decimal" in answer.content.decode()
    assert not StatementUpload.objects.exists()


def test_a_file_that_is_too_large_is_refused_before_it_is_read(people, desk) -> None:
    file = SimpleUploadedFile("m.csv", b"x" * 1_000_001)

    assert "larger than 1000000 bytes" in people["accountant"].told(f"custody/{desk.custody.pk}/upload", file=file)


def test_addresses_go_into_stock_and_a_wrong_one_stops_all(people, desk) -> None:
    path = f"custody/{desk.custody.pk}/stock"

    assert "checksum" in people["approver"].told(path, addresses=f"{OTHER_TRON}\n{OTHER_TRON[:-1]}8")
    assert deposit_addresses.free(desk.custody) == 0
    people["approver"].told(path, addresses=f"{OTHER_TRON}\r\n\r\n")

    assert deposit_addresses.free(desk.custody) == 1


def test_a_profile_is_edited_with_its_tier_and_the_log_keeps_both_versions(people, desk, alice) -> None:
    RiskTier.objects.create(name="VIP")
    values = {"version": 0, "legal_name": "Alice Ltd", "country": "TW", "kind": "COMPANY", "tier": "VIP"}

    assert people["accountant"].told(f"customers/{alice.id}/edit", **values) == "The profile has been changed."
    assert "Somebody else changed" in people["accountant"].told(f"customers/{alice.id}/edit", **values)
    frozen = {**values, "version": 1, "frozen": "on"}
    assert "Give a reason." in people["accountant"].told(f"customers/{alice.id}/edit", **frozen)
    people["accountant"].told(f"customers/{alice.id}/edit", **frozen, reason="a court order")

    profile = profiles.of(alice.id)
    assert (profile.legal_name, profile.frozen, profile.version, tiers.of(alice.id)) == ("Alice Ltd", True, 2, "VIP")
    first, second = FinanceLog.objects.filter(action="customer.edit", detail__has_any_keys=["tier", "frozen"]).order_by(
        "pk"
    )
    assert first.detail["tier"] == ["STANDARD", "VIP"]
    assert second.detail == {"frozen": [False, True], "reason": ["", "a court order"]}
    assert "Alice Ltd" in people["support"].get(f"customers/{alice.id}").content.decode()


def test_nobody_edits_their_own_profile(people, desk) -> None:
    values = {"version": 0, "legal_name": "Ann", "country": "TW", "kind": "PERSON", "tier": "STANDARD"}

    said = people["accountant"].told(f"customers/{desk.accountant.pk}/edit", **values)

    assert said == "Nobody decides on what is their own."


def test_a_customer_is_found_by_name_or_id(people, alice) -> None:
    assert people["support"].get("customers?q=Alice")["Location"].endswith(f"/customers/{alice.id}")
    assert people["support"].get(f"customers?q={alice.id}")["Location"].endswith(f"/customers/{alice.id}")
    assert "Nobody is called nosuch" in people["support"].get("customers?q=nosuch").content.decode()


@pytest.mark.parametrize(
    "path",
    [
        "withdrawals/999",
        "deposits/999",
        "custody/999",
        "custody/uploads/999",
        "custody/statements/999",
        "customers/999",
    ],
)
def test_what_is_not_there_is_not_found(people, desk, path) -> None:
    assert people["accountant"].get(path).status_code == 404
