"""What the sweeper of holds has seen and done, order by order: SQL of 0010. Imported by `models.py`."""

from django.db import models
from django.utils.translation import gettext_lazy as _

from trading.sweeping import Cause, SweepState


class HoldSweep(models.Model):
    """An order that may have left a hold or a reservation behind: Note [Sweeping] in sweeping.py.

    Attributes:
        since: When that began which makes the order suspect; of another moment it is another suspicion.
        log_head: How far the shard's log reached when it was noted.
        command_sequence: The CANCEL that the sweeper appended; none before.
        hold_voided: What went back to available; `quantity_voided` likewise of the reservation.
    """

    order_id = models.BigIntegerField(primary_key=True)
    user_id = models.BigIntegerField()
    instrument_id = models.SmallIntegerField()
    symbol = models.CharField(max_length=24)
    shard = models.SmallIntegerField()
    cause = models.CharField(max_length=24, choices=[(cause, cause) for cause in Cause])
    since = models.DateTimeField()
    state = models.CharField(max_length=8, choices=[(state, state) for state in SweepState])
    log_head = models.BigIntegerField()
    command_sequence = models.BigIntegerField(null=True)
    hold_asset = models.CharField(max_length=16)
    hold_voided = models.DecimalField(max_digits=38, decimal_places=18)
    quantity_voided = models.DecimalField(max_digits=38, decimal_places=18)
    why = models.CharField(max_length=500)
    trace = models.CharField(max_length=28)
    version = models.IntegerField()
    noted_at = models.DateTimeField()
    updated_at = models.DateTimeField()

    class Meta:
        db_table = "hold_sweeps"
        managed = False
        verbose_name = _("swept hold")
        verbose_name_plural = _("swept holds")

    def __str__(self) -> str:
        return f"{self.order_id} {self.state}"
