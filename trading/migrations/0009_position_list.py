from django.db import migrations, models

LIST = """
CREATE VIEW position_list AS
SELECT user_id || ':' || instrument_id AS id, user_id, instrument_id, symbol, quantity, open_cost, margin, margin_missing,
       reserved, realised_pnl, leverage, is_locked, version, updated_at
FROM positions
"""


class Migration(migrations.Migration):
    dependencies = [("trading", "0008_margin_requests")]

    operations = [
        migrations.RunSQL(LIST, "DROP VIEW position_list"),
        migrations.CreateModel(
            name="PositionRow",
            fields=[
                ("id", models.CharField(max_length=48, primary_key=True, serialize=False)),
                ("user_id", models.BigIntegerField()),
                ("instrument_id", models.SmallIntegerField()),
                ("symbol", models.CharField(max_length=24)),
                ("quantity", models.DecimalField(decimal_places=18, max_digits=38)),
                ("open_cost", models.DecimalField(decimal_places=18, max_digits=38)),
                ("margin", models.DecimalField(decimal_places=18, max_digits=38)),
                ("margin_missing", models.DecimalField(decimal_places=18, max_digits=38)),
                ("reserved", models.DecimalField(decimal_places=18, max_digits=38)),
                ("realised_pnl", models.DecimalField(decimal_places=18, max_digits=38)),
                ("leverage", models.SmallIntegerField()),
                ("is_locked", models.BooleanField()),
                ("version", models.BigIntegerField()),
                ("updated_at", models.DateTimeField()),
            ],
            options={
                "verbose_name": "position",
                "verbose_name_plural": "positions",
                "db_table": "position_list",
                "managed": False,
            },
        ),
        migrations.AlterModelOptions(
            name="marginrequest",
            options={
                "managed": False,
                "verbose_name": "change of margin",
                "verbose_name_plural": "changes of margin",
            },
        ),
    ]
