# The door and its checks in fewer passes over a batch.

from pathlib import Path

from django.db import migrations

SQL = Path(__file__).parent / "sql" / "0011_fast_door.sql"


class Migration(migrations.Migration):
    dependencies = [("ledger", "0010_transfer_guards")]

    operations = [migrations.RunSQL(SQL.read_text())]
