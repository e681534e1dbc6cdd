"""What a trader may do: tiers with their limits, and each trader's counters."""

from decimal import Decimal

from django.db import models

DEFAULT_TIER = "STANDARD"
DAILY_ORDER_LIMIT = 1000
CANCEL_RATE_WARNING = Decimal("0.80")


class RiskTier(models.Model):
    """Limits for a group of traders; a trader without a profile has the standard tier's defaults."""

    name = models.CharField(max_length=32, primary_key=True)
    daily_order_limit = models.PositiveIntegerField(default=DAILY_ORDER_LIMIT)
    cancel_rate_warning = models.DecimalField(max_digits=4, decimal_places=2, default=CANCEL_RATE_WARNING)

    def __str__(self) -> str:
        return self.name


class ReviewLimit(models.Model):
    """The notional above which one order waits for a person's review, by tier and quote asset."""

    tier = models.ForeignKey(RiskTier, on_delete=models.CASCADE, related_name="review_limits")
    asset = models.ForeignKey("ledger.Asset", on_delete=models.CASCADE, related_name="+", db_constraint=False)
    notional = models.DecimalField(max_digits=38, decimal_places=18)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["tier", "asset"], name="review_limit_once"),
            models.CheckConstraint(condition=models.Q(notional__gt=0), name="review_limit_positive"),
        ]

    def __str__(self) -> str:
        return f"{self.tier_id}: {self.notional} {self.asset_id}"


class TraderProfile(models.Model):
    """A trader's tier and today's counters. Locked by the trader's gate, like the wallets."""

    user_id = models.BigIntegerField(primary_key=True)
    tier = models.ForeignKey(
        RiskTier, on_delete=models.PROTECT, related_name="traders", db_constraint=False, default=DEFAULT_TIER
    )
    counted_on = models.DateField()
    orders_placed = models.PositiveIntegerField(default=0)
    orders_cancelled = models.PositiveIntegerField(default=0)

    def __str__(self) -> str:
        return f"trader {self.user_id} ({self.tier_id})"


class SpotHolding(models.Model):
    """What the quantity a trader bought on a market has cost, for the average price.

    The quantity owned is the wallet's business; deposits have no cost here. Selling takes cost out in proportion.
    """

    pk = models.CompositePrimaryKey("user_id", "instrument_id")
    user_id = models.BigIntegerField()
    instrument_id = models.SmallIntegerField()
    quantity = models.DecimalField(max_digits=38, decimal_places=18)
    total_cost = models.DecimalField(max_digits=38, decimal_places=18)
    updated_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(quantity__gte=0, total_cost__gte=0), name="spot_holding_not_negative"
            ),
        ]

    def __str__(self) -> str:
        return f"trader {self.user_id}: {self.quantity} on {self.instrument_id}"
