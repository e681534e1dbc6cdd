# What deposits and withdrawals may become: triggers, which Django's models cannot say.

from pathlib import Path

from django.db import migrations

SQL = Path(__file__).parent / "sql" / "0010_transfer_guards.sql"


class Migration(migrations.Migration):
    dependencies = [("ledger", "0009_transfers")]

    operations = [migrations.RunSQL(SQL.read_text())]
