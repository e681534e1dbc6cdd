"""What is traded: instruments, their last trade, candles."""

from decimal import Decimal

from django.db import models

FEE_RATE_DEFAULT = Decimal("0.0002")
BAND_RATE_DEFAULT = Decimal("0.20")
SLIPPAGE_RATE_DEFAULT = Decimal("0.05")


class InstrumentKind(models.TextChoices):
    """How an instrument settles."""

    SPOT = "SPOT"


class InstrumentStatus(models.TextChoices):
    """What may be done with an instrument now."""

    TRADING = "TRADING"
    CANCEL_ONLY = "CANCEL_ONLY"
    HALTED = "HALTED"


class Instrument(models.Model):
    """A market: base asset, priced in the quote asset, in whole ticks and lots."""

    id = models.SmallAutoField(primary_key=True)
    symbol = models.CharField(max_length=24, unique=True)
    name = models.CharField(max_length=64)
    kind = models.CharField(max_length=8, choices=InstrumentKind.choices, default=InstrumentKind.SPOT)
    base = models.ForeignKey("ledger.Asset", on_delete=models.PROTECT, related_name="+")
    quote = models.ForeignKey("ledger.Asset", on_delete=models.PROTECT, related_name="+")
    tick_size = models.DecimalField(max_digits=38, decimal_places=18)
    lot_size = models.DecimalField(max_digits=38, decimal_places=18)
    min_notional = models.DecimalField(max_digits=38, decimal_places=18)
    band_rate = models.DecimalField(max_digits=12, decimal_places=8, default=BAND_RATE_DEFAULT)
    market_slippage_rate = models.DecimalField(max_digits=12, decimal_places=8, default=SLIPPAGE_RATE_DEFAULT)
    maker_fee_rate = models.DecimalField(max_digits=12, decimal_places=8, default=FEE_RATE_DEFAULT)
    taker_fee_rate = models.DecimalField(max_digits=12, decimal_places=8, default=FEE_RATE_DEFAULT)
    reference_price = models.DecimalField(max_digits=38, decimal_places=18)
    minor_unit_decimals = models.PositiveSmallIntegerField(null=True, blank=True)
    status = models.CharField(
        max_length=16, choices=InstrumentStatus.choices, default=InstrumentStatus.TRADING
    )
    shard = models.PositiveSmallIntegerField(default=0)
    is_demo = models.BooleanField(default=False)

    def __str__(self) -> str:
        return self.symbol
