# Periods: the table, its triggers and the door that minds them in SQL; what staff ask for as a model.

from pathlib import Path

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

SQL = Path(__file__).parent / "sql" / "0006_periods.sql"


class Migration(migrations.Migration):
    dependencies = [
        ("ledger", "0005_events"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.RunSQL(SQL.read_text()),
        migrations.CreateModel(
            name="Period",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "action",
                    models.CharField(
                        choices=[("CLOSE", "closed"), ("REOPEN", "reopened")], max_length=6, verbose_name="action"
                    ),
                ),
                ("starts_at", models.DateTimeField(verbose_name="from")),
                ("ends_at", models.DateTimeField(verbose_name="to")),
                ("reason", models.CharField(max_length=500, verbose_name="reason")),
                ("recorded_at", models.DateTimeField(verbose_name="recorded at")),
                ("entry_id", models.BigIntegerField(verbose_name="last entry")),
                ("hash", models.BinaryField(verbose_name="hash")),
            ],
            options={
                "verbose_name": "period",
                "verbose_name_plural": "periods",
                "db_table": "ledger_period",
                "managed": False,
            },
        ),
        migrations.CreateModel(
            name="PeriodRequest",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "action",
                    models.CharField(
                        choices=[("CLOSE", "closed"), ("REOPEN", "reopened")], max_length=6, verbose_name="action"
                    ),
                ),
                ("boundary", models.DateTimeField(verbose_name="boundary")),
                ("reason", models.CharField(max_length=500, verbose_name="reason")),
                ("asked_at", models.DateTimeField(verbose_name="asked at")),
                (
                    "state",
                    models.CharField(
                        choices=[("ASKED", "asked"), ("DONE", "done"), ("REFUSED", "refused")],
                        default="ASKED",
                        max_length=8,
                        verbose_name="state",
                    ),
                ),
                ("ended_at", models.DateTimeField(null=True, verbose_name="ended at")),
                ("refusal", models.TextField(blank=True, verbose_name="refusal")),
                (
                    "author",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="author",
                    ),
                ),
                (
                    "period",
                    models.OneToOneField(
                        db_constraint=False,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="request",
                        to="ledger.period",
                        verbose_name="period",
                    ),
                ),
            ],
            options={
                "verbose_name": "period request",
                "verbose_name_plural": "period requests",
                "constraints": [
                    models.UniqueConstraint(
                        models.Value(1), condition=models.Q(("state", "ASKED")), name="ledger_periodrequest_one_waits"
                    )
                ],
            },
        ),
    ]
