from pathlib import Path

from django.db import migrations, models

SCHEMA = Path(__file__).with_name("schema_0010.sql")
CAUSES = [
    "REVIEW_EXPIRED",
    "REVIEW_ROBBED",
    "ENDED",
    "NEVER_LOGGED",
    "CANCEL_UNANSWERED",
    "AMEND_UNANSWERED",
    "EXPIRY_UNANSWERED",
    "NEVER_RESTS",
    "LOTS_NOT_TAKEN",
]
STATES = ["NOTED", "ASKED", "VOIDED", "CLOSED", "BROKEN"]


class Migration(migrations.Migration):
    dependencies = [("trading", "0009_position_list"), ("ledger", "0005_events")]

    operations = [
        migrations.RunSQL(SCHEMA.read_text(), migrations.RunSQL.noop),
        migrations.CreateModel(
            name="HoldSweep",
            fields=[
                ("order_id", models.BigIntegerField(primary_key=True, serialize=False)),
                ("user_id", models.BigIntegerField()),
                ("instrument_id", models.SmallIntegerField()),
                ("symbol", models.CharField(max_length=24)),
                ("shard", models.SmallIntegerField()),
                ("cause", models.CharField(choices=[(cause, cause) for cause in CAUSES], max_length=24)),
                ("since", models.DateTimeField()),
                ("state", models.CharField(choices=[(state, state) for state in STATES], max_length=8)),
                ("log_head", models.BigIntegerField()),
                ("command_sequence", models.BigIntegerField(null=True)),
                ("hold_asset", models.CharField(max_length=16)),
                ("hold_voided", models.DecimalField(decimal_places=18, max_digits=38)),
                ("quantity_voided", models.DecimalField(decimal_places=18, max_digits=38)),
                ("why", models.CharField(max_length=500)),
                ("trace", models.CharField(max_length=28)),
                ("version", models.IntegerField()),
                ("noted_at", models.DateTimeField()),
                ("updated_at", models.DateTimeField()),
            ],
            options={
                "db_table": "hold_sweeps",
                "managed": False,
                "verbose_name": "swept hold",
                "verbose_name_plural": "swept holds",
            },
        ),
    ]
