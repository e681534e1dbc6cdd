"""Tells Django about the trading app."""

from django.apps import AppConfig


class TradingConfig(AppConfig):
    """The trading app."""

    name = "trading"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Add the checks that need orders, trades or the log to those of the books."""
        from ledger.reconciliation import checks
        from trading.reconciliation import derived, log, orders, replay, trades

        checks.register(*log.CHECKS, *replay.CHECKS, *trades.CHECKS, *orders.CHECKS, *derived.CHECKS)
