# Statements of a past moment ask which late entries had happened by then and were recorded only later.

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("ledger", "0006_periods")]

    operations = [
        migrations.RunSQL(
            # least(): a late entry that a closed period has moved forward never corrects anything.
            "CREATE INDEX ledger_entry_late_span ON ledger_entry"
            " USING gist (tstzrange(least(effective_at, recorded_at), recorded_at)) WHERE late",
            "DROP INDEX ledger_entry_late_span",
        )
    ]
