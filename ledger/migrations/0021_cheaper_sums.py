# The door and its check of lines for less work a line.

from pathlib import Path

from django.db import migrations

SQL = Path(__file__).parent / "sql" / "0021_cheaper_sums.sql"


class Migration(migrations.Migration):
    dependencies = [("ledger", "0020_back_office_rounds")]

    operations = [migrations.RunSQL(SQL.read_text())]
