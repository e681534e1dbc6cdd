"""Contracts beside spot: their size, what positions are asked for by their size, and the mark that settlement is at."""

from decimal import Decimal

import django.db.models.deletion
from django.db import migrations, models

STEPS_WITH_SIZE = """
CREATE OR REPLACE FUNCTION instrument_steps_are_exact() RETURNS trigger
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    base_decimals integer;
    quote_decimals integer;
BEGIN
    SELECT decimals INTO STRICT base_decimals FROM ledger_asset WHERE code = NEW.base_id;
    SELECT decimals INTO STRICT quote_decimals FROM ledger_asset WHERE code = NEW.quote_id;
    IF NEW.base_id = NEW.quote_id THEN
        RAISE EXCEPTION 'an instrument needs two assets' USING ERRCODE = 'check_violation',
            CONSTRAINT = 'instrument_two_assets';
    END IF;
    IF scale(trim_scale(NEW.lot_size)) > base_decimals THEN
        RAISE EXCEPTION 'lot % is not a whole number of base quanta', NEW.lot_size
            USING ERRCODE = 'check_violation', CONSTRAINT = 'instrument_lot_whole_quanta';
    END IF;
    IF scale(trim_scale(NEW.tick_size * NEW.lot_size * NEW.contract_size)) > quote_decimals THEN
        RAISE EXCEPTION 'tick times lot is not a whole number of quote quanta'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'instrument_tick_lot_whole_quanta';
    END IF;
    IF NEW.minor_unit_decimals IS NOT NULL AND (
        scale(trim_scale(NEW.tick_size)) > NEW.minor_unit_decimals OR scale(trim_scale(NEW.lot_size)) > 0
    ) THEN
        RAISE EXCEPTION 'ticks must be whole minor units and lots whole units'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'instrument_minor_units_whole';
    END IF;
    RETURN NEW;
END $$;
"""


def _amount(**options: object) -> models.DecimalField:
    return models.DecimalField(decimal_places=18, max_digits=38, **options)


class Migration(migrations.Migration):
    dependencies = [("marketdata", "0006_mark_price")]

    operations = [
        migrations.AddField("instrument", "contract_size", _amount(default=Decimal(1))),
        migrations.AlterField(
            "instrument",
            "kind",
            models.CharField(choices=[("SPOT", "Spot"), ("PERP", "Perpetual contract")], default="SPOT", max_length=8),
        ),
        migrations.AddConstraint(
            "instrument",
            models.CheckConstraint(
                condition=models.Q(("contract_size__gt", 0))
                & (~models.Q(("kind", "SPOT")) | models.Q(("contract_size", 1))),
                name="instrument_contract_size_is_the_contracts",
            ),
        ),
        migrations.RunSQL(STEPS_WITH_SIZE, migrations.RunSQL.noop),
        migrations.AddField("instrumentstate", "settled_mark", _amount(null=True)),
        migrations.CreateModel(
            "LeverageBracket",
            [
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("notional_floor", _amount()),
                ("leverage_max", models.PositiveSmallIntegerField()),
                ("maintenance_rate", models.DecimalField(decimal_places=8, max_digits=12)),
                ("maintenance_amount", _amount()),
                (
                    "instrument",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="brackets",
                        to="marketdata.instrument",
                    ),
                ),
            ],
            options={"ordering": ("instrument", "notional_floor")},
        ),
        migrations.AddConstraint(
            "leveragebracket",
            models.UniqueConstraint(fields=["instrument", "notional_floor"], name="bracket_once"),
        ),
        migrations.AddConstraint(
            "leveragebracket",
            models.CheckConstraint(
                condition=models.Q(
                    ("leverage_max__gte", 1), ("maintenance_amount__gte", 0), ("notional_floor__gte", 0)
                ),
                name="bracket_not_negative",
            ),
        ),
        migrations.AddConstraint(
            "leveragebracket",
            models.CheckConstraint(
                condition=models.Q(("maintenance_rate__gt", 0), ("maintenance_rate__lt", 1)),
                name="bracket_rate_below_one",
            ),
        ),
    ]
