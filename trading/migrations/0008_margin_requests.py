from pathlib import Path

from django.db import migrations, models

SCHEMA = Path(__file__).with_name("schema_0008.sql")


class Migration(migrations.Migration):
    dependencies = [("trading", "0007_events"), ("ledger", "0005_events")]

    operations = [
        migrations.RunSQL(SCHEMA.read_text(), migrations.RunSQL.noop),
        migrations.CreateModel(
            name="MarginRequest",
            fields=[
                ("id", models.BigAutoField(primary_key=True)),
                ("user_id", models.BigIntegerField()),
                ("instrument_id", models.SmallIntegerField()),
                ("symbol", models.CharField(max_length=24)),
                ("direction", models.CharField(choices=[("add", "Add"), ("remove", "Remove")], max_length=6)),
                ("amount", models.DecimalField(decimal_places=18, max_digits=38)),
                ("client_margin_id", models.CharField(max_length=64, null=True)),
                (
                    "state",
                    models.CharField(
                        choices=[("waiting", "Waiting"), ("done", "Done"), ("refused", "Refused")], max_length=7
                    ),
                ),
                ("reason", models.CharField(default="", max_length=40)),
                ("log_heads", models.JSONField(default=dict)),
                ("trace", models.CharField(max_length=28)),
                ("requested_at", models.DateTimeField()),
                ("ended_at", models.DateTimeField(null=True)),
            ],
            options={
                "db_table": "margin_requests",
                "managed": False,
            },
        ),
    ]
