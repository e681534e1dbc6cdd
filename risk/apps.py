"""Tells Django about the risk app."""

from django.apps import AppConfig


class RiskConfig(AppConfig):
    """The risk app."""

    name = "risk"
    default_auto_field = "django.db.models.BigAutoField"
