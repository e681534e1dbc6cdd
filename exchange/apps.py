"""Tells Django about the composition root: commands, demo, pages."""

from django.apps import AppConfig


class ExchangeConfig(AppConfig):
    """The composition root; it owns no tables."""

    name = "exchange"
