"""Tells Django about the trading app, and the ledger how far orders are settled."""

from django.apps import AppConfig


class TradingConfig(AppConfig):
    """The trading app."""

    name = "trading"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Answer what the ledger asks about the command logs and about where its entries come from."""
        from ledger.transfers import outside
        from trading import sources
        from trading.services import log_heads

        sources.register()
        outside.provide(log_heads=log_heads.now, ready_when=log_heads.have_settled)
