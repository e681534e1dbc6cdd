"""Tells Django about the risk app, and the ledger who is in which tier."""

from django.apps import AppConfig


class RiskConfig(AppConfig):
    """The risk app."""

    name = "risk"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Answer what the ledger asks about tiers, which it cannot import."""
        from ledger.transfers import outside
        from risk.services import tiers

        outside.provide(tier_of=tiers.of, tier_names=tiers.names, set_tier=tiers.assign)
