"""GET /api/v1/account/statement: a user's own movements, page by page, and nobody else's."""

import pytest

from ledger.tests.history import march

pytestmark = pytest.mark.usefixtures("books")

PATH = "/account/statement"


@pytest.fixture
def alice(api, people):
    return api.as_user(people[0].user)


def brief(item: dict) -> tuple:
    return item["kind"], item["reference"], item["change"], item["after"]["balance"]


def test_movements_come_oldest_first_with_the_balance_after_each(alice) -> None:
    answer = alice.get(f"{PATH}?asset=USDT")

    assert answer.status == 200
    assert answer.data["opening"] == []
    assert [brief(item) for item in answer.data["items"]] == [
        ("deposit", "deposit:alice", "10000", "10000"),
        ("spot_fill", "trade:1", "-5001", "4999"),
        ("deposit", "deposit:late", "100", "5099"),
    ]
    assert answer.data["closing"] == [
        {"asset": "USDT", "balance": "5099", "available": "4799", "frozen": "300", "margin": "0", "debt": "0"}
    ]
    assert answer.data["next_cursor"] is None


def test_a_period_has_its_opening_and_its_late_entries(alice) -> None:
    answer = alice.get(f"{PATH}?asset=USDT&from=2026-03-02&to=2026-03-02")

    assert [item["balance"] for item in answer.data["opening"]] == ["10000"]
    assert [brief(item)[1:] for item in answer.data["items"]] == [
        ("trade:1", "-5001", "4999"),
        ("deposit:late", "100", "5099"),
    ]
    late = answer.data["items"][1]
    assert (late["late"], late["counted_from"], late["recorded_at"]) == (
        True,
        "2026-03-02T18:00:00.000000Z",
        "2026-03-05T12:00:00.000000Z",
    )


def test_a_moment_may_be_given_with_its_zone(alice) -> None:
    answer = alice.get(f"{PATH}?asset=USDT&from=2026-03-02T17:00:00%2B08:00&to=2026-03-02T09:00:00Z")

    assert [item["reference"] for item in answer.data["items"]] == ["trade:1"]


def test_holds_are_listed_when_asked_for(alice) -> None:
    answer = alice.get(f"{PATH}?asset=USDT&from=2026-03-06&holds=true")

    [hold] = answer.data["items"]
    assert brief(hold) == ("order_freeze", "order:3:freeze", "0", "5099")
    assert (hold["after"]["available"], hold["after"]["frozen"]) == ("4799", "300")


def test_pages_follow_each_other_without_gap(alice) -> None:
    seen: list[tuple] = []
    cursor: str | None = ""
    while cursor is not None:
        page = alice.get(f"{PATH}?limit=1{f'&cursor={cursor}' if cursor else ''}").data
        seen += [(item["reference"], item["after"]["asset"], item["after"]["balance"]) for item in page["items"]]
        cursor = page["next_cursor"]

    assert seen == [
        ("deposit:alice", "USDT", "10000"),
        ("trade:1", "BTC", "0.1"),
        ("trade:1", "USDT", "4999"),
        ("deposit:late", "USDT", "5099"),
    ]


def test_nobody_sees_anothers_statement(api, people) -> None:
    _, bob = people

    answer = api.as_user(bob.user).get(PATH)

    assert [item["reference"] for item in answer.data["items"]] == [
        "deposit:bob",
        "trade:1",
        "trade:1",
        "withdrawal:1:settle",
    ]
    assert [item["balance"] for item in answer.data["closing"]] == ["0.9", "3999"]


def test_without_a_sign_in_nothing_is_told(api, people) -> None:
    assert api.get(PATH).status == 401


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("from=yesterday", "from"),
        ("from=2026-03-02T09:00:00", "from"),
        ("to=2026-02-30", "to"),
        ("from=2026-03-05&to=2026-03-01", "to"),
        ("holds=1", "holds"),
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("owner=1", "owner"),
        ("asset=ABCDEFGHIJKLMNOPQ", "asset"),
    ],
)
def test_what_makes_no_sense_is_refused_by_field(alice, query, field) -> None:
    answer = alice.get(f"{PATH}?{query}")

    assert answer.status == 400
    assert list(answer.data["fields"]) == [field]


def test_a_strange_cursor_is_refused(alice) -> None:
    assert alice.get(f"{PATH}?cursor=abc").error == "INVALID_CURSOR"


def test_an_unknown_asset_has_no_movements(alice) -> None:
    answer = alice.get(f"{PATH}?asset=XYZ&from={march(1):%Y-%m-%d}")

    assert (answer.data["opening"], answer.data["items"], answer.data["closing"]) == ([], [], [])


def test_a_page_is_a_constant_number_of_statements(alice, django_assert_max_num_queries) -> None:
    alice.get(PATH)

    with django_assert_max_num_queries(8):
        alice.get(f"{PATH}?from=2026-03-01&to=2026-03-04&holds=true")
