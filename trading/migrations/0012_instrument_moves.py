from pathlib import Path

from django.db import migrations, models

SCHEMA = Path(__file__).with_name("schema_0012.sql")


class Migration(migrations.Migration):
    dependencies = [("trading", "0011_locked_epoch")]

    operations = [
        migrations.RunSQL(SCHEMA.read_text(), migrations.RunSQL.noop),
        migrations.CreateModel(
            name="InstrumentMove",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("instrument_id", models.SmallIntegerField()),
                ("symbol", models.CharField(max_length=24)),
                ("from_shard", models.SmallIntegerField()),
                ("from_sequence", models.BigIntegerField()),
                ("to_shard", models.SmallIntegerField()),
                ("to_sequence", models.BigIntegerField()),
                ("positions", models.IntegerField()),
                ("moved_at", models.DateTimeField()),
            ],
            options={
                "db_table": "instrument_moves",
                "managed": False,
            },
        ),
    ]
