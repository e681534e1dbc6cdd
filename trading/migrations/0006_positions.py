from pathlib import Path

from django.db import migrations, models

SCHEMA = Path(__file__).with_name("schema_0006.sql")


class Migration(migrations.Migration):
    dependencies = [("trading", "0005_suspense"), ("marketdata", "0007_contracts")]

    operations = [
        migrations.RunSQL(SCHEMA.read_text(), migrations.RunSQL.noop),
        migrations.CreateModel(
            name="OrderPart",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "order_id", "kind", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("order_id", models.BigIntegerField()),
                ("kind", models.CharField(max_length=8)),
                ("user_id", models.BigIntegerField()),
                ("instrument_id", models.SmallIntegerField()),
                ("quantity", models.DecimalField(decimal_places=18, max_digits=38)),
                ("quantity_going", models.DecimalField(decimal_places=18, max_digits=38)),
                ("quantity_stolen", models.DecimalField(decimal_places=18, max_digits=38)),
                ("quantity_left", models.DecimalField(decimal_places=18, max_digits=38)),
                ("funds_left", models.DecimalField(decimal_places=18, max_digits=38)),
                ("state", models.CharField(max_length=9)),
                ("version", models.IntegerField()),
                ("updated_at", models.DateTimeField()),
            ],
            options={
                "db_table": "order_parts",
                "managed": False,
            },
        ),
        migrations.CreateModel(
            name="Position",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "user_id", "instrument_id", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
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
                "db_table": "positions",
                "managed": False,
            },
        ),
        migrations.CreateModel(
            name="PositionStep",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "user_id",
                        "instrument_id",
                        "version",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("user_id", models.BigIntegerField()),
                ("instrument_id", models.SmallIntegerField()),
                ("version", models.BigIntegerField()),
                ("change", models.CharField(max_length=16)),
                ("quantity", models.DecimalField(decimal_places=18, max_digits=38)),
                ("open_cost", models.DecimalField(decimal_places=18, max_digits=38)),
                ("margin", models.DecimalField(decimal_places=18, max_digits=38)),
                ("result", models.DecimalField(decimal_places=18, max_digits=38)),
                ("fee", models.DecimalField(decimal_places=18, max_digits=38)),
                ("leverage", models.SmallIntegerField()),
                ("trade_id", models.BigIntegerField(null=True)),
                ("order_id", models.BigIntegerField(null=True)),
                ("price", models.DecimalField(decimal_places=18, max_digits=38, null=True)),
                ("sequence", models.BigIntegerField()),
                ("happened_at", models.DateTimeField()),
            ],
            options={
                "db_table": "position_events",
                "managed": False,
            },
        ),
    ]
