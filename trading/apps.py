"""Tells Django about the trading app."""

from django.apps import AppConfig


class TradingConfig(AppConfig):
    """The trading app."""

    name = "trading"
    default_auto_field = "django.db.models.BigAutoField"
