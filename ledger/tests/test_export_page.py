"""The page that sends a journal: who gets it, what the log keeps, and that it is sent while it is being written."""

import pytest
from asgiref.sync import async_to_sync
from django.test import AsyncClient, Client

from ledger.access import Role
from ledger.exports import download, views
from ledger.models import FinanceLog
from ledger.services import roles
from ledger.tests import outside

PAGE = "/admin/finance/export"
FILE = f"{PAGE}/file"
ASKED = {"format": "beancount", "view": "platform"}

pytestmark = pytest.mark.django_db


@pytest.fixture
def signed_in(django_user_model):
    def sign_in(role: Role, client_class: type = Client):
        user, _ = django_user_model.objects.get_or_create(username=role.value, is_staff=True)
        roles.grant(user.pk, role)
        client = client_class()
        client.force_login(user)
        return client

    return sign_in


def body(response) -> str:
    return b"".join(response.streaming_content).decode()


@pytest.mark.parametrize("role", [Role.ACCOUNTANT, Role.APPROVER, Role.AUDITOR])
def test_who_may_export_gets_a_file_that_the_tool_accepts(customer, signed_in, tmp_path, role) -> None:
    customer("alice", USDT=100)

    response = signed_in(role).get(FILE, ASKED)

    path = tmp_path / "books"
    path.write_text(body(response))
    assert response["Content-Disposition"].startswith('attachment; filename="platform-journal-')
    assert response["Cache-Control"] == "no-store"
    assert outside.check("beancount", path) == ""
    assert "Assets:Custody:X-main  100.00000000 USDT" in path.read_text()


def test_the_log_says_who_took_which_journal_up_to_which_entry(customer, signed_in) -> None:
    customer("alice", USDT=100)

    signed_in(Role.AUDITOR).get(FILE, {**ASKED, "format": "hledger", "view": "user"})

    visit, sent = FinanceLog.objects.order_by("id")
    assert (visit.action, visit.detail["query"]) == ("journal_export.download", "format=hledger&view=user")
    assert (sent.action, sent.subject, str(sent.user)) == ("journal_export.sent", "1", "auditor")
    assert {name: sent.detail[name] for name in ("format", "view", "known")} == {
        "format": "hledger",
        "view": "user",
        "known": 1,
    }
    assert len(sent.detail["hash"]) == 64


@pytest.mark.parametrize("path", [PAGE, FILE])
def test_who_may_not_is_refused(customer, signed_in, client, path) -> None:
    customer("alice", USDT=100)

    assert signed_in(Role.SUPPORT).get(path, ASKED).status_code == 403
    assert client.get(path, ASKED).status_code == 302
    assert signed_in(Role.AUDITOR).post(path, ASKED).status_code == 405
    assert not FinanceLog.objects.exists()


@pytest.mark.parametrize(
    ("asked", "status", "words"),
    [
        ({"last": "1999-12-31", "as_of": "1999-12-31"}, 422, "There is no journal entry to export."),
        ({"first": "2999-01-02", "last": "2999-01-01"}, 422, "The period ends before it begins."),
        ({"last": "<b>soon"}, 422, "&lt;b&gt;soon is neither a date"),
        ({"format": "pdf"}, 400, "pdf is not one of the available choices"),
    ],
)
def test_what_cannot_be_sent_is_said_on_the_page(customer, signed_in, asked, status, words) -> None:
    customer("alice", USDT=100)

    response = signed_in(Role.AUDITOR).get(FILE, {**ASKED, **asked})

    assert response.status_code == status
    assert words in response.content.decode()


def test_a_very_long_period_is_for_the_command(customer, signed_in, monkeypatch) -> None:
    customer("alice", USDT=100, BTC=1)
    monkeypatch.setattr(views, "ENTRIES_MAX", 1)

    response = signed_in(Role.AUDITOR).get(FILE, ASKED)

    assert response.status_code == 422
    assert "The period has 2 entries, a download at most 1" in response.content.decode()


def test_downloads_are_limited(customer, signed_in) -> None:
    customer("alice", USDT=100)
    auditor = signed_in(Role.AUDITOR)

    codes = [auditor.get(FILE, ASKED).status_code for _ in range(views.DOWNLOADS.count + 1)]

    assert codes == [200] * views.DOWNLOADS.count + [429]


def test_a_web_server_sends_the_file_while_it_is_being_written(customer, signed_in, monkeypatch) -> None:
    customer("alice", USDT=100, BTC=1, TWD=5)
    monkeypatch.setattr(download, "BLOCK_BYTES", 1)
    client = signed_in(Role.AUDITOR, AsyncClient)

    async def read() -> list[bytes]:
        response = await client.get(FILE, ASKED)
        assert response.is_async
        return [block async for block in response.streaming_content]

    sent = async_to_sync(read)()

    assert len(sent) > 10
    assert b"".join(sent).decode().endswith("; End of the file: 3 transactions.\n")
