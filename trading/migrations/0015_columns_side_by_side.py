from pathlib import Path

from django.db import migrations

SCHEMA = Path(__file__).with_name("schema_0015.sql")


class Migration(migrations.Migration):
    dependencies = [("trading", "0014_lighter_rows")]

    operations = [migrations.RunSQL(SCHEMA.read_text(), migrations.RunSQL.noop)]
