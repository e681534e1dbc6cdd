from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("marketdata", "0005_trading_states"),
    ]

    operations = [
        migrations.AddField(
            model_name="instrumentstate",
            name="mark_price",
            field=models.DecimalField(decimal_places=18, max_digits=38, null=True),
        ),
        migrations.AddField(
            model_name="instrumentstate",
            name="marked_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddConstraint(
            model_name="instrumentstate",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("mark_price__isnull", True), ("marked_at__isnull", True)),
                    models.Q(("mark_price__gt", 0), ("marked_at__isnull", False)),
                    _connector="OR",
                ),
                name="instrument_mark_with_its_time",
            ),
        ),
    ]
