# The list of entries recorded late walks late entries only, whatever their share of the journal and of a kind.

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("ledger", "0016_repair")]

    operations = [
        migrations.RunSQL(
            [
                "CREATE INDEX ledger_entry_late_id ON ledger_entry (id) WHERE late",
                "CREATE INDEX ledger_entry_late_kind ON ledger_entry (kind, id) WHERE late",
            ],
            ["DROP INDEX ledger_entry_late_kind", "DROP INDEX ledger_entry_late_id"],
        )
    ]
