"""What traders asked of the margin of their positions, and positions as the admin lists them: SQL of 0008 and 0009.

Imported by `models.py`, so that Django finds it.
"""

from django.db import models
from django.utils.translation import gettext_lazy as _


class MarginDirection(models.TextChoices):
    """Into a position's margin, or out of it."""

    ADD = "add"
    REMOVE = "remove"


class MarginState(models.TextChoices):
    """Where a change of margin stands."""

    WAITING = "waiting"
    DONE = "done"
    REFUSED = "refused"


class MarginRequest(models.Model):
    """A change of a position's margin that its trader asked for: what is taken out waits for the logs."""

    id = models.BigAutoField(primary_key=True)
    user_id = models.BigIntegerField()
    instrument_id = models.SmallIntegerField()
    symbol = models.CharField(max_length=24)
    direction = models.CharField(max_length=6, choices=MarginDirection.choices)
    amount = models.DecimalField(max_digits=38, decimal_places=18)
    client_margin_id = models.CharField(max_length=64, null=True)  # noqa: DJ001 -- NULL is "none given"
    state = models.CharField(max_length=7, choices=MarginState.choices)
    reason = models.CharField(max_length=40, default="")
    log_heads = models.JSONField(default=dict)
    trace = models.CharField(max_length=28)
    requested_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)

    class Meta:
        managed = False
        db_table = "margin_requests"
        verbose_name = _("change of margin")
        verbose_name_plural = _("changes of margin")

    def __str__(self) -> str:
        return f"{self.id} {self.direction} {self.amount} {self.symbol}"


class PositionRow(models.Model):
    """The rows of `positions` as a view with one key, for the admin: quantity and open cost are negative when short."""

    id = models.CharField(max_length=48, primary_key=True)
    user_id = models.BigIntegerField()
    instrument_id = models.SmallIntegerField()
    symbol = models.CharField(max_length=24)
    quantity = models.DecimalField(max_digits=38, decimal_places=18)
    open_cost = models.DecimalField(max_digits=38, decimal_places=18)
    margin = models.DecimalField(max_digits=38, decimal_places=18)
    margin_missing = models.DecimalField(max_digits=38, decimal_places=18)
    reserved = models.DecimalField(max_digits=38, decimal_places=18)
    realised_pnl = models.DecimalField(max_digits=38, decimal_places=18)
    leverage = models.SmallIntegerField()
    is_locked = models.BooleanField()
    version = models.BigIntegerField()
    updated_at = models.DateTimeField()

    class Meta:
        managed = False
        db_table = "position_list"
        verbose_name = _("position")
        verbose_name_plural = _("positions")

    def __str__(self) -> str:
        return f"{self.user_id} {self.symbol} {self.quantity}"
