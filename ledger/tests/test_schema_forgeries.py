"""Forged entries by the owner of the tables: one that is right in all is accepted, each with one fault is refused."""

from datetime import UTC, datetime
from decimal import Decimal

import psycopg
import pytest
from django.db import DatabaseError, connection, transaction

from ledger import audit, posting_rules
from ledger.posting_rules import EventKind
from ledger.services import accounts, grants, journal
from ledger.services.accounts import AccountKey
from ledger.tests.fixtures import make_asset

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
pytestmark = pytest.mark.django_db(transaction=True)

FORGERY = """
WITH line AS (
    SELECT v.account, v.amount, {n} AS n,
           coalesce(a.balance, 0) + sum(v.amount) OVER (PARTITION BY v.account ORDER BY v.n) + {shift} AS balance_after
    FROM unnest(%(accounts)s::bigint[], %(amounts)s::numeric[]) WITH ORDINALITY AS v (account, amount, n)
    LEFT JOIN ledger_account a ON a.id = v.account
), moved AS (
    UPDATE ledger_account a
    SET balance = a.balance + v.amount + {too_much}, balance_before = a.balance + {before},
        last_entry_id = h.entry_id + {last}
    FROM (SELECT account, sum(amount) AS amount FROM line GROUP BY account) v, ledger_head h
    WHERE a.id = v.account AND {moved}
), entry AS (
    INSERT INTO ledger_entry
    SELECT h.entry_id + {number}, {kind}, {key}, {effective}, {late}, {recorded}, 't', {reverses}, {xid}, {hash}
    FROM ledger_head h WHERE {entered}
)
INSERT INTO ledger_line
SELECT h.entry_id + {of_entry}, n, account, {amount}, balance_after FROM line, ledger_head h WHERE {lined} ORDER BY n
"""
RIGHT = {
    "n": "v.n",
    "shift": "0",
    "too_much": "0",
    "before": "0",
    "last": "1",
    "moved": "true",
    "number": "1",
    "kind": "'DEPOSIT'",
    "key": "'forged'",
    "effective": "h.recorded_at",
    "late": "false",
    "recorded": "h.recorded_at",
    "reverses": "NULL::bigint",
    "xid": "pg_current_xact_id()",
    "hash": "sha256('')",
    "entered": "true",
    "of_entry": "1",
    "amount": "amount",
    "lined": "true",
}
DEPOSIT = (50, -50, 50)


def _accounts(owner_id: int) -> list[int]:
    """Return a user's available and external account, the custody, the order hold, and another asset's available."""
    keys = [
        AccountKey(owner_id, "1010", "USDT"),
        AccountKey(owner_id, "3010", "USDT"),
        AccountKey(None, "1110", "USDT", "main"),
        AccountKey(owner_id, "1020", "USDT"),
        AccountKey(owner_id, "1010", "BTC"),
    ]
    ids = accounts.ids(keys)
    return [ids[key] for key in keys]


def _forge(ids: list[int], amounts: tuple[object, ...] = DEPOSIT, **faults: str) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            FORGERY.format(**(RIGHT | faults)),
            {"accounts": ids[: len(amounts)], "amounts": [Decimal(str(amount)) for amount in amounts]},
        )


def _refused(error: pytest.ExceptionInfo[DatabaseError]) -> str:
    assert isinstance(error.value.__cause__, psycopg.Error)
    return error.value.__cause__.diag.constraint_name or ""


def _books() -> tuple[object, ...]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT (SELECT string_agg(e::text, ';' ORDER BY id) FROM ledger_entry e),"
            " (SELECT string_agg(l::text, ';' ORDER BY entry_id, n) FROM ledger_line l),"
            " (SELECT string_agg(a::text, ';' ORDER BY id) FROM ledger_account a)"
        )
        return tuple(cursor.fetchone())


@pytest.fixture
def ids(customer) -> list[int]:
    make_asset("BTC")
    return _accounts(customer("alice", USDT=100).id)


def test_a_forgery_without_a_fault_is_an_entry_whose_hash_alone_betrays_it(ids) -> None:
    _forge(ids)

    broken = {invariant.name for invariant in audit.invariants() if not invariant.ok}
    assert broken == {"the hash chain is whole", "the head is the last entry"}


@pytest.mark.parametrize(
    ("constraint", "faults"),
    [
        ("ledger_entry_dense", {"number": "2", "of_entry": "2", "last": "2"}),
        ("ledger_entry_dense", {"recorded": "h.recorded_at - interval '1 microsecond'"}),
        ("ledger_entry_pkey", {"number": "0"}),
        ("ledger_line_same_transaction", {"xid": "'99999999'::xid8"}),
        ("ledger_entry_transaction", {"xid": "'99999999'::xid8", "lined": "false", "moved": "false"}),
        ("ledger_line_same_transaction", {"entered": "false"}),
        ("ledger_line_same_transaction", {"of_entry": "2", "last": "2"}),
        ("ledger_entry_key", {"key": "(SELECT max(key) FROM ledger_entry)"}),
        ("ledger_entry_late", {"effective": "h.recorded_at - interval '61 seconds'"}),
        ("ledger_period_closed", {"effective": "'1999-12-31'::timestamptz", "late": "true"}),
        ("ledger_entry_future", {"effective": "h.recorded_at + interval '61 seconds'"}),
        ("ledger_entry_hash", {"hash": "'\\x00'::bytea"}),
        ("ledger_entry_two_people", {"kind": "'MANUAL'"}),
        ("ledger_entry_two_people", {"kind": "'REVERSAL'"}),
        ("ledger_entry_two_people", {"reverses": "1"}),
        ("ledger_entry_reverses_earlier", {"reverses": "h.entry_id + 1"}),
        ("ledger_entry_lines", {"lined": "false", "moved": "false"}),
        ("ledger_account_balance", {"lined": "false", "entered": "false"}),
        ("ledger_account_balance", {"lined": "false", "entered": "false", "last": "0"}),
        ("ledger_line_running_balance", {"moved": "false"}),
        ("ledger_line_running_balance", {"too_much": "1000"}),
        ("ledger_line_running_balance", {"shift": "1000"}),
        ("ledger_line_running_balance", {"before": "7"}),
        ("ledger_account_balance", {"before": "7", "shift": "7", "too_much": "7"}),
        ("ledger_line_running_balance", {"last": "0"}),
        ("ledger_line_whole_entry", {"n": "v.n + 1"}),
        ("ledger_line_n", {"n": "v.n - 1"}),
        ("ledger_line_amount", {"amount": "0"}),
    ],
)
def test_a_forgery_with_one_fault_is_refused(ids, constraint, faults) -> None:
    before = _books()

    with pytest.raises(DatabaseError) as error:
        _forge(ids, **faults)

    assert _refused(error) == constraint
    assert _books() == before


@pytest.mark.parametrize(
    ("constraint", "amounts"),
    [
        ("ledger_entry_user_balance", (50, -49, 50)),
        ("ledger_entry_user_balance", (50, "-50.000000000000000001", 50)),
        ("ledger_entry_platform_balance", (50, -50, 49)),
        ("ledger_entry_platform_balance", (50, -50)),
        ("ledger_entry_user_balance", (45, -55, 50, 5, 5)),
        ("ledger_account_bound", (-101, 101, -101)),
        ("ledger_account_bound", (-50, 50, -50, -1)),
    ],
)
def test_a_forgery_that_does_not_add_up_is_refused(ids, constraint, amounts) -> None:
    before = _books()

    with pytest.raises(DatabaseError) as error:
        _forge(ids, amounts)

    assert _refused(error) == constraint
    assert _books() == before


def test_a_wallet_below_zero_between_two_lines_of_a_forgery_is_refused(ids) -> None:
    available, _, _, hold, _ = ids
    before = _books()

    with pytest.raises(DatabaseError) as error:
        _forge([hold, available, available, hold], (-10, 10, -10, 10))

    assert _refused(error) == "ledger_account_bound"
    assert _books() == before


def test_a_line_of_no_account_is_refused(ids) -> None:
    with pytest.raises(DatabaseError) as error:
        _forge([999_999, ids[1], ids[2]])

    assert _refused(error) == "ledger_line_account"


MORE_LINES = """
WITH moved AS (
    UPDATE ledger_account a SET balance = a.balance + v.amount, balance_before = a.balance, last_entry_id = {last}
    FROM (VALUES ({available}, -5), ({hold}, 5)) AS v (id, amount) WHERE a.id = v.id
)
INSERT INTO ledger_line
SELECT {entry}, v.n, v.id, v.amount, a.balance + v.amount
FROM (VALUES (8, {available}, -5), (9, {hold}, 5)) AS v (n, id, amount) JOIN ledger_account a ON a.id = v.id
"""


@pytest.mark.parametrize("last", ["1", "2"])
def test_balanced_lines_cannot_join_an_entry_that_is_committed(ids, last) -> None:
    before = _books()

    with pytest.raises(DatabaseError) as error, connection.cursor() as cursor:
        cursor.execute(MORE_LINES.format(available=ids[0], hold=ids[3], entry=1, last=last))

    assert _refused(error) == "ledger_line_same_transaction"
    assert _books() == before


def _post_and_add(ids: list[int], last: str) -> None:
    with transaction.atomic():
        _forge(ids)
        with connection.cursor() as cursor:
            cursor.execute(MORE_LINES.format(available=ids[0], hold=ids[3], entry=2, last=last))


@pytest.mark.parametrize("last", ["2", "3"])
def test_balanced_lines_cannot_join_an_entry_of_their_own_transaction_later(ids, last) -> None:
    before = _books()

    with pytest.raises(DatabaseError) as error:
        _post_and_add(ids, last)

    assert _refused(error) == "ledger_line_whole_entry"
    assert _books() == before


def _entry_first_and_lines_later(ids: list[int]) -> None:
    with transaction.atomic():
        _forge(ids, lined="false", moved="false")
        _forge(ids, entered="false")


def test_an_entry_cannot_wait_for_its_lines_until_a_later_statement(ids) -> None:
    with pytest.raises(DatabaseError) as error:
        _entry_first_and_lines_later(ids)

    assert _refused(error) == "ledger_entry_lines"


SHADOWS = [
    "CREATE TEMP TABLE ledger_posting_right AS SELECT 'exchange_web'::varchar AS role, '*'::varchar AS kind",
    "CREATE TEMP TABLE ledger_head AS SELECT 1::smallint AS id, 0::bigint AS entry_id, ''::bytea AS hash",
    "CREATE FUNCTION pg_temp.ledger_check_right(text[]) RETURNS void LANGUAGE sql AS ''",
    "CREATE TEMP VIEW ledger_chart AS SELECT '1010' AS code, 'x' AS name, 'BOTH' AS face, 0 AS bound",
    "SET search_path = pg_temp, public",
]


def _post_in_the_shadow(shadow: str, owner_id: int) -> None:
    """Post what the web may not, with objects of its own named as the door's."""
    draft = posting_rules.draft(
        EventKind.CAPITAL,
        key="shadow",
        effective_at=NOW,
        trace="t",
        roles={"user": owner_id},
        assets={"asset": "USDT"},
        amounts={"amount": Decimal(10)},
        parts={"custody": "main"},
    )
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL ROLE {grants.WEB_ROLE}")
        cursor.execute(shadow)
        cursor.execute("SET LOCAL search_path = pg_temp, public")
        journal.post([draft], NOW)


@pytest.mark.parametrize("shadow", SHADOWS)
def test_a_role_cannot_shadow_what_the_door_looks_at(customer, shadow) -> None:
    alice = customer("alice", USDT=100)
    accounts.ids([AccountKey(None, "3110", "USDT")])

    with pytest.raises(DatabaseError) as error:
        _post_in_the_shadow(shadow, alice.id)

    assert "exchange_web may not post CAPITAL" in str(error.value)
