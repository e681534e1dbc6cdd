"""The rights of the database roles: the only place outside the migrations that changes them."""

from django.db.backends.base.base import BaseDatabaseWrapper

WEB_ROLE = "exchange_web"
WORKER_ROLE = "exchange_worker"
BACK_OFFICE_ROLE = "exchange_back_office"
ROLES = (WEB_ROLE, WORKER_ROLE, BACK_OFFICE_ROLE)

_FAUCET_ON = """
INSERT INTO ledger_posting_right (role, kind) VALUES (%s, 'DEPOSIT') ON CONFLICT DO NOTHING
"""
_FAUCET_OFF = "DELETE FROM ledger_posting_right WHERE role = %s AND kind = 'DEPOSIT'"


def grant(connection: BaseDatabaseWrapper, *, demo: bool) -> None:
    """Give the roles ordinary access to tables made since; never to write the books.

    Args:
        demo: Whether the web may post deposits: the faucet. Elsewhere only the back office may.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regprocedure('ledger_grant_roles()') IS NOT NULL")
        if not cursor.fetchone()[0]:
            return  # migrated back to before the books
        cursor.execute("SELECT ledger_grant_roles()")
        cursor.execute(_FAUCET_ON if demo else _FAUCET_OFF, [WEB_ROLE])
