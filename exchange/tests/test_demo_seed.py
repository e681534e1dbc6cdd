import itertools
from decimal import Decimal

import pytest
from django.contrib.auth import authenticate, get_user_model

from exchange.demo import catalogue, seed
from exchange.demo.seed import DemoNameTakenError
from exchange.kernel.clock import utc_now
from exchange.kernel.errors import InvariantViolationError
from exchange.management.commands import run_demo_makers
from ledger import access
from ledger.access import RIGHTS, Right, Role
from ledger.models import Asset, DepositNotice
from ledger.reserves import proofs, verify
from ledger.reserves.models import Publication
from ledger.services import accounts
from ledger.services.accounts import AccountKey
from ledger.transfers import addresses, custody, terms
from marketdata import selectors as instruments
from marketdata.models import Instrument
from matching_worker import protocol
from matching_worker.protocol import CommandKind, OrderFlag
from risk import contract_margin
from risk.models import TraderProfile
from trading.models import Command
from trading.services import lease

pytestmark = pytest.mark.django_db

AVAILABLE = "1010"


def user_id(name: str) -> int:
    return get_user_model().objects.get(username=name).pk


def signed_in(name: str, password: str) -> int | None:
    """The id of the user of this name and password, if they may sign in."""
    user = authenticate(username=name, password=password)
    return None if user is None else user.pk


def test_the_demo_has_its_assets_instruments_and_logins() -> None:
    logins = seed.seed(now=utc_now())

    assert [(login.username, login.is_administrator) for login in logins] == [
        ("alice", False),
        ("bob", False),
        ("admin", True),
        ("accountant", False),
        ("approver", False),
        ("auditor", False),
        ("support", False),
    ]
    assert set(Asset.objects.values_list("code", flat=True)) >= {"TWD", "USD", "USDT", "BTC", "2330", "AAPL"}
    assert dict(Instrument.objects.filter(is_demo=True).values_list("symbol", "reference_price")) == {
        "2330.TW": Decimal(600),
        "BTCUSDT": Decimal(65_000),
        "BTC-PERP": Decimal(65_000),
        "AAPL": Decimal(230),
    }
    for login in logins:
        assert signed_in(login.username, login.password) == user_id(login.username)


def test_the_password_that_everybody_knows_is_hashed_once() -> None:
    seed.seed(now=utc_now())

    assert len(set(get_user_model().objects.filter(is_demo=True).values_list("password", flat=True))) == 1


def test_the_demos_staff_have_the_rights_of_their_roles() -> None:
    seed.seed(now=utc_now())

    approver = get_user_model().objects.get(username="approver")

    assert {right for right in Right if access.may(approver, right)} == RIGHTS[Role.APPROVER]


def test_demo_funds_are_deposits_in_the_ledger() -> None:
    seed.seed(now=utc_now())

    keys = [AccountKey(user_id("alice"), AVAILABLE, asset) for asset in ("TWD", "BTC")]
    balances = accounts.balances(keys)

    assert [balances[key] for key in keys] == [Decimal(10_000_000), Decimal(5)]


def test_seeding_twice_changes_nothing() -> None:
    seed.seed(now=utc_now())
    Instrument.objects.filter(symbol="AAPL").update(min_notional=7)
    before = (
        get_user_model().objects.count(), Instrument.objects.count(), DepositNotice.objects.count(),
        accounts.balances([AccountKey(user_id("bob"), AVAILABLE, "USDT")]),
    )  # fmt: skip

    seed.seed(now=utc_now())

    after = (
        get_user_model().objects.count(), Instrument.objects.count(), DepositNotice.objects.count(),
        accounts.balances([AccountKey(user_id("bob"), AVAILABLE, "USDT")]),
    )  # fmt: skip
    assert after == before
    assert Instrument.objects.get(symbol="AAPL").min_notional == 7


def test_demo_assets_come_in_and_leave_and_alice_can_withdraw_at_once() -> None:
    now = utc_now()
    seed.seed(now=now)

    routes = {route["asset"]: route for route in terms.withdrawal_routes(user_id("alice"), now=now)}

    assert set(routes) == {asset.code for asset in catalogue.ASSETS}
    assert all(route["open"] and route["left"] > route["minimum"] > route["fee"] for route in routes.values())
    assert all(addresses.usable(user_id("alice"), row.pk, now=now) for row in addresses.book(user_id("alice")))
    assert {position.account is None for position in custody.positions()} == {False}


def test_makers_may_quote_all_day_and_are_labelled() -> None:
    seed.seed(now=utc_now())

    for number in (1, 2):
        maker = get_user_model().objects.get(username=f"demo-maker-{number}")
        assert (maker.is_demo, maker.first_name) == (True, f"Demo maker {number}")
        assert TraderProfile.objects.get(user_id=maker.pk).tier_id == catalogue.MAKER_TIER


def test_without_the_demo_its_users_are_locked_out_until_it_returns() -> None:
    seed.seed(now=utc_now())

    locked = seed.lock_out()

    assert locked == len(catalogue.USERS)
    assert signed_in("admin", catalogue.DEMO_PASSWORD) is None
    seed.seed(now=utc_now())
    assert signed_in("admin", catalogue.DEMO_PASSWORD) == user_id("admin")


def test_the_demo_is_refused_outside_demo_mode(settings) -> None:
    settings.DEMO = False

    with pytest.raises(InvariantViolationError):
        seed.seed(now=utc_now())

    assert not get_user_model().objects.exists()


def test_a_real_user_of_a_demo_name_is_not_taken_over() -> None:
    get_user_model().objects.create_user("alice", password="not-the-demo-one")

    with pytest.raises(DemoNameTakenError):
        seed.seed(now=utc_now())

    assert Asset.objects.filter(code="2330").count() == 0


def test_the_demo_begins_with_one_proof_of_reserves_that_its_traders_can_check() -> None:
    seed.seed(now=utc_now())
    seed.seed(now=utc_now())

    publication = Publication.objects.get()
    said = list(verify.steps(proofs.proof(publication.pk, user_id("alice"))))
    assert said[-1].startswith("USDT: your 500000.000000 are in the ")


def test_the_demos_contract_is_open_marked_and_known_to_the_engine_as_one() -> None:
    seed.seed(now=utc_now())
    seed.seed(now=utc_now())

    spec = instruments.instrument("BTC-PERP")
    assert (spec.is_contract, spec.status, spec.leverage_max, len(spec.brackets)) == (True, "TRADING", 100, 5)
    assert instruments.states([spec.id])[spec.id].mark_price == Decimal(65_000)
    rows = Command.objects.order_by("sequence").values_list("sequence", "payload")
    read = protocol.decode([row[0] for row in rows], [bytes(row[1]) for row in rows])
    assert [int(kind) for kind in read["kind"]] == [
        *(CommandKind.SET_STATE, CommandKind.SET_STATE, CommandKind.UNCROSS),
        CommandKind.MARK_PRICE,
    ]
    assert int(read["flags"][0]) == OrderFlag.CONTRACT


def test_the_maintenance_margin_of_the_demos_contract_has_no_step_between_its_brackets() -> None:
    seed.seed(now=utc_now())
    brackets = instruments.instrument("BTC-PERP").brackets

    for below, above in itertools.pairwise(brackets):
        value = above.notional_floor
        assert contract_margin.maintenance_margin(value, brackets[: brackets.index(above)]) == (
            contract_margin.maintenance_margin(value, brackets)
        )
        assert below.leverage_max > above.leverage_max


def test_marks_are_published_when_they_move() -> None:
    seed.seed(now=utc_now())
    seeded = Command.objects.count()
    run_demo_makers.publish_marks([("BTC-PERP", Decimal(65_000))])
    run_demo_makers.publish_marks([("BTC-PERP", Decimal("65000.1"))])
    run_demo_makers.publish_marks([])

    assert Command.objects.count() == seeded + 1
    spec = instruments.instrument("BTC-PERP")
    assert instruments.states([spec.id])[spec.id].mark_price == Decimal("65000.1")


def test_with_several_shards_each_gets_instruments_and_one_that_is_configured_goes_there(settings) -> None:
    settings.SHARDS, settings.INSTRUMENT_SHARDS = 2, {"BTC-PERP": 1}
    lease.open_shard(1)

    seed.seed(now=utc_now())
    seed.seed(now=utc_now())

    placed = dict(Instrument.objects.values_list("symbol", "shard"))
    assert placed == {"2330.TW": 0, "BTCUSDT": 1, "BTC-PERP": 1, "AAPL": 0}
    assert set(Command.objects.values_list("shard", flat=True)) == {1}
