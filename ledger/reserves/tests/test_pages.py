"""The pages: public figures, a user's own files, and who of the staff may publish."""

from decimal import Decimal
from pathlib import Path

import pytest
from django.contrib.auth import get_user_model

from ledger import tasks
from ledger.access import Role
from ledger.models import FinanceLog
from ledger.posting_rules import EventKind
from ledger.reserves import drawing, proofs, statements, verify, views
from ledger.reserves.api import PROOFS
from ledger.reserves.models import Publication, PublicationState
from ledger.services import journal, roles
from ledger.tests.factories import NOW, event

pytestmark = pytest.mark.usefixtures("books")


def test_before_the_first_publication_the_page_says_so(client, db) -> None:
    assert "Nothing has been published yet." in client.get("/reserves").content.decode()


def test_everyone_sees_the_figures_and_how_to_check_them(client, customer, publish) -> None:
    customer("alice", USDT="1234.5")
    journal.post([event(EventKind.CAPITAL, "c", None, 1), event(EventKind.INSURANCE_TOP_UP, "i", None, "0.5")], NOW)
    publication = publish()

    text = client.get("/reserves").content.decode()

    for words in (
        "1,234.5",
        "1,235.5",
        "100.08 %",
        bytes(publication.public_key).hex(),
        "Log in to check your balance",
    ):
        assert words in text
    assert "Check my balance" not in text


def test_an_older_publication_has_its_own_page(client, customer, publish) -> None:
    alice = customer("alice", USDT=100)
    first = publish()
    alice.deposit(USDT=11)
    publish()

    text = client.get(f"/reserves/{first.pk}").content.decode()

    assert f"Publication {first.pk}" in text
    assert "<dd>100</dd>" in text
    assert "polyline" in text
    assert client.get("/reserves/999").status_code == 404


def test_the_page_is_there_in_chinese(client, customer, publish) -> None:
    customer("alice", USDT=100)
    publish()

    text = client.get("/reserves", headers={"accept-language": "zh-TW"}).content.decode()

    assert "應付使用者" in text
    assert "Owed" not in text


def test_a_user_downloads_the_own_proof_and_nobody_elses(client, customer, publish) -> None:
    alice, bob = customer("alice", USDT=100), customer("bob", USDT=7)
    publication = publish()
    path = f"/reserves/{publication.pk}/proof.json"
    assert client.get(path).status_code == 302

    client.force_login(alice.user)
    response = client.get(f"{path}?user_id={bob.id}")

    assert response.json() == proofs.proof(publication.pk, alice.id)
    assert response["Content-Disposition"] == f'attachment; filename="reserves-proof-{publication.pk}.json"'
    assert response["Cache-Control"] == "no-store"


def test_who_had_nothing_has_no_proof(client, customer, publish) -> None:
    customer("alice", USDT=100)
    publication = publish()
    client.force_login(get_user_model().objects.create_user("late", password="x"))

    assert client.get(f"/reserves/{publication.pk}/proof.json").status_code == 404


def test_statement_and_verifier_are_served_byte_for_byte(client, customer, publish) -> None:
    customer("alice", USDT=100)
    publication = publish()

    assert client.get(f"/reserves/{publication.pk}/statement.json").content == publication.statement.encode()
    assert client.get("/reserves/verify.py").content == Path(verify.__file__).read_bytes()
    assert client.get("/reserves/999/statement.json").status_code == 404


def test_visits_and_proofs_are_limited(client, customer, publish) -> None:
    alice = customer("alice", USDT=100)
    publication = publish()
    client.force_login(alice.user)

    proof_codes = [client.get(f"/reserves/{publication.pk}/proof.json").status_code for _ in range(PROOFS.count + 1)]
    page_codes = [client.get("/reserves/999").status_code for _ in range(views.VISITS.count + 1)]

    assert proof_codes == [200] * PROOFS.count + [429]
    assert page_codes == [404] * views.VISITS.count + [429]


# --- Staff ---------------------------------------------------------------------------------------------------


@pytest.fixture
def staff(client, django_user_model):
    def sign_in(role: Role):
        user, _ = django_user_model.objects.get_or_create(username=role.value, is_staff=True)
        roles.grant(user.pk, role)
        client.force_login(user)
        return client

    return sign_in


def test_an_approver_publishes_and_sees_what_became_of_it(customer, staff) -> None:
    customer("alice", USDT=100)
    approver = staff(Role.APPROVER)

    response = approver.post("/admin/finance/reserves/publish")
    assert "requested" in approver.get("/admin/finance/reserves").content.decode()
    tasks.carry_out()

    assert (response.status_code, response["Location"]) == (302, "/admin/finance/reserves")
    assert Publication.objects.get().state == PublicationState.PUBLISHED
    text = approver.get("/admin/finance/reserves").content.decode()
    assert "published" in text
    assert "Publish now" in text
    actions = list(FinanceLog.objects.order_by("id").values_list("action", flat=True))
    assert actions == ["reserves.ask", "reserves.request", "reserves.view", "reserves.publish", "reserves.view"]


def test_a_second_request_meanwhile_is_refused_in_words(customer, staff) -> None:
    customer("alice", USDT=100)
    approver = staff(Role.APPROVER)
    approver.post("/admin/finance/reserves/publish")

    response = approver.post("/admin/finance/reserves/publish")

    assert response.status_code == 409
    assert "being made already" in response.content.decode()
    assert Publication.objects.count() == 1


@pytest.mark.parametrize("role", [Role.ACCOUNTANT, Role.AUDITOR])
def test_others_may_look_and_not_publish(customer, staff, role) -> None:
    customer("alice", USDT=100)
    signed_in = staff(role)

    assert "Publish now" not in signed_in.get("/admin/finance/reserves").content.decode()
    assert signed_in.post("/admin/finance/reserves/publish").status_code == 403
    assert signed_in.get("/admin/finance/reserves/publish").status_code == 405
    assert not Publication.objects.exists()


def test_support_and_visitors_see_no_finance_page(client, staff) -> None:
    assert client.get("/admin/finance/reserves").status_code == 302
    assert staff(Role.SUPPORT).get("/admin/finance/reserves").status_code == 403


# --- Drawing -------------------------------------------------------------------------------------------------


def _published(number: int, **ratios: str) -> statements.Published:
    figures = [
        statements.AssetFigures(asset, "", 1, Decimal(100), 100 * Decimal(ratio), [], Decimal(0), Decimal(ratio))
        for asset, ratio in ratios.items()
    ]
    return statements.Published(number, NOW, number, "", "", "", "", figures)


def test_the_longer_bar_fills_its_row_and_the_shorter_is_in_proportion() -> None:
    [figures] = _published(1, USDT="0.75").assets
    [more] = _published(1, USDT="4").assets

    assert drawing.bars(figures) == (1000, 750)
    assert drawing.bars(more) == (250, 1000)
    assert drawing.bars(figures._replace(liabilities=Decimal(0), custody_total=Decimal(0))) == (0, 0)


def test_ratios_are_drawn_from_old_to_new_and_what_is_far_above_stays_at_the_edge() -> None:
    newest_first = [_published(3, BTC="50", USDT="1"), _published(2, USDT="0.5"), _published(1, USDT="1")]

    plot = drawing.ratios(newest_first)

    assert plot is not None
    btc, usdt = plot.lines
    assert plot.whole == 168  # 240 less 240 * 1 / 3.3
    assert usdt.points == "0,168 500,204 1000,168"
    assert usdt.last == 1
    assert btc.points == "1000,22"
    assert drawing.ratios(newest_first[:1]) is None
