"""What traders asked of the margin of their positions. The table is made by SQL in migration 0008.

Imported by `models.py`, so that Django finds it.
"""

from django.db import models


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

    def __str__(self) -> str:
        return f"{self.id} {self.direction} {self.amount} {self.symbol}"
