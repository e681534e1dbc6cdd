"""The pages of reconciliation: who sees them, what they say, and what may be done there."""

import pytest

from exchange.observability import metrics
from ledger.access import Role
from ledger.models import FinanceLog
from ledger.reconciliation import checks, runner
from ledger.reconciliation.models import Break, ReconciliationRun, RunKind
from ledger.services import roles
from ledger.tests.factories import NOW
from ledger.tests.test_reconciliation_runner import check_of, finding

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.filterwarnings("ignore:No directory at:UserWarning"),  # whitenoise: static files are not collected
]
PAGES = ("/admin/finance/reconciliation", "/admin/finance/breaks")


@pytest.fixture
def people(django_user_model):
    """One person of each role, and a trader."""
    made = {"trader": django_user_model.objects.create_user("trader", password="x")}
    for role in Role:
        made[str(role)] = django_user_model.objects.create_user(f"the-{role}", password="x", is_staff=True)
        roles.grant(made[str(role)].pk, role)
    return made


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Break:
    """Two breaks of a check of the test's own."""
    monkeypatch.setattr(checks, "_REGISTER", {})
    checks.register(check_of([finding("this", amount=5, asset="USDT"), finding("that")]))
    runner.look(runner.start(RunKind.CONTINUOUS, now=NOW), now=NOW)
    return Break.objects.get(subject="this")


@pytest.mark.parametrize(
    ("who", "status"), [("accountant", 200), ("approver", 200), ("auditor", 200), ("support", 403), ("trader", 403)]
)
def test_who_may_see_the_books_sees_their_reconciliation(client, people, broken, who, status) -> None:
    client.force_login(people[who])

    for url in (*PAGES, f"/admin/finance/breaks/{broken.pk}"):
        assert client.get(url).status_code == status


def test_a_visitor_is_sent_to_the_sign_in_page(client, broken) -> None:
    assert client.get(PAGES[0])["Location"].startswith("/login")


def test_the_overview_says_what_is_checked_and_how_it_stands(client, people, broken) -> None:
    client.force_login(people["auditor"])

    text = client.get(PAGES[0]).content.decode()

    for shown in ("test.check", "this with that", "12 s", 'href="/admin/finance/breaks?check=test.check">2<'):
        assert shown in text
    assert "break-banner" not in text.split("<body", 1)[1]
    assert 'action="/admin/finance/reconciliation/run"' not in text


def test_those_who_work_on_breaks_are_told_on_every_finance_page(client, people, broken) -> None:
    client.force_login(people["accountant"])

    text = client.get(PAGES[0]).content.decode()

    assert "2 breaks are not resolved." in text


def test_breaks_are_listed_by_what_is_asked_for(client, people, broken) -> None:
    client.force_login(people["accountant"])
    Break.objects.filter(subject="that").update(state="EXPLAINED", owner=people["approver"])

    def subjects(query: str) -> set[str]:
        page = client.get(f"/admin/finance/breaks{query}")
        return {found["row"].subject for found in page.context["breaks"]}

    assert subjects("") == {"this", "that"}
    assert subjects("?state=OPEN") == {"this"}
    assert subjects("?state=RESOLVED") == set()
    assert subjects("?state=all") == {"this", "that"}
    assert subjects(f"?owner={people['approver'].pk}") == {"that"}
    assert subjects("?check=test.check&asset=") == {"this", "that"}
    assert subjects("?check=nonsense&owner=x&before=x") == {"this", "that"}


def test_lists_go_on_page_by_page(client, people, broken, monkeypatch) -> None:
    monkeypatch.setattr("ledger.reconciliation.views.PAGE_BREAKS", 1)
    client.force_login(people["auditor"])

    first = client.get("/admin/finance/breaks?state=OPEN")
    second = client.get(f"/admin/finance/breaks{first.context['next']}")

    shown = [page.context["breaks"][0]["row"].subject for page in (first, second)]
    assert sorted(shown) == ["that", "this"]
    assert second.context["next"] == ""


def test_a_break_is_assigned_and_resolved_on_its_page(client, people, broken) -> None:
    client.force_login(people["accountant"])
    url = f"/admin/finance/breaks/{broken.pk}"

    client.post(f"{url}/work", {"action": "assign", "owner": people["approver"].pk, "text": "please"})
    client.post(f"{url}/work", {"action": "resolve", "text": "repaired"})

    broken.refresh_from_db()
    assert (broken.state, broken.owner) == ("RESOLVED", people["approver"])
    text = client.get(url).content.decode()
    for shown in ("please", "repaired", "the-accountant", "1 where 2 was due", "5 USDT"):
        assert shown in text
    logged = list(FinanceLog.objects.exclude(action__endswith=".view").order_by("id").values_list("action", flat=True))
    assert logged == ["break.work", "break.assigned", "break.work", "break.resolved"]


def test_a_refusal_is_said_in_words(client, people, broken) -> None:
    client.force_login(people["accountant"])

    page = client.post(f"/admin/finance/breaks/{broken.pk}/work", {"action": "resolve", "text": ""}, follow=True)

    assert "Say why, in at most 2000 characters." in page.content.decode()
    broken.refresh_from_db()
    assert broken.state == "OPEN"


@pytest.mark.parametrize("who", ["auditor", "support", "trader"])
def test_who_may_not_work_on_breaks_changes_nothing(client, people, broken, who) -> None:
    client.force_login(people[who])

    done = client.post(f"/admin/finance/breaks/{broken.pk}/work", {"action": "comment", "text": "x"})
    asked = client.post("/admin/finance/reconciliation/run")

    assert (done.status_code, asked.status_code) == (403, 403)
    assert broken.events.count() == 1
    assert not ReconciliationRun.objects.filter(kind="FULL").exists()


@pytest.mark.parametrize("url", ["/admin/finance/breaks/0", "/admin/finance/breaks/999999999"])
def test_a_break_that_is_not_there_is_not_found(client, people, broken, url) -> None:
    client.force_login(people["accountant"])

    assert client.get(url).status_code == 404
    assert client.post(f"{url}/work", {"action": "comment", "text": "x"}).status_code == 404
    assert client.post("/admin/finance/reconciliation/run", {"check": "nonsense"}).status_code == 404


def test_a_full_pass_is_asked_for_once(client, people, broken) -> None:
    client.force_login(people["accountant"])

    first = client.post("/admin/finance/reconciliation/run", {"check": "test.check"}, follow=True)
    second = client.post("/admin/finance/reconciliation/run", follow=True)

    assert "was requested" in first.content.decode()
    assert "waiting or running already" in second.content.decode()
    run = ReconciliationRun.objects.get(kind="FULL")
    assert (run.only, run.state, run.requested_by) == ("test.check", "REQUESTED", people["accountant"])


def test_prometheus_reads_breaks_and_lag_from_a_web_process(client, broken) -> None:
    text = client.get("/metrics").content.decode()

    assert 'exchange_reconciliation_breaks{check="test.check"} 2.0' in text
    assert 'exchange_reconciliation_behind{check="test.check"} 0.0' in text
    assert 'exchange_reconciliation_look_age_seconds{check="test.check"}' in text


def test_a_measurement_that_fails_leaves_the_other_metrics(client, monkeypatch, db) -> None:
    def fail() -> None:
        raise RuntimeError("no figures today")

    monkeypatch.setattr(metrics, "ON_SCRAPE", [fail])

    assert "exchange_orders_received" in client.get("/metrics").content.decode()
