"""The story of everything: found by each of its names, told whole, linked, and nothing is made up."""

import json
from contextlib import nullcontext
from decimal import Decimal
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from exchange.embedded import session
from exchange.kernel.clock import utc_now
from ledger.access import Role
from ledger.models import JournalEntry
from ledger.services import finance_log, roles
from ledger.tests.reconciling import damage, full
from ledger.tracing import story
from ledger.tracing.labels import LABELS
from ledger.tracing.story import Kind, NothingFoundError, Story, Term
from ledger.tracing.views import TITLES
from trading.models import Trade
from trading.services import orders
from trading.services.requests import AmendOrder, Submission
from trading.tests.road import fresh, limit, make_instrument, market, place, run_worker_once
from trading.tracing import commands

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.filterwarnings("ignore:No directory at:UserWarning"),  # whitenoise: static files are not collected
]


@pytest.fixture
def road(customer) -> dict[str, Any]:
    """Alice buys of two sellers by one order, amends and cancels another; dave trades apart."""
    make_instrument()
    alice, bob, carol, dave = (
        customer("alice", USDT=10_000),
        customer("bob", BTC=1),
        customer("carol", BTC=1),
        customer("dave", USDT=1_000),
    )
    place(bob.id, limit("BTCUSDT", "sell", "0.0010", "50000.00"))
    place(carol.id, limit("BTCUSDT", "sell", "0.0050", "50010.00"))
    run_worker_once()
    [buy] = place(alice.id, limit("BTCUSDT", "buy", "0.0020", "50010.00", client_order_id="mine-1"))
    [rest] = place(alice.id, limit("BTCUSDT", "buy", "0.0100", "49000.00"))
    run_worker_once()
    orders.submit([Submission(alice.id, AmendOrder(rest.id, price=Decimal("49100.00")))], now=utc_now())
    run_worker_once()
    orders.cancel(alice.id, [rest.id], now=utc_now())
    place(dave.id, market("BTCUSDT", "buy", "0.0010"))
    run_worker_once()
    return {"alice": alice, "bob": bob, "carol": carol, "buy": fresh(buy), "rest": fresh(rest)}


def told(term: str, *, thorough: bool = True) -> Story:
    return story.tell(term, thorough=thorough)


def section(of: Story, name: str) -> list[story.Fact]:
    return next((item.facts for item in of.sections if item.name == name), [])


def keys(of: Story) -> list[str]:
    return [fact.details["key"] for fact in section(of, "entries")]


def test_an_orders_story_is_whole_and_no_other_orders(road) -> None:
    buy = road["buy"]
    trades = list(Trade.objects.filter(buy_order_id=buy.id).order_by("number"))

    found = told(f"order:{buy.id}")

    assert [item.name for item in found.sections] == [
        "orders",
        "commands",
        "engine_events",
        "trades",
        "entries",
        "private_events",
        "outbox",
    ]
    assert [fact.details["order"] for fact in section(found, "orders")] == [buy.id]
    [command] = section(found, "commands")
    assert (command.details["kind"], command.details["order_id"]) == ("PLACE", buy.id)
    assert command.details["sequence"] == buy.sequence
    assert [fact.details["kind"] for fact in section(found, "engine_events")] == ["FILL", "FILL"]
    assert [fact.details["trade"] for fact in section(found, "trades")] == [trade.id for trade in trades]
    assert keys(found) == [f"order:{buy.id}:freeze", *(f"trade:{trade.id}" for trade in trades)]
    told_private = {(fact.details["user"], fact.details["channel"]) for fact in section(found, "private_events")}
    assert told_private >= {(buy.user_id, "orders"), (buy.user_id, "fills"), (road["bob"].id, "fills")}
    events = [fact.details["kind"] for fact in section(found, "outbox")]
    assert sorted(events) == ["FundsFreezeRequested", "FundsFrozen", "TradeExecuted", "TradeExecuted"]


def test_an_amended_and_cancelled_orders_commands_and_entries_are_found(road) -> None:
    rest = road["rest"]

    found = told(f"order:{rest.id}")

    assert [fact.details["kind"] for fact in section(found, "commands")] == ["PLACE", "AMEND", "CANCEL"]
    assert [fact.details["kind"] for fact in section(found, "engine_events")] == [
        "RESTED",
        "AMENDED",
        "RESTED",
        "CANCELLED",
    ]
    kinds = [key.split(":")[0] + ":" + key.split(":")[-1] for key in keys(found)]
    assert kinds[0] == "order:freeze"
    assert f"order:{rest.id}:unfreeze" in keys(found)
    assert all(fact.details["trace"] == rest.trace for fact in section(found, "entries"))
    assert sum(1 for key in keys(found) if key.startswith(f"order:{rest.id}:amend:")) == 1
    assert sum(1 for key in keys(found) if key.startswith("command:")) == 1


@pytest.mark.parametrize("name", ["number", "client", "user and client", "trace"])
def test_an_order_is_found_by_each_of_its_names(road, name: str) -> None:
    buy = road["buy"]
    terms = {
        "number": str(buy.id),
        "client": "mine-1",
        "user and client": f"client:{buy.user_id}/mine-1",
        "trace": buy.trace,
    }

    found = told(terms[name])

    assert buy.id in found.found[Kind.ORDER]
    assert f"order:{buy.id}:freeze" in keys(found)
    assert any(key.startswith("trade:") for key in keys(found))


def test_a_trades_story_has_both_orders_and_not_their_other_trades(road) -> None:
    trade = Trade.objects.filter(seller_id=road["carol"].id).order_by("number").first()
    assert trade is not None
    assert Trade.objects.filter(sell_order_id=trade.sell_order_id).count() == 2

    found = told(f"trade:{trade.id}")

    assert {fact.details["order"] for fact in section(found, "orders")} == {trade.buy_order_id, trade.sell_order_id}
    assert [fact.details["trade"] for fact in section(found, "trades")] == [trade.id]
    assert keys(found) == [f"trade:{trade.id}"]
    assert trade.sequence in {fact.details["sequence"] for fact in section(found, "commands")}


@pytest.mark.parametrize("by", ["number", "hash and number", "key"])
def test_an_entry_leads_to_what_made_it_with_its_lines_in_both_views(road, by: str) -> None:
    entry = JournalEntry.objects.filter(kind="SPOT_FILL").order_by("id").first()
    assert entry is not None
    term = {"number": f"entry:{entry.pk}", "hash and number": f"#{entry.pk}", "key": entry.key}[by]

    found = told(term)

    fact = next(fact for fact in section(found, "entries") if fact.details["entry"] == entry.pk)
    lines = dict(fact.tables)
    assert {row["account"] for row in lines["user_journal"]} >= {"wallet.available", "conversion"}
    assert {row["account"] for row in lines["platform_journal"]} >= {"user.available", "revenue.trading_fee"}
    assert entry.key.removeprefix("trade:") in {str(fact.details["trade"]) for fact in section(found, "trades")}
    assert section(found, "orders")


def test_deposits_are_found_by_key(road, customer) -> None:
    entry = JournalEntry.objects.filter(kind="DEPOSIT").order_by("id").first()
    assert entry is not None

    found = told(f"deposit:{entry.key}")

    [fact] = section(found, "deposits")
    assert (fact.details["key"], fact.details["state"]) == (entry.key, "CREDITED")
    assert keys(found) == [entry.key]
    assert told(entry.key).found[Kind.ENTRY] == {entry.pk}


def test_breaks_and_the_finance_log_belong_to_the_story(road) -> None:
    trade = Trade.objects.order_by("number").first()
    assert trade is not None
    damage(f"UPDATE trades SET buyer_fee = buyer_fee + 1 WHERE id = {trade.id}")
    full("trades.entries")
    entry = JournalEntry.objects.get(key=f"trade:{trade.id}")
    finance_log.record("entry.comment", now=utc_now(), subject=str(entry.pk))
    finance_log.record("withdrawal.view", now=utc_now(), subject=str(entry.pk))
    finance_log.record("proposal.make", now=utc_now(), subject=str(entry.pk))  # of another entry, of that number

    found = told(f"trade:{trade.id}")

    assert {fact.details["state"] for fact in section(found, "breaks")} == {"OPEN"}
    assert [fact.what for fact in section(found, "finance_log")] == [f"exchange: entry.comment {entry.pk}"]


@pytest.mark.parametrize("term", ["", "   ", "999999999", "order:999999999", "nonsense", "trace:0123456789abcdef" * 2])
def test_what_is_not_known_is_said(road, term: str) -> None:
    with pytest.raises(NothingFoundError):
        told(term)


@pytest.mark.parametrize(
    ("text", "term"),
    [
        ("17", Term(None, "17")),
        (" #17 ", Term(None, "17")),
        ("order:17", Term(Kind.ORDER, "17")),
        ("order:17:freeze", Term(None, "order:17:freeze")),
        ("key:order:17:freeze", Term(Kind.KEY, "order:17:freeze")),
        ("client:5/a:b", Term(Kind.CLIENT, "5/a:b")),
        ("bank:ref", Term(None, "bank:ref")),
    ],
)
def test_terms_say_what_they_are_about(text: str, term: Term) -> None:
    assert Term.parse(text) == term


def test_a_search_by_halves_finds_commands_in_few_statements(road, django_assert_max_num_queries) -> None:
    with django_assert_max_num_queries(16):  # of 7 commands: two heads, twice at most 3 looks, the commands
        found = commands.near(0, road["buy"].created_at, [road["buy"].id])

    assert [row[1] for row in found] == [road["buy"].sequence]


def test_the_command_tells_in_words_and_in_json(road, monkeypatch) -> None:
    monkeypatch.setattr(session, "servers", lambda _: nullcontext())
    buy = road["buy"]

    output = StringIO()
    call_command("trace", f"order:{buy.id}", stdout=output)
    text = output.getvalue()
    for words in (
        f"order {buy.id}: buy 0.002 BTCUSDT at 50010",
        "PLACE",
        "SPOT_FILL",
        "wallet.order_hold",
        "user.order_hold",
    ):
        assert words in text

    output = StringIO()
    call_command("trace", f"order:{buy.id}", "--json", "--quick", stdout=output)
    found = json.loads(output.getvalue())
    assert found["found"] == {"order": [str(buy.id)]}
    assert "engine_events" not in [item["name"] for item in found["sections"]]
    [entry, *_] = next(item["facts"] for item in found["sections"] if item["name"] == "entries")
    assert [row["account"] for row in entry["user_journal"]] == ["wallet.order_hold", "wallet.available"]
    with pytest.raises(CommandError, match="Nothing is known as nonsense") as refusal:
        call_command("trace", "nonsense", stdout=StringIO())
    assert refusal.value.returncode == 1


@pytest.fixture
def auditor(client, django_user_model):
    user = django_user_model.objects.create_user("audrey", password="x", is_staff=True)
    roles.grant(user.pk, Role.AUDITOR)
    client.force_login(user)
    return client


def test_the_page_tells_a_story_with_links(road, auditor) -> None:
    buy = road["buy"]
    entry = JournalEntry.objects.get(key=f"order:{buy.id}:freeze")

    text = auditor.get("/admin/finance/trace", {"id": f"order:{buy.id}"}).content.decode()

    for shown in (
        f"order {buy.id}: buy 0.002 BTCUSDT",
        f'href="/admin/finance/trace?id=entry%3A{entry.pk}"',
        f'href="/admin/ledger/journalentry/{entry.pk}/change/"',
        "wallet.order_hold",
        "user.order_hold",
    ):
        assert shown in text


def test_every_detail_of_a_story_has_a_name_that_people_read(road) -> None:
    trade = Trade.objects.order_by("number").first()
    assert trade is not None
    deposit = JournalEntry.objects.filter(kind="DEPOSIT").order_by("id").first()
    assert deposit is not None
    stories = [told(f"trade:{trade.id}"), told(f"order:{road['rest'].id}"), told(f"deposit:{deposit.key}")]

    names = {name for one in stories for part in one.sections for fact in part.facts for name in fact.details}

    assert names <= set(LABELS)
    assert {part.name for one in stories for part in one.sections} <= set(TITLES)


def test_the_page_speaks_chinese(road, auditor) -> None:
    buy = road["buy"]

    text = auditor.get(
        "/admin/finance/trace", {"id": f"order:{buy.id}"}, headers={"accept-language": "zh-hant"}
    ).content.decode()

    for shown in (f"委託 {buy.id}", "買賣方向", "尚凍結", "分錄", "領域事件"):
        assert shown in text


def test_the_page_says_that_nothing_is_known(road, auditor) -> None:
    page = auditor.get("/admin/finance/trace", {"id": "<b>nonsense"})

    assert page.status_code == 404
    assert "Nothing is known as &lt;b&gt;nonsense" in page.content.decode()
    assert auditor.get("/admin/finance/trace").status_code == 200


def test_only_who_may_see_the_books_may_trace(road, client, django_user_model) -> None:
    for name, is_staff in (("trader", False), ("support", True)):
        user = django_user_model.objects.create_user(name, password="x", is_staff=is_staff)
        if is_staff:
            roles.grant(user.pk, Role.SUPPORT)
        client.force_login(user)
        assert client.get("/admin/finance/trace", {"id": "1"}).status_code == 403
