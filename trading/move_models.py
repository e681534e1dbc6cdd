"""Where instruments were before: SQL of 0012. Imported by `models.py`."""

from django.db import models


class InstrumentMove(models.Model):
    """One move of an instrument from shard to shard: Note [Moving an instrument] in services/instrument_moves.py.

    Attributes:
        from_sequence: The last command about it in the log that it left.
        to_sequence: The last of those by which the engine of its new shard took it over.
        positions: How many positions went with it.
    """

    id = models.BigAutoField(primary_key=True)
    instrument_id = models.SmallIntegerField()
    symbol = models.CharField(max_length=24)
    from_shard = models.SmallIntegerField()
    from_sequence = models.BigIntegerField()
    to_shard = models.SmallIntegerField()
    to_sequence = models.BigIntegerField()
    positions = models.IntegerField()
    moved_at = models.DateTimeField()

    class Meta:
        db_table = "instrument_moves"
        managed = False

    def __str__(self) -> str:
        return f"{self.symbol}: {self.from_shard} to {self.to_shard}"
