# A fifth private channel: notices, which the ledger gives.

from django.db import migrations

CHECK = "ALTER TABLE private_events DROP CONSTRAINT private_events_channel_check, ADD CONSTRAINT private_events_channel_check CHECK (channel IN ({}))"
CHANNELS = "'orders', 'fills', 'balances', 'positions'"


class Migration(migrations.Migration):
    dependencies = [("trading", "0003_amounts_and_marks")]

    operations = [migrations.RunSQL(CHECK.format(CHANNELS + ", 'notices'"), CHECK.format(CHANNELS))]
