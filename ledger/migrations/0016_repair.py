# A damaged balance may be put right to what its lines say.

from pathlib import Path

from django.db import migrations

SQL = Path(__file__).parent / "sql" / "0016_repair.sql"


class Migration(migrations.Migration):
    dependencies = [("ledger", "0015_deposits_in_suspense")]

    operations = [migrations.RunSQL(SQL.read_text())]
