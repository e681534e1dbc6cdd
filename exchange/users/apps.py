"""Tells Django about the users app."""

from django.apps import AppConfig


class UsersConfig(AppConfig):
    """People who sign in."""

    name = "exchange.users"
    label = "users"
    default_auto_field = "django.db.models.BigAutoField"
