"""Tells Django about the matching_worker app."""

from django.apps import AppConfig


class MatchingWorkerConfig(AppConfig):
    """The matching_worker app."""

    name = "matching_worker"
    default_auto_field = "django.db.models.BigAutoField"
