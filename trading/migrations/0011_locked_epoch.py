from pathlib import Path

from django.db import migrations

SCHEMA = Path(__file__).with_name("schema_0011.sql")


class Migration(migrations.Migration):
    dependencies = [("trading", "0010_hold_sweeps")]

    operations = [migrations.RunSQL(SCHEMA.read_text(), migrations.RunSQL.noop)]
