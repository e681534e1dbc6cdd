from pathlib import Path

from django.db import migrations

SCHEMA = Path(__file__).with_name("schema_0016.sql")


class Migration(migrations.Migration):
    dependencies = [("trading", "0015_columns_side_by_side")]

    operations = [migrations.RunSQL(SCHEMA.read_text(), migrations.RunSQL.noop)]
