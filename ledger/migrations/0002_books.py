# The books: what Django's models cannot say is said in SQL, in four parts that read from top to bottom.

from pathlib import Path

from django.db import migrations

SQL = Path(__file__).parent / "sql"
PARTS = ("0001_tables.sql", "0002_checks.sql", "0003_door.sql", "0004_roles.sql")


class Migration(migrations.Migration):
    dependencies = [("ledger", "0001_initial")]

    operations = [migrations.RunSQL((SQL / part).read_text()) for part in PARTS]
