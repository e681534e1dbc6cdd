"""Tells Django about the trading app, and the ledger how far orders are settled."""

from django.apps import AppConfig


class TradingConfig(AppConfig):
    """The trading app."""

    name = "trading"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Add checks to those of the books, and answer what the ledger, which cannot import us, asks of its entries."""
        from ledger.reconciliation import checks
        from ledger.tracing import story
        from ledger.transfers import outside
        from trading import sources
        from trading.reconciliation import derived, log, orders, replay, suspended, trades
        from trading.services import log_heads, notices
        from trading.tracing import road

        checks.register(suspended.CHECK, *log.CHECKS, *replay.CHECKS, *trades.CHECKS, *orders.CHECKS, *derived.CHECKS)
        sources.register()
        story.register(road.TELLER)
        outside.provide(log_heads=log_heads.now, ready_when=log_heads.have_settled, push=notices.push)
