# The door and its checks for less work an entry and a line.

from pathlib import Path

from django.db import migrations

SQL = Path(__file__).parent / "sql" / "0019_lighter_door.sql"


class Migration(migrations.Migration):
    dependencies = [("ledger", "0018_runs_by_settlement")]

    operations = [migrations.RunSQL(SQL.read_text())]
