from decimal import Decimal

from django.db import migrations


def add_tiers(apps, schema_editor):
    """The tiers every exchange starts with: the mission's defaults, and one for market makers."""
    tier = apps.get_model("risk", "RiskTier")
    standard = tier.objects.create(name="STANDARD", daily_order_limit=1000, cancel_rate_warning=Decimal("0.80"))
    apps.get_model("risk", "ReviewLimit").objects.create(tier=standard, asset_id="TWD", notional=10_000_000)
    tier.objects.create(name="MARKET_MAKER", daily_order_limit=100_000_000, cancel_rate_warning=Decimal("1.00"))


class Migration(migrations.Migration):
    dependencies = [("risk", "0001_initial")]

    operations = [migrations.RunPython(add_tiers, migrations.RunPython.noop)]
