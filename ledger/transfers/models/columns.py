"""Columns that the tables of this package share."""

from typing import Any

from django.conf import settings
from django.db import models

from exchange.kernel.money import MONEY_DECIMALS, MONEY_DIGITS


def amount(label: Any = None, **options: Any) -> "models.DecimalField[Any, Any]":
    """Return a money column: numeric(38,18)."""
    return models.DecimalField(label, max_digits=MONEY_DIGITS, decimal_places=MONEY_DECIMALS, **options)


def asset(label: Any = None, **options: Any) -> "models.ForeignKey[Any, Any]":
    """Return a column that names an asset; an asset in use is never deleted."""
    return models.ForeignKey("ledger.Asset", models.PROTECT, verbose_name=label, related_name="+", **options)


def person(label: Any = None, **options: Any) -> "models.ForeignKey[Any, Any]":
    """Return a column that names a user; users are switched off, never deleted."""
    return models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, verbose_name=label, related_name="+", **options)


def entry(label: Any = None) -> "models.OneToOneField[Any, Any]":
    """Return a column that names the journal entry a step posted; triggers check that it is that step's own."""
    return models.OneToOneField(
        "ledger.JournalEntry", models.DO_NOTHING, verbose_name=label, related_name="+", null=True, db_constraint=False
    )
