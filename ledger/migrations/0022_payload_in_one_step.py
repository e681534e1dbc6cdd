# The door for less work a line.

from pathlib import Path

from django.db import migrations

SQL = Path(__file__).parent / "sql" / "0022_payload_in_one_step.sql"


class Migration(migrations.Migration):
    dependencies = [("ledger", "0021_cheaper_sums")]

    operations = [migrations.RunSQL(SQL.read_text())]
