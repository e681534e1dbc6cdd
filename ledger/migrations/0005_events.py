# The rest of the events: accounts for adjustments, and who may post the new kinds.

from pathlib import Path

from django.db import migrations

SQL = Path(__file__).parent / "sql" / "0005_events.sql"


class Migration(migrations.Migration):
    dependencies = [("ledger", "0004_finance_log")]

    operations = [migrations.RunSQL(SQL.read_text())]
