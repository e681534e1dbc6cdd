from pathlib import Path

from django.db import migrations

SCHEMA = Path(__file__).with_name("schema_0017.sql")


class Migration(migrations.Migration):
    dependencies = [("trading", "0016_private_messages")]

    operations = [migrations.RunSQL(SCHEMA.read_text(), migrations.RunSQL.noop)]
