# The door and its checks in fewer passes over a batch.

from pathlib import Path

from django.db import migrations

SQL = Path(__file__).parent / "sql" / "0013_fast_door.sql"


class Migration(migrations.Migration):
    dependencies = [("ledger", "0012_reserves")]

    operations = [migrations.RunSQL(SQL.read_text())]
