"""A view that gives each candle one key, for the admin, which cannot show tables with two."""

from django.db import migrations, models

VIEW = """
CREATE VIEW candle_list AS
SELECT symbol || '@' || to_char("timestamp" AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI"Z"') AS id, k.*
FROM klines_1m k
"""


class Migration(migrations.Migration):
    dependencies = [("marketdata", "0003_klines_and_exact_steps")]

    operations = [
        migrations.RunSQL(VIEW, "DROP VIEW candle_list"),
        migrations.CreateModel(
            name="CandleRow",
            fields=[
                ("id", models.CharField(max_length=48, primary_key=True, serialize=False)),
                ("symbol", models.CharField(max_length=24)),
                ("timestamp", models.DateTimeField()),
                ("open", models.DecimalField(decimal_places=18, max_digits=38)),
                ("high", models.DecimalField(decimal_places=18, max_digits=38)),
                ("low", models.DecimalField(decimal_places=18, max_digits=38)),
                ("close", models.DecimalField(decimal_places=18, max_digits=38)),
                ("volume", models.DecimalField(decimal_places=18, max_digits=38)),
                ("turnover", models.DecimalField(decimal_places=18, max_digits=38)),
                ("trade_count", models.BigIntegerField()),
            ],
            options={"db_table": "candle_list", "managed": False, "verbose_name": "candle"},
        ),
    ]
