# Deposits that wait for a second person stand in suspense meanwhile, and may still be refused.

from pathlib import Path

from django.db import migrations

SQL = Path(__file__).parent / "sql" / "0015_deposits_in_suspense.sql"


class Migration(migrations.Migration):
    dependencies = [("ledger", "0014_fast_door")]

    operations = [migrations.RunSQL(SQL.read_text())]
