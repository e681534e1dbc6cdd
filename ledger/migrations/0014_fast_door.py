# The door and its checks in fewer passes over a batch.

from pathlib import Path

from django.db import migrations

SQL = Path(__file__).parent / "sql" / "0014_fast_door.sql"


class Migration(migrations.Migration):
    dependencies = [("ledger", "0013_totals")]

    operations = [migrations.RunSQL(SQL.read_text())]
