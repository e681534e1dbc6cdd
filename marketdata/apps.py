"""Tells Django about the marketdata app."""

from django.apps import AppConfig


class MarketdataConfig(AppConfig):
    """The marketdata app."""

    name = "marketdata"
    default_auto_field = "django.db.models.BigAutoField"
