# Totals after every so many entries, for statements over all users.

from pathlib import Path

from django.db import migrations

SQL = Path(__file__).parent / "sql" / "0013_totals.sql"


class Migration(migrations.Migration):
    dependencies = [("ledger", "0012_reserves")]

    operations = [migrations.RunSQL(SQL.read_text())]
