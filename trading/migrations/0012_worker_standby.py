from pathlib import Path

from django.db import migrations

SCHEMA = Path(__file__).with_name("schema_0012.sql")


class Migration(migrations.Migration):
    dependencies = [("trading", "0011_locked_epoch")]

    operations = [migrations.RunSQL(SCHEMA.read_text(), migrations.RunSQL.noop)]
