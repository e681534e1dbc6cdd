# Proposals, comments and attachments; what models cannot say of them, in SQL.

from pathlib import Path

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

SQL = Path(__file__).parent / "sql" / "0008_proposals.sql"


class Migration(migrations.Migration):
    dependencies = [
        ("ledger", "0007_late_span"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Proposal",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "kind",
                    models.CharField(
                        choices=[("MANUAL", "manual entry"), ("CORRECTION", "correction"), ("REVERSAL", "reversal")],
                        max_length=32,
                        verbose_name="kind",
                    ),
                ),
                ("reason", models.CharField(max_length=500, verbose_name="reason")),
                ("effective_at", models.DateTimeField(null=True, verbose_name="effective at")),
                ("made_at", models.DateTimeField(verbose_name="made at")),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("PROPOSED", "proposed"),
                            ("APPROVED", "approved"),
                            ("POSTED", "posted"),
                            ("REFUSED", "refused by the books"),
                            ("REJECTED", "rejected"),
                            ("WITHDRAWN", "withdrawn"),
                        ],
                        default="PROPOSED",
                        max_length=9,
                        verbose_name="state",
                    ),
                ),
                ("checked_at", models.DateTimeField(null=True, verbose_name="checked at")),
                ("remark", models.CharField(blank=True, max_length=500, verbose_name="remark")),
                ("refusal", models.TextField(blank=True, verbose_name="refusal")),
                (
                    "checker",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="checker",
                    ),
                ),
                (
                    "entry",
                    models.OneToOneField(
                        db_constraint=False,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="proposal",
                        to="ledger.journalentry",
                        verbose_name="journal entry",
                    ),
                ),
                (
                    "maker",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="maker",
                    ),
                ),
                (
                    "reverses",
                    models.ForeignKey(
                        db_constraint=False,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="reversal_proposals",
                        to="ledger.journalentry",
                        verbose_name="reverses",
                    ),
                ),
            ],
            options={
                "verbose_name": "proposed entry",
                "verbose_name_plural": "proposed entries",
            },
        ),
        migrations.CreateModel(
            name="ProposalLine",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("n", models.PositiveSmallIntegerField(verbose_name="#")),
                ("owner_id", models.BigIntegerField(null=True, verbose_name="owner")),
                ("code", models.CharField(max_length=4, verbose_name="code")),
                ("sub", models.CharField(blank=True, max_length=64, verbose_name="part")),
                ("amount", models.DecimalField(decimal_places=18, max_digits=38, verbose_name="amount")),
                (
                    "asset",
                    models.ForeignKey(
                        db_column="asset",
                        on_delete=django.db.models.deletion.PROTECT,
                        to="ledger.asset",
                        verbose_name="asset",
                    ),
                ),
                (
                    "proposal",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="lines",
                        to="ledger.proposal",
                        verbose_name="proposed entry",
                    ),
                ),
            ],
            options={
                "verbose_name": "proposed line",
                "verbose_name_plural": "proposed lines",
            },
        ),
        migrations.CreateModel(
            name="EntryAttachment",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=120, verbose_name="file name")),
                ("content_type", models.CharField(max_length=100, verbose_name="content type")),
                ("size_bytes", models.PositiveIntegerField(verbose_name="size in bytes")),
                ("sha256", models.CharField(max_length=64, verbose_name="SHA-256")),
                ("made_at", models.DateTimeField(verbose_name="made at")),
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
                    "entry",
                    models.ForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="attachments",
                        to="ledger.journalentry",
                        verbose_name="journal entry",
                    ),
                ),
            ],
            options={
                "verbose_name": "attachment",
                "verbose_name_plural": "attachments",
                "constraints": [models.UniqueConstraint(fields=("entry", "sha256"), name="ledger_attachment_once")],
            },
        ),
        migrations.CreateModel(
            name="EntryComment",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("text", models.CharField(max_length=2000, verbose_name="text")),
                ("made_at", models.DateTimeField(verbose_name="made at")),
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
                    "entry",
                    models.ForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="comments",
                        to="ledger.journalentry",
                        verbose_name="journal entry",
                    ),
                ),
            ],
            options={
                "verbose_name": "comment",
                "verbose_name_plural": "comments",
                "indexes": [models.Index(fields=["entry", "id"], name="ledger_comment_entry")],
            },
        ),
        migrations.AddIndex(
            model_name="proposal",
            index=models.Index(fields=["state", "id"], name="ledger_proposal_state"),
        ),
        migrations.AddConstraint(
            model_name="proposal",
            constraint=models.CheckConstraint(
                condition=models.Q(("checker", models.F("maker")), _negated=True), name="ledger_proposal_two_people"
            ),
        ),
        migrations.AddConstraint(
            model_name="proposal",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("checked_at__isnull", False),
                        ("checker__isnull", False),
                        ("state__in", ("APPROVED", "POSTED", "REFUSED", "REJECTED")),
                    ),
                    models.Q(
                        models.Q(("state__in", ("APPROVED", "POSTED", "REFUSED", "REJECTED")), _negated=True),
                        ("checked_at__isnull", True),
                        ("checker__isnull", True),
                    ),
                    _connector="OR",
                ),
                name="ledger_proposal_checked",
            ),
        ),
        migrations.AddConstraint(
            model_name="proposal",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("effective_at__isnull", True), ("kind", "REVERSAL"), ("reverses__isnull", False)),
                    models.Q(("effective_at__isnull", True), ("kind", "MANUAL"), ("reverses__isnull", True)),
                    models.Q(("effective_at__isnull", False), ("kind", "CORRECTION"), ("reverses__isnull", True)),
                    _connector="OR",
                ),
                name="ledger_proposal_kind",
            ),
        ),
        migrations.AddConstraint(
            model_name="proposal",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("entry__isnull", False), ("state", "POSTED")),
                    models.Q(models.Q(("state", "POSTED"), _negated=True), ("entry__isnull", True)),
                    _connector="OR",
                ),
                name="ledger_proposal_entry",
            ),
        ),
        migrations.AddConstraint(
            model_name="proposal",
            constraint=models.UniqueConstraint(
                condition=models.Q(("state__in", ("PROPOSED", "APPROVED", "POSTED"))),
                fields=("reverses",),
                name="ledger_proposal_reverses_once",
            ),
        ),
        migrations.AddConstraint(
            model_name="proposalline",
            constraint=models.UniqueConstraint(fields=("proposal", "n"), name="ledger_proposalline_n"),
        ),
        migrations.AddConstraint(
            model_name="proposalline",
            constraint=models.CheckConstraint(
                condition=models.Q(("amount", 0), _negated=True), name="ledger_proposalline_amount"
            ),
        ),
        migrations.RunSQL(SQL.read_text()),
    ]
