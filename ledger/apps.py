"""Tells Django about the ledger app, and gives the roles of database and staff their rights after every migrate."""

from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.db import connections
from django.db.models.signals import post_migrate
from django.utils.translation import gettext_lazy as _


def grant_roles(*, using: str, **_options: Any) -> None:
    """Let the three roles work on ordinary tables and only read the books."""
    from ledger.services import grants

    grants.grant(connections[using], demo=settings.DEMO)


def renew_roles(*, using: str, **_options: Any) -> None:
    """Give the finance roles their rights, as `access.RIGHTS` says."""
    from ledger.services import roles

    roles.renew(using)


class LedgerConfig(AppConfig):
    """The ledger app."""

    name = "ledger"
    verbose_name = _("Ledger")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register checks and obstacles to the close of a period, and ask Django for calls after every migrate."""
        from exchange.observability import metrics
        from ledger.reconciliation import accounts, alerts, checks, entries, measures, transfers
        from ledger.services import periods
        from ledger.tracing import books, story
        from ledger.tracing import transfers as transfers_told
        from ledger.transfers import audit, stops

        for teller in (books.TELLER, transfers_told.TELLER):
            story.register(teller)
        checks.register(*entries.CHECKS, *accounts.CHECKS, *transfers.CHECKS)
        alerts.STOPS.append(lambda reason, now: stops.stop(None, reason=reason, by=None, now=now))
        metrics.ON_SCRAPE.append(measures.measure)
        periods.OBSTACLES.update(audit.OBSTACLES)
        post_migrate.connect(grant_roles, sender=self, dispatch_uid="ledger.grant_roles")
        post_migrate.connect(renew_roles, sender=self, dispatch_uid="ledger.renew_roles")
