from pathlib import Path

from django.db import migrations

SCHEMA = Path(__file__).with_name("schema_0013.sql")


class Migration(migrations.Migration):
    dependencies = [("trading", "0012_instrument_moves")]

    operations = [migrations.RunSQL(SCHEMA.read_text(), migrations.RunSQL.noop)]
