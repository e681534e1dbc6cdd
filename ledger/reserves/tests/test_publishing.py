"""Publications: made from the books by the back office alone, signed, and kept as they are."""

import json
from decimal import Decimal

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from django.contrib.auth import get_user_model
from django.db import connection

from exchange.kernel.errors import InvariantViolationError
from ledger.access import NotAllowedError, Role
from ledger.chart import WALLETS
from ledger.models import FinanceLog
from ledger.posting_rules import EventKind
from ledger.reserves import building, proofs, publishing, statements, verify
from ledger.reserves.models import Publication, PublicationState, TreeChunk
from ledger.reserves.publishing import NotPublishingError, PublicationWaitsError
from ledger.reserves.tests.conftest import NOW
from ledger.services import journal, roles
from ledger.tasks import WORK
from ledger.tests.factories import event, freeze
from ledger.tests.fixtures import make_asset
from ledger.tests.random_history import History

pytestmark = pytest.mark.usefixtures("books")


def test_a_statement_says_what_is_owed_and_held_at_one_entry(customer, publish) -> None:
    alice, bob = customer("alice", USDT=100, BTC="0.5"), customer("bob", USDT="0.000001")
    journal.post(
        [
            freeze("f", alice.id, 30),
            event(EventKind.CAPITAL, "c", None, 12),
            event(EventKind.INSURANCE_TOP_UP, "i", None, 5),
        ],
        NOW,
    )

    publication = publish()

    assert publication.state == PublicationState.PUBLISHED
    said = json.loads(publication.statement)
    assert {name: said[name] for name in ("format", "publication", "published_at")} == {
        "format": "exchange-reserves-1",
        "publication": publication.pk,
        "published_at": "2026-03-01T12:00:00.000000Z",
    }
    assert said["books"]["entry"] == publication.entry_id == 6
    btc, usdt = statements.published(publication.pk).assets
    assert (btc.asset, btc.liabilities, btc.custody_total) == ("BTC", Decimal("0.5"), Decimal("0.5"))
    assert btc.ratio == 1
    assert (usdt.asset, usdt.liabilities, usdt.insurance) == ("USDT", Decimal("100.000001"), Decimal(5))
    assert [(held.account, held.amount) for held in usdt.custody] == [("main", Decimal("112.000001"))]
    assert usdt.ratio == Decimal("1.1199")  # 1.119999..., rounded down
    assert bob.id != alice.id


def test_the_signature_is_of_the_statement_by_the_configured_key(customer, publish, settings) -> None:
    customer("alice", USDT=100)
    settings.RESERVES_SIGNING_KEY = "07" * 32

    publication = publish()

    key = Ed25519PublicKey.from_public_bytes(bytes(publication.public_key))
    key.verify(bytes(publication.signature), f"exchange-reserves-1\n{publication.statement}".encode())
    assert bytes(publication.public_key).hex() == "ea4a6c63e29c520abef5507b132ec5f9954776aebebe7b92421eea691446d22c"


def test_every_proof_of_a_random_history_is_proven_and_the_totals_are_the_ledgers(publish) -> None:
    history = History(users=range(1, 25), seed=11)
    history.play(500)

    publication = publish()

    known = bytes(publication.public_key).hex()
    owed = {
        user_id: {
            asset
            for (owner, code, asset, _), balance in history.balances.items()
            if owner == user_id and code in WALLETS and balance
        }
        for user_id in history.users
    }
    for user_id, assets in owed.items():
        if not assets:
            continue
        proof = proofs.proof(publication.pk, user_id)
        assert {claim["asset"] for claim in proof["assets"]} == assets
        assert list(verify.steps(json.loads(json.dumps(proof)), key=known))
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT asset, sum(balance) FROM ledger_account WHERE code = ANY (%s) GROUP BY 1 HAVING sum(balance) > 0",
            [list(WALLETS)],
        )
        ledger = dict(cursor.fetchall())
    assert {
        figures.asset: figures.liabilities
        for figures in statements.published(publication.pk).assets
        if figures.liabilities
    } == ledger


def test_debt_of_one_user_lessens_what_is_owed_to_nobody(customer, publish) -> None:
    """One user owes 30 and has nothing; what the others are owed is published in full."""
    alice = customer("alice", USDT=100)
    bob = customer("bob", USDT=1)
    journal.post([freeze("f", bob.id, 1), event(EventKind.DEBT_CHARGE, "d", bob.id, 30)], NOW)

    publication = publish()

    [usdt] = statements.published(publication.pk).assets
    assert usdt.liabilities == 101
    assert [claim["amount"] for claim in proofs.proof(publication.pk, bob.id)["assets"]] == ["100000000"]
    assert alice.balance("USDT") == 100


def test_what_is_posted_later_changes_neither_the_publication_nor_a_proof(customer, publish) -> None:
    alice = customer("alice", USDT=100)
    publication = publish()
    before = proofs.proof(publication.pk, alice.id)

    alice.deposit(USDT=50)
    customer("bob", USDT=7)

    assert proofs.proof(publication.pk, alice.id) == before
    assert publish().entry_id == 3


def test_salts_and_cuts_differ_from_publication_to_publication(customer, publish) -> None:
    alice = customer("alice", USDT=100)

    one, other = (proofs.proof(publish().pk, alice.id) for _ in range(2))

    assert one["salt"] != other["salt"]
    assert one["assets"][0]["parts"][0]["amount"] != other["assets"][0]["parts"][0]["amount"]


def test_a_tree_of_many_chunks_gives_the_same_proofs(customer, publish, monkeypatch) -> None:
    monkeypatch.setattr(building, "CHUNK_LEAVES", 4)
    customers = [customer(f"user{number}", USDT=number + 1) for number in range(11)]

    publication = publish()

    assert TreeChunk.objects.filter(publication=publication).count() == 8
    for person in customers:
        assert list(verify.steps(proofs.proof(publication.pk, person.id)))


def test_building_costs_the_same_statements_whatever_the_number_of_users(customer, django_assert_num_queries) -> None:
    for number in range(5):
        customer(f"user{number}", USDT=number + 1, BTC=1)

    with django_assert_num_queries(4):
        building.build(1, bytes(32), NOW)


def test_a_proof_reads_one_chunk_and_the_nodes_above(customer, publish, django_assert_num_queries) -> None:
    alice = customer("alice", USDT=100)
    publication = publish()

    with django_assert_num_queries(2 + 2 * 2):
        proofs.proof(publication.pk, alice.id)


# --- Who may -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", [Role.ACCOUNTANT, Role.AUDITOR, Role.SUPPORT])
def test_only_who_has_the_right_asks(customer, role) -> None:
    customer("alice", USDT=100)
    user = get_user_model().objects.create_user("someone", password="x", is_staff=True)
    roles.grant(user.pk, role)

    with pytest.raises(NotAllowedError):
        publishing.request(user, now=NOW)

    assert not Publication.objects.exists()


def test_one_at_a_time_and_everything_is_in_the_log(customer, approver) -> None:
    customer("alice", USDT=100)
    publication = publishing.request(approver, now=NOW)

    with pytest.raises(PublicationWaitsError):
        publishing.request(approver, now=NOW)

    assert WORK["reserves"](NOW) == 1
    assert WORK["reserves"](NOW) == 0
    rows = FinanceLog.objects.order_by("id").values_list("action", "subject", "user_id")
    number = str(publication.pk)
    assert list(rows) == [("reserves.request", number, approver.pk), ("reserves.publish", number, None)]


def test_an_exchange_that_does_not_publish_takes_no_request(customer, approver, settings) -> None:
    settings.RESERVES_PUBLISHING = False

    with pytest.raises(NotPublishingError):
        publishing.request(approver, now=NOW)


@pytest.mark.parametrize(
    ("key", "funds", "reason"),
    [("", {"USDT": 1}, "RESERVES_SIGNING_KEY"), ("xyz", {"USDT": 1}, "RESERVES_SIGNING_KEY"), ("5e" * 32, {}, "empty")],
)
def test_what_cannot_be_published_is_refused_with_the_reason(customer, publish, settings, key, funds, reason) -> None:
    customer("alice", **funds)
    settings.RESERVES_SIGNING_KEY = key

    publication = publish()

    assert publication.state == PublicationState.REFUSED
    assert reason in publication.refusal
    assert not TreeChunk.objects.exists()


def test_a_crash_while_publishing_leaves_the_request_as_it_was(customer, approver, monkeypatch) -> None:
    customer("alice", USDT=100)
    publication = publishing.request(approver, now=NOW)
    monkeypatch.setattr(publishing, "_store", lambda *_: 1 / 0)

    with pytest.raises(ZeroDivisionError):
        publishing.carry_out(NOW)

    publication.refresh_from_db()
    assert publication.state == PublicationState.REQUESTED


def test_amounts_finer_than_their_asset_are_a_fault_that_publishes_nothing(customer, approver) -> None:
    make_asset("TWD")
    alice = customer("alice", USDT=1)
    journal.post([event(EventKind.DEPOSIT, "d", alice.id, "0.005", "TWD")], NOW)
    publishing.request(approver, now=NOW)

    with pytest.raises(InvariantViolationError, match="no amount of quanta"):
        publishing.carry_out(NOW)

    assert Publication.objects.get().state == PublicationState.REQUESTED
