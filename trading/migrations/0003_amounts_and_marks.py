from pathlib import Path

from django.db import migrations

SCHEMA = Path(__file__).with_name("schema_0003.sql")


class Migration(migrations.Migration):
    dependencies = [("trading", "0002_order_terms"), ("marketdata", "0006_mark_price")]

    operations = [migrations.RunSQL(SCHEMA.read_text(), migrations.RunSQL.noop)]
