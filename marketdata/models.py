"""What is traded: instruments, their last trade, candles."""

from decimal import Decimal
from typing import Any, ClassVar

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from exchange.kernel.money import EXACT

FEE_RATE_DEFAULT = Decimal("0.0002")
BAND_RATE_DEFAULT = Decimal("0.20")
SLIPPAGE_RATE_DEFAULT = Decimal("0.05")


class InstrumentKind(models.TextChoices):
    """How an instrument settles."""

    SPOT = "SPOT", _("Spot")
    PERPETUAL = "PERP", _("Perpetual contract")


class InstrumentStatus(models.TextChoices):
    """What may be done with an instrument now; the engine is told by a command (trading.services.trading_state)."""

    PRE_OPEN = "PRE_OPEN"
    AUCTION = "AUCTION"
    TRADING = "TRADING"
    CANCEL_ONLY = "CANCEL_ONLY"
    HALTED = "HALTED"
    CLOSED = "CLOSED"


class Instrument(models.Model):
    """A market: base asset, priced in the quote asset, in whole ticks and lots.

    A trigger keeps one tick times one lot a whole number of quote quanta and one lot a whole number
    of base quanta, so that no fill is ever rounded. One unit of quantity is worth `contract_size` times the price; on
    spot markets that is 1. A perpetual contract is settled in its quote asset and never moves its base asset.
    """

    revision: ClassVar[int] = 0
    """Raised by every save in this process, so that this process' cache of specs reloads at once."""

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
    contract_size = models.DecimalField(max_digits=38, decimal_places=18, default=Decimal(1))
    status = models.CharField(max_length=16, choices=InstrumentStatus.choices, default=InstrumentStatus.TRADING)
    shard = models.PositiveSmallIntegerField(default=0)
    is_demo = models.BooleanField(default=False)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(tick_size__gt=0), name="instrument_tick_positive"),
            models.CheckConstraint(condition=Q(lot_size__gt=0), name="instrument_lot_positive"),
            models.CheckConstraint(condition=Q(min_notional__gte=0), name="instrument_min_notional_not_negative"),
            models.CheckConstraint(condition=Q(reference_price__gt=0), name="instrument_reference_positive"),
            models.CheckConstraint(
                condition=Q(maker_fee_rate__gte=0, maker_fee_rate__lt=1),
                name="instrument_maker_fee_below_one",
            ),
            models.CheckConstraint(
                condition=Q(taker_fee_rate__gte=0, taker_fee_rate__lt=1),
                name="instrument_taker_fee_below_one",
            ),
            models.CheckConstraint(
                condition=Q(band_rate__gt=0, band_rate__lt=1), name="instrument_band_between_zero_and_one"
            ),
            models.CheckConstraint(
                condition=Q(market_slippage_rate__gte=0, market_slippage_rate__lt=1),
                name="instrument_slippage_below_one",
            ),
            models.CheckConstraint(
                condition=Q(contract_size__gt=0) & (~Q(kind=InstrumentKind.SPOT) | Q(contract_size=1)),
                name="instrument_contract_size_is_the_contracts",
            ),
        ]

    def __str__(self) -> str:
        return self.symbol

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save, and let this process' specs reload."""
        super().save(*args, **kwargs)
        Instrument.revision += 1

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        """Delete, and let this process' specs reload."""
        result = super().delete(*args, **kwargs)
        Instrument.revision += 1
        return result

    def clean(self) -> None:
        """Say in the form what the trigger would refuse.

        Raises:
            ValidationError: Ticks or lots are not whole numbers of their asset's quantum, or there is no such shard.
        """
        if self._state.adding and self.shard is not None:
            self._require_shard()
        if not (self.base_id and self.quote_id and self.tick_size and self.lot_size):
            return
        if not _is_whole(self.lot_size, self.base.decimals):
            raise ValidationError({"lot_size": _("A lot must be a whole number of the base asset's quanta.")})
        step = EXACT.multiply(EXACT.multiply(self.tick_size, self.lot_size), self.contract_size)
        if not _is_whole(step, self.quote.decimals):
            raise ValidationError(
                {"tick_size": _("Tick times lot must be a whole number of the quote asset's quanta.")}
            )
        if self.kind == InstrumentKind.SPOT and self.contract_size != 1:
            raise ValidationError({"contract_size": _("Only contracts have a size.")})
        minor = self.minor_unit_decimals
        if minor is not None and not (_is_whole(self.tick_size, minor) and _is_whole(self.lot_size, 0)):
            raise ValidationError({"minor_unit_decimals": _("Ticks must be whole minor units and lots whole units.")})

    def _require_shard(self) -> None:
        """Refuse a shard that no worker matches, and another one than is configured.

        Raises:
            ValidationError: It is one of these.
        """
        if self.shard >= settings.SHARDS:
            raise ValidationError({"shard": _("There are shards 0 to %(last)s.") % {"last": settings.SHARDS - 1}})
        configured = settings.INSTRUMENT_SHARDS.get(self.symbol, self.shard)
        if configured != self.shard:
            raise ValidationError(
                {"shard": _("The configuration puts this instrument on shard %(shard)s.") % {"shard": configured}}
            )


def _is_whole(amount: Decimal, decimals: int) -> bool:
    """Tell whether an amount is a whole number of quanta of 10^-decimals."""
    scaled = EXACT.scaleb(amount, decimals)
    return scaled == int(scaled)


class LeverageBracket(models.Model):
    """What a contract asks of positions by their size: from `notional_floor` of value on, these rates.

    `leverage_max` bounds the leverage with which a position may reach into the bracket. The maintenance margin of a
    position is value x `maintenance_rate` - `maintenance_amount`; the amount lets it go on from bracket to bracket
    without a step.
    """

    instrument = models.ForeignKey(Instrument, on_delete=models.PROTECT, related_name="brackets")
    notional_floor = models.DecimalField(max_digits=38, decimal_places=18)
    leverage_max = models.PositiveSmallIntegerField()
    maintenance_rate = models.DecimalField(max_digits=12, decimal_places=8)
    maintenance_amount = models.DecimalField(max_digits=38, decimal_places=18)

    class Meta:
        ordering = ("instrument", "notional_floor")
        constraints = [
            models.UniqueConstraint(fields=["instrument", "notional_floor"], name="bracket_once"),
            models.CheckConstraint(
                condition=Q(notional_floor__gte=0, maintenance_amount__gte=0, leverage_max__gte=1),
                name="bracket_not_negative",
            ),
            models.CheckConstraint(
                condition=Q(maintenance_rate__gt=0, maintenance_rate__lt=1), name="bracket_rate_below_one"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.instrument_id}: {self.notional_floor}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save, and let this process' specs reload."""
        super().save(*args, **kwargs)
        Instrument.revision += 1


class InstrumentState(models.Model):
    """The last settled trade of an instrument, the centre of its price band; and its mark price.

    Settlement writes the trade, and for contracts `settled_mark`, the mark price at its cursor;
    `trading.services.mark_price` the mark price.
    """

    instrument = models.OneToOneField(
        Instrument, on_delete=models.PROTECT, primary_key=True, related_name="+", db_constraint=True
    )
    last_price = models.DecimalField(max_digits=38, decimal_places=18, null=True)
    last_trade_id = models.BigIntegerField(null=True)
    traded_at = models.DateTimeField(null=True)
    mark_price = models.DecimalField(max_digits=38, decimal_places=18, null=True)
    marked_at = models.DateTimeField(null=True)
    settled_mark = models.DecimalField(max_digits=38, decimal_places=18, null=True)

    class Meta:
        db_table = "instrument_state"
        constraints = [
            models.CheckConstraint(
                condition=Q(mark_price__isnull=True, marked_at__isnull=True)
                | Q(mark_price__gt=0, marked_at__isnull=False),
                name="instrument_mark_with_its_time",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.instrument_id}: {self.last_price}"


class CandleFields(models.Model):
    """One minute of trading, in major units."""

    symbol = models.CharField(max_length=24)
    timestamp = models.DateTimeField()
    open = models.DecimalField(max_digits=38, decimal_places=18)
    high = models.DecimalField(max_digits=38, decimal_places=18)
    low = models.DecimalField(max_digits=38, decimal_places=18)
    close = models.DecimalField(max_digits=38, decimal_places=18)
    volume = models.DecimalField(max_digits=38, decimal_places=18)
    turnover = models.DecimalField(max_digits=38, decimal_places=18)
    trade_count = models.BigIntegerField()

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.symbol} {self.timestamp}"


class Candle(CandleFields):
    """The table, partitioned by month. Written by settlement only."""

    pk = models.CompositePrimaryKey("symbol", "timestamp")

    class Meta:
        managed = False
        db_table = "klines_1m"


class CandleRow(CandleFields):
    """The same rows as a view with one key, for the admin."""

    id = models.CharField(max_length=48, primary_key=True)

    class Meta:
        managed = False
        db_table = "candle_list"
        verbose_name = _("candle")
