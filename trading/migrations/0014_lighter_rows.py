from pathlib import Path

from django.db import migrations

SCHEMA = Path(__file__).with_name("schema_0014.sql")


class Migration(migrations.Migration):
    dependencies = [("trading", "0013_worker_standby"), ("marketdata", "0008_partitions_as_the_default")]

    operations = [migrations.RunSQL(SCHEMA.read_text(), migrations.RunSQL.noop)]
