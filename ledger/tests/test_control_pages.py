"""The pages of controls: who may do what there, and that it is done, logged, and posted by the back office."""

from datetime import timedelta
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection

from exchange.kernel.clock import utc_now
from ledger.access import Role
from ledger.control_models import EntryAttachment, EntryComment, PeriodRequest, Proposal, ProposalState
from ledger.models import FinanceLog, JournalEntry
from ledger.services import periods, proposals
from ledger.tests.factories import staff

pytestmark = [
    pytest.mark.usefixtures("books"),
    pytest.mark.filterwarnings("ignore:No directory at:UserWarning"),  # whitenoise: static files are not collected
]
READ = {Role.ACCOUNTANT: 200, Role.APPROVER: 200, Role.AUDITOR: 200, Role.SUPPORT: 403}
MAKE = {Role.ACCOUNTANT: 302, Role.APPROVER: 403, Role.AUDITOR: 403, Role.SUPPORT: 403}
DECIDE = {Role.ACCOUNTANT: 403, Role.APPROVER: 302, Role.AUDITOR: 403, Role.SUPPORT: 403}
SAY = {Role.ACCOUNTANT: 302, Role.APPROVER: 302, Role.AUDITOR: 403, Role.SUPPORT: 403}


@pytest.fixture
def as_(client):
    """Sign a role in."""

    def sign_in(role: Role) -> Any:
        client.force_login(staff(role))
        return client

    return sign_in


@pytest.fixture
def alice(customer):
    return customer("alice", USDT=100)


def written(*lines: tuple[object, str, str, str], action: str = "send", reason: str = "goodwill") -> dict[str, str]:
    """Return a manual entry as the form sends it; a line is user, account, debit, credit."""
    data = {"lines-TOTAL_FORMS": str(len(lines) + 1), "lines-INITIAL_FORMS": "0", "reason": reason, "action": action}
    for n, (owner, code, debit, credit) in enumerate(lines):
        values = {"owner": owner or "", "code": code, "asset": "USDT", "debit": debit, "credit": credit}
        data |= {f"lines-{n}-{name}": str(value) for name, value in values.items()}
    return data


def goodwill(owner_id: int, amount: str = "5", action: str = "send") -> dict[str, str]:
    return written((owner_id, "1010", amount, ""), (owner_id, "4050", "", "5"), (None, "5140", "5", ""), action=action)


@pytest.mark.parametrize("role", list(Role))
def test_each_role_opens_and_does_what_it_may(as_, alice, settings, tmp_path, role) -> None:
    settings.ATTACHMENTS_DIR = tmp_path
    client = as_(role)
    entry = JournalEntry.objects.get().pk
    file = SimpleUploadedFile("note.txt", b"seen")

    for url in ("periods", "proposals", "log"):
        assert client.get(f"/admin/finance/{url}").status_code == READ[role]
    assert client.get("/admin/finance/proposals/new").status_code == (200 if MAKE[role] == 302 else 403)
    for url, data, expected in (
        ("proposals/new", goodwill(alice.id), MAKE),
        (f"entries/{entry}/reverse", {"reason": "a mistake"}, MAKE),
        ("periods/close", {"first_open": "2001-01-01", "reason": "year end"}, DECIDE),
        (f"entries/{entry}/comment", {"text": "seen"}, SAY),
        (f"entries/{entry}/attach", {"file": file}, SAY),
    ):
        assert client.post(f"/admin/finance/{url}", data).status_code == expected[role], url


def test_a_manual_entry_goes_from_its_maker_over_a_checker_into_the_books(as_, alice) -> None:
    as_(Role.ACCOUNTANT).post("/admin/finance/proposals/new", goodwill(alice.id))
    proposal = Proposal.objects.get()
    page = as_(Role.APPROVER).get(f"/admin/finance/proposals/{proposal.pk}")
    assert page.context["may_decide"]
    assert all(row["balances"] for row in page.context["journals"])

    as_(Role.APPROVER).post(f"/admin/finance/proposals/{proposal.pk}/decide", {"action": "approve", "remark": "seen"})
    proposals.carry_out(utc_now())

    proposal.refresh_from_db()
    assert (proposal.state, proposal.remark, proposal.checker) == ("POSTED", "seen", staff(Role.APPROVER))
    assert alice.balance("USDT") == 105
    assert f"#{proposal.entry_id}" in as_(Role.AUDITOR).get(f"/admin/finance/proposals/{proposal.pk}").content.decode()


def test_the_form_tells_before_sending_what_does_not_balance(as_, alice) -> None:
    page = as_(Role.ACCOUNTANT).post("/admin/finance/proposals/new", goodwill(alice.id, "6", action="check"))

    assert [(row["journal"], row["difference"]) for row in page.context["journals"]] == [
        ("Platform", "-1"),
        (f"User {alice.id}", "1"),
    ]
    assert "does not balance" in page.content.decode()
    assert not Proposal.objects.exists()


def test_what_does_not_balance_is_refused_in_words_and_the_lines_stay(as_, alice) -> None:
    page = as_(Role.ACCOUNTANT).post("/admin/finance/proposals/new", goodwill(alice.id, "6"))

    text = page.content.decode()
    assert "Debits and credits differ by" in text
    assert 'value="6"' in text
    assert not Proposal.objects.exists()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ((None, "5140", "", ""), "either a debit or a credit"),
        ((None, "5140", "1", "1"), "either a debit or a credit"),
        ((None, "", "1", ""), "needs an account"),
        ((None, "9999", "1", ""), "Select a valid choice"),
        ((None, "5140", "1e-19", ""), "decimal places"),
        ((None, "5140", "NaN", ""), "Enter a number"),
    ],
)
def test_half_a_line_is_pointed_out(as_, alice, line, said) -> None:
    page = as_(Role.ACCOUNTANT).post("/admin/finance/proposals/new", written(line))

    assert said in page.content.decode()
    assert not Proposal.objects.exists()


def test_more_lines_can_be_asked_for_up_to_the_limit(as_, alice) -> None:
    few = as_(Role.ACCOUNTANT).post("/admin/finance/proposals/new", goodwill(alice.id, action="more"))
    many = goodwill(alice.id, action="more") | {"lines-TOTAL_FORMS": "99"}

    assert len(few.context["lines"].forms) == 8
    assert len(as_(Role.ACCOUNTANT).post("/admin/finance/proposals/new", many).context["lines"].forms) == 100


def test_the_maker_is_offered_no_decision_and_refused_one(client, alice, admin_user) -> None:
    client.force_login(admin_user)
    client.post("/admin/finance/proposals/new", goodwill(alice.id))
    proposal = Proposal.objects.get()

    page = client.get(f"/admin/finance/proposals/{proposal.pk}")
    answer = client.post(f"/admin/finance/proposals/{proposal.pk}/decide", {"action": "approve"}, follow=True)

    assert (page.context["may_decide"], page.context["may_withdraw"]) == (False, True)
    assert "Another person" in answer.content.decode()
    proposal.refresh_from_db()
    assert proposal.state == ProposalState.PROPOSED
    client.post(f"/admin/finance/proposals/{proposal.pk}/withdraw")
    proposal.refresh_from_db()
    assert proposal.state == ProposalState.WITHDRAWN


def test_a_reversal_is_proposed_on_an_entrys_page_and_seen_there_when_it_is_done(as_, alice) -> None:
    entry = JournalEntry.objects.get().pk
    url = f"/admin/ledger/journalentry/{entry}/change/"
    assert f"/admin/finance/entries/{entry}/reverse" in as_(Role.ACCOUNTANT).get(url).content.decode()
    assert f"/admin/finance/entries/{entry}/reverse" not in as_(Role.APPROVER).get(url).content.decode()

    as_(Role.ACCOUNTANT).post(f"/admin/finance/entries/{entry}/reverse", {"reason": "twice"})
    proposal = Proposal.objects.get()
    as_(Role.APPROVER).post(f"/admin/finance/proposals/{proposal.pk}/decide", {"action": "approve"})
    proposals.carry_out(utc_now())

    page = as_(Role.ACCOUNTANT).get(url)
    assert page.context["reversed_by"] == entry + 1
    assert not page.context["may_reverse"]
    assert alice.balance("USDT") == 0


def test_comments_and_files_of_an_entry_are_added_listed_and_fetched(as_, alice, settings, tmp_path) -> None:
    settings.ATTACHMENTS_DIR = tmp_path
    entry = JournalEntry.objects.get().pk
    as_(Role.ACCOUNTANT).post(f"/admin/finance/entries/{entry}/comment", {"text": "<b>late</b> by a day"})
    file = SimpleUploadedFile("statement.pdf", b"%PDF-1.7 a statement", "text/html")
    as_(Role.ACCOUNTANT).post(f"/admin/finance/entries/{entry}/attach", {"file": file})
    forged = SimpleUploadedFile("statement.pdf", b"<script>", "application/pdf")
    refused = as_(Role.ACCOUNTANT).post(f"/admin/finance/entries/{entry}/attach", {"file": forged}, follow=True)

    text = as_(Role.AUDITOR).get(f"/admin/ledger/journalentry/{entry}/change/").content.decode()
    attachment = EntryAttachment.objects.get()
    fetched = as_(Role.AUDITOR).get(f"/admin/finance/attachments/{attachment.pk}")

    assert EntryComment.objects.get().author == staff(Role.ACCOUNTANT)
    assert "&lt;b&gt;late&lt;/b&gt; by a day" in text
    assert "statement.pdf" in text
    assert "can be attached" in refused.content.decode()
    assert fetched.content == b"%PDF-1.7 a statement"
    assert fetched["Content-Disposition"] == 'attachment; filename="statement.pdf"'
    assert fetched["Content-Type"] == "application/pdf"
    assert as_(Role.SUPPORT).get(f"/admin/finance/attachments/{attachment.pk}").status_code == 403
    assert as_(Role.AUDITOR).get("/admin/finance/attachments/999").status_code == 404


def test_a_period_is_closed_and_reopened_and_both_stay_written(as_, db) -> None:
    day = (utc_now() - timedelta(days=40)).date()
    client = as_(Role.APPROVER)
    client.post("/admin/finance/periods/close", {"first_open": str(day), "reason": "month end"})
    assert "month end" in client.get("/admin/finance/periods").content.decode()
    periods.carry_out(utc_now())
    page = client.get("/admin/finance/periods")
    assert page.context["closed_before"].date() == day
    [(start, _)] = page.context["reopen_form"].fields["boundary"].choices

    client.post("/admin/finance/periods/reopen", {"boundary": start, "reason": "a late invoice"})
    periods.carry_out(utc_now())

    text = client.get("/admin/finance/periods").content.decode()
    assert "a late invoice" in text
    assert [request.state for request in PeriodRequest.objects.all()] == ["DONE", "DONE"]
    assert client.post("/admin/finance/periods/burn", {"reason": "why not"}).status_code == 404


def test_a_close_in_the_future_is_refused_in_words(as_, db) -> None:
    day = (utc_now() + timedelta(days=2)).date()

    page = as_(Role.APPROVER).post(
        "/admin/finance/periods/close", {"first_open": str(day), "reason": "month end"}, follow=True
    )

    assert "is no moment to move that to" in page.content.decode()
    assert not PeriodRequest.objects.exists()


def test_the_webs_role_writes_all_of_it_down(as_, alice, settings, tmp_path) -> None:
    settings.ATTACHMENTS_DIR = tmp_path
    entry = JournalEntry.objects.get().pk
    maker = as_(Role.ACCOUNTANT)
    with connection.cursor() as cursor:
        cursor.execute("SET ROLE exchange_web")
    try:
        maker.post("/admin/finance/proposals/new", goodwill(alice.id))
        maker.post(f"/admin/finance/entries/{entry}/comment", {"text": "seen"})
        maker.post(f"/admin/finance/entries/{entry}/attach", {"file": SimpleUploadedFile("a.txt", b"seen")})
        opened = maker.get(f"/admin/ledger/journalentry/{entry}/change/").status_code
    finally:
        with connection.cursor() as cursor:
            cursor.execute("RESET ROLE")

    assert opened == 200
    assert (Proposal.objects.count(), EntryComment.objects.count(), EntryAttachment.objects.count()) == (1, 1, 1)


def test_the_log_shows_who_did_what_and_is_narrowed_by_user_action_and_subject(as_, alice) -> None:
    entry = JournalEntry.objects.get().pk
    as_(Role.ACCOUNTANT).post(f"/admin/finance/entries/{entry}/comment", {"text": "seen"})
    as_(Role.APPROVER).get("/admin/finance/proposals")

    def actions(**asked: str) -> set[str]:
        page = as_(Role.AUDITOR).get("/admin/finance/log", asked)
        return {row.action for row in page.context["page"].rows}

    assert actions(user="the-accountant") == {"entry.write_comment", "entry.comment"}
    assert actions(action="entry.comment", subject=str(entry)) == {"entry.comment"}
    assert actions(user="nobody") == set()
    assert "finance_log.view" in actions()
    assert FinanceLog.objects.filter(action="entry.comment", user=staff(Role.ACCOUNTANT)).count() == 1


def test_pages_of_the_log_lead_to_older_and_newer_rows(as_, db, monkeypatch) -> None:
    monkeypatch.setattr("ledger.controls.views.PAGE_ROWS", 2)
    client = as_(Role.AUDITOR)
    for _ in range(4):
        client.get("/admin/finance/proposals")

    newest = client.get("/admin/finance/log", {"action": "proposals.view"}).context["page"]
    older = client.get(f"/admin/finance/log{newest.older}").context["page"]
    back = client.get(f"/admin/finance/log{older.newer}").context["page"]

    ids = [row.pk for row in newest.rows + older.rows]
    assert ids == sorted(ids, reverse=True)
    assert len(set(ids)) == 4
    assert (newest.newer, older.older) == ("", "")
    assert [row.pk for row in back.rows] == [row.pk for row in newest.rows]
