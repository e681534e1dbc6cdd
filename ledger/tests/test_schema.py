"""Attacks on the tables, by the application's roles and by their owner: the database refuses each one."""

from datetime import UTC, datetime
from decimal import Decimal

import psycopg
import pytest
from django.db import DatabaseError, connection, transaction

from ledger import audit, posting_rules, selectors
from ledger.chart import CHART, AccountCode
from ledger.models import JournalEntry
from ledger.posting_rules import EventKind
from ledger.services import accounts, grants, journal
from ledger.services.accounts import AccountKey
from ledger.services.journal import EntryDraft
from ledger.tests.fixtures import make_asset

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
pytestmark = pytest.mark.usefixtures("books")

FORGED_ENTRY = (
    "INSERT INTO ledger_entry SELECT {id}, kind, 'again', effective_at, late, recorded_at, trace, NULL,"
    " pg_current_xact_id(), hash FROM ledger_entry"
)
UPDATE = "ON CONFLICT ON CONSTRAINT ledger_account_key DO UPDATE SET balance = excluded.balance + 1000"
WRITES = [
    "UPDATE ledger_entry SET trace = 'x'",
    "UPDATE ledger_entry SET effective_at = now() WHERE id = 1",
    "DELETE FROM ledger_entry",
    "DELETE FROM ledger_entry WHERE false",
    "TRUNCATE ledger_entry",
    "UPDATE ledger_line SET amount = amount * 2",
    "UPDATE ledger_line SET balance_after = 1000000 WHERE entry_id = 1 AND n = 1",
    "DELETE FROM ledger_line",
    "DELETE FROM ledger_line WHERE entry_id = 1",
    "TRUNCATE ledger_line",
    "TRUNCATE ledger_line, ledger_entry, ledger_account CASCADE",
    "DELETE FROM ledger_account",
    "TRUNCATE ledger_account",
    "UPDATE ledger_account SET balance = balance + 1000 WHERE code = '1010'",
    "UPDATE ledger_account SET balance = 0",
    "UPDATE ledger_account SET owner_id = 999 WHERE owner_id IS NOT NULL",
    "UPDATE ledger_account SET code = '1020' WHERE code = '1010'",
    "UPDATE ledger_account SET asset = 'BTC'",
    "UPDATE ledger_account SET sub = 'x'",
    "UPDATE ledger_account SET bound = 0",
    "UPDATE ledger_account SET face = 'USER'",
    "INSERT INTO ledger_account (owner_id, code, asset, balance) VALUES (77, '1010', 'USDT', 5)",
    "INSERT INTO ledger_account (owner_id, code, asset) VALUES (77, '1010', 'NOSUCH')",
    "INSERT INTO ledger_account (owner_id, code, asset) VALUES (NULL, '1010', 'USDT')",
    "INSERT INTO ledger_account (owner_id, code, asset) VALUES (77, '1110', 'USDT')",
    "INSERT INTO ledger_account (owner_id, code, asset) VALUES (77, '9999', 'USDT')",
    "UPDATE ledger_account SET balance = balance",
    "UPDATE ledger_account SET balance_before = 5",
    "UPDATE ledger_account SET balance_before = balance, balance = balance + 1, last_entry_id = last_entry_id + 1",
    "INSERT INTO ledger_account SELECT * FROM ledger_account",
    "INSERT INTO ledger_account (owner_id, code, asset, balance_before) VALUES (77, '1010', 'USDT', 5)",
    "INSERT INTO ledger_account (owner_id, code, asset, last_entry_id) VALUES (77, '1010', 'USDT', 5)",
    f"INSERT INTO ledger_account (owner_id, code, asset) SELECT owner_id, code, asset FROM ledger_account {UPDATE}",
    "INSERT INTO ledger_line SELECT entry_id, 99, account_id, amount, balance_after FROM ledger_line",
    "INSERT INTO ledger_line SELECT * FROM ledger_line ON CONFLICT (entry_id, n) DO UPDATE SET amount = 1000000",
    "INSERT INTO ledger_entry SELECT * FROM ledger_entry ON CONFLICT (id) DO UPDATE SET trace = 'x'",
    "MERGE INTO ledger_line l USING ledger_line o ON o.n = l.n WHEN MATCHED THEN DELETE",
    "MERGE INTO ledger_line l USING ledger_line o ON o.n = l.n WHEN MATCHED THEN UPDATE SET amount = 1",
    "WITH gone AS (DELETE FROM ledger_line RETURNING 1) SELECT count(*) FROM gone",
    "UPDATE user_journal SET amount = 1000000",
    "DELETE FROM platform_journal",
    "INSERT INTO ledger_chart VALUES ('9999', 'mine', 'USER', 0, 'ASSET', NULL)",
    FORGED_ENTRY.format(id=2),
    FORGED_ENTRY.format(id=7),
    "DELETE FROM ledger_head",
    "UPDATE ledger_head SET entry_id = 0",
    "UPDATE ledger_head SET entry_id = entry_id + 1",
    "UPDATE ledger_head SET hash = sha256('')",
    "UPDATE ledger_head SET recorded_at = '2999-01-01'",
    "UPDATE ledger_head SET closed_before = '1999-01-01'",
    "UPDATE ledger_head SET closed_before = '2026-01-01'",
    "INSERT INTO ledger_period SELECT 1, 'CLOSE', '1990-01-01', '2020-01-01', 'w', 1, now(), 1, hash FROM ledger_head",
    "UPDATE ledger_period SET reason = 'other'",
    "DELETE FROM ledger_period",
    "TRUNCATE ledger_period",
    "INSERT INTO ledger_head (id, entry_id, hash, recorded_at) VALUES (2, 0, '', now())",
    "UPDATE ledger_asset SET code = 'USDX' WHERE code = 'USDT'",
    "UPDATE ledger_asset SET decimals = 2 WHERE code = 'USDT'",
    "DELETE FROM ledger_asset WHERE code = 'USDT'",
]
OWN_TABLES_OF_THE_ROLES = ("UPDATE ledger_asset", "DELETE FROM ledger_asset")


def _refused(statement: str, params: list | dict | None = None) -> str:
    """Run a statement that must be refused; return the constraint, or the SQLSTATE where there is none."""
    with pytest.raises(DatabaseError) as caught, transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement, params)
    assert isinstance(caught.value.__cause__, psycopg.Error)
    diagnosis = caught.value.__cause__.diag
    return diagnosis.constraint_name or diagnosis.sqlstate or ""


def _books_as_text() -> str:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT (SELECT string_agg(e::text, ';' ORDER BY id) FROM ledger_entry e)"
            " || (SELECT string_agg(l::text, ';' ORDER BY entry_id, n) FROM ledger_line l)"
            " || (SELECT string_agg(a::text, ';' ORDER BY id) FROM ledger_account a)"
            " || (SELECT h::text FROM ledger_head h)"
        )
        return cursor.fetchone()[0]


@pytest.fixture
def role():
    """Act as a role of the application until the test ends."""

    def become(name: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL ROLE {name}")

    yield become
    with connection.cursor() as cursor:
        cursor.execute("RESET ROLE")


@pytest.mark.parametrize("statement", WRITES)
def test_the_owner_of_the_tables_cannot_change_what_is_written(customer, statement) -> None:
    customer("alice", USDT=100)
    before = _books_as_text()

    _refused(statement)

    assert _books_as_text() == before


@pytest.mark.parametrize("name", grants.ROLES)
@pytest.mark.parametrize("statement", [w for w in WRITES if not w.startswith(OWN_TABLES_OF_THE_ROLES)])
def test_a_role_of_the_application_cannot_write_the_books(customer, role, name, statement) -> None:
    customer("alice", USDT=100)
    before = _books_as_text()
    role(name)

    sqlstate = _refused(statement)

    assert sqlstate in {"42501", "55000", "428C9"}  # no right; a view of several tables; a number of one's own
    assert _books_as_text() == before


@pytest.mark.parametrize("name", grants.ROLES)
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ledger_head SET entry_id = 0",
        "INSERT INTO ledger_posting_right VALUES ('exchange_web', '*')",
        "DELETE FROM ledger_posting_right",
        "INSERT INTO ledger_fact_kind VALUES ('DEPOSIT')",
        "DELETE FROM ledger_fact_kind",
        "DELETE FROM ledger_read_only",
        "INSERT INTO ledger_callable VALUES ('ledger_refuse(text, text, text)', '*')",
        "ALTER TABLE ledger_line DISABLE TRIGGER ALL",
        "DROP TRIGGER ledger_line_check ON ledger_line",
        "DROP TABLE ledger_line",
        "SET session_replication_role = replica",
        "CREATE FUNCTION public.sha256(bytea) RETURNS bytea LANGUAGE sql AS 'SELECT $1'",
        "SELECT ledger_refuse('a', 'b', 'c')",
        "SELECT ledger_grant_roles()",
        "SELECT setval('ledger_account_id_seq', 1)",
        "LOCK TABLE ledger_line IN ACCESS EXCLUSIVE MODE",
        "SELECT * FROM ledger_head FOR UPDATE",
        "COPY ledger_line FROM PROGRAM 'echo'",
        "CREATE TEMP TABLE more () INHERITS (ledger_line)",
        "CREATE RULE more AS ON SELECT TO ledger_posting_right DO INSTEAD SELECT 'exchange_web', '*'",
        "ALTER FUNCTION ledger_check_lines() OWNER TO exchange_web",
        "ALTER TABLE ledger_account DROP CONSTRAINT ledger_account_bound",
        "CREATE TRIGGER mine BEFORE INSERT ON ledger_line FOR EACH ROW EXECUTE FUNCTION ledger_refuse_change()",
        "DROP VIEW user_journal",
        "CREATE TABLE public.ledger_mine (x int)",
        "SELECT ledger_refuse_bound(1, 1)",
        "SELECT ledger_check_right('{}')",
        "SELECT ledger_check_by_people(e) FROM ledger_entry e",
    ],
)
def test_a_role_of_the_application_cannot_loosen_its_bonds(customer, role, name, statement) -> None:
    customer("alice", USDT=100)
    role(name)

    assert _refused(statement) == "42501"


def test_a_role_cannot_pass_on_a_right_it_lacks(customer, role) -> None:
    customer("alice", USDT=100)
    role("exchange_web")

    with connection.cursor() as cursor:
        cursor.execute("GRANT INSERT ON ledger_line TO PUBLIC")  # PostgreSQL only warns
        cursor.execute("SELECT has_table_privilege('ledger_line', 'INSERT')")
        assert cursor.fetchone()[0] is False


@pytest.mark.parametrize("name", grants.ROLES)
def test_every_role_can_read_the_books_and_audit_them(customer, role, name) -> None:
    alice = customer("alice", USDT=100)
    role(name)

    results = audit.invariants()

    assert {result.ok for result in results} == {True}
    assert len(selectors.user_journal(alice.id)) == 2
    assert selectors.entry_in_platform_journal(1)[1].account == "custody"


def test_each_role_posts_its_own_kinds_only(customer, role) -> None:
    alice = customer("alice", USDT=100)
    freeze = _freeze(alice.id, "freeze-1")
    capital = _capital("capital-1")
    role("exchange_web")

    journal.post([freeze], NOW)
    with pytest.raises(DatabaseError) as caught, transaction.atomic():
        journal.post([capital], NOW)

    assert isinstance(caught.value.__cause__, psycopg.errors.InsufficientPrivilege)
    assert "exchange_web may not post CAPITAL" in str(caught.value)
    assert alice.balances("USDT") == {"available": 90, "order_hold": 10}


def test_a_batch_with_one_kind_that_is_not_of_the_role_is_refused_whole(customer, role) -> None:
    alice = customer("alice", USDT=100)
    batch = [_freeze(alice.id, "freeze-1"), _capital("capital-1"), _freeze(alice.id, "freeze-2")]
    role("exchange_web")

    with pytest.raises(DatabaseError, match="exchange_web may not post CAPITAL") as caught, transaction.atomic():
        journal.post(batch, NOW)

    assert isinstance(caught.value.__cause__, psycopg.errors.InsufficientPrivilege)
    assert alice.balances("USDT") == {"available": 100, "order_hold": 0}


def test_a_role_can_work_on_ordinary_tables(customer, role) -> None:
    alice = customer("alice", USDT=100)
    role("exchange_web")

    bob = customer("bob", USDT=5)
    alice.user.is_demo = True
    alice.user.save()
    with transaction.atomic():
        accounts.lock([alice.id, bob.id])

    assert bob.balance("USDT") == 5
    assert JournalEntry.objects.count() == 2


@pytest.mark.parametrize("name", grants.ROLES)
def test_a_role_cannot_bend_an_asset_that_has_accounts(customer, role, name) -> None:
    customer("alice", USDT=100)
    make_asset("DOGE")
    role(name)

    assert _refused("UPDATE ledger_asset SET decimals = 2 WHERE code = 'USDT'") == "ledger_asset_in_use"
    assert _refused("DELETE FROM ledger_asset WHERE code = 'USDT'") == "ledger_asset_in_use"
    with connection.cursor() as cursor:
        cursor.execute("UPDATE ledger_asset SET decimals = 2 WHERE code = 'DOGE'")
        assert cursor.rowcount == 1


def test_every_right_is_for_a_kind_that_exists() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT DISTINCT kind FROM ledger_posting_right")
        kinds = {row[0] for row in cursor.fetchall()}

    assert kinds - set(EventKind) == set()


def test_outside_the_demo_the_web_cannot_credit_deposits(customer, role) -> None:
    alice = customer("alice", USDT=100)
    grants.grant(connection, demo=False)
    role("exchange_web")

    with pytest.raises(DatabaseError), transaction.atomic():
        alice.deposit(USDT=1)

    assert alice.balance("USDT") == 100


def test_the_chart_in_the_database_is_the_chart_in_python() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT code, name, face, bound, user_root, platform_root FROM ledger_chart")
        rows = cursor.fetchall()

    assert rows == [
        (row.code, row.name, row.face, row.bound, row.user_root, row.platform_root) for row in CHART.values()
    ]


def test_every_code_of_the_chart_opens_with_its_face_and_bound(customer) -> None:
    alice = customer("alice", USDT=1)
    keys = [AccountKey(alice.id if row.user_root else None, row.code, "USDT", "x") for row in CHART.values()]

    opened = accounts.ids(keys)

    with connection.cursor() as cursor:
        cursor.execute("SELECT id, face, bound FROM ledger_account WHERE sub = 'x' ORDER BY id")
        rows = {row[0]: row[1:] for row in cursor.fetchall()}
    assert rows == {
        opened[key]: (CHART[AccountCode(key.code)].face, CHART[AccountCode(key.code)].bound) for key in keys
    }


def _freeze(owner_id: int, key: str) -> EntryDraft:
    return posting_rules.draft(
        EventKind.ORDER_FREEZE,
        key=key,
        effective_at=NOW,
        trace="t",
        roles={"user": owner_id},
        assets={"asset": "USDT"},
        amounts={"amount": Decimal(10)},
    )


def _capital(key: str) -> EntryDraft:
    return posting_rules.draft(
        EventKind.CAPITAL,
        key=key,
        effective_at=NOW,
        trace="t",
        roles={},
        assets={"asset": "USDT"},
        amounts={"amount": Decimal(10)},
    )
