"""Candles partitioned by month, and the trigger that keeps ticks and lots whole numbers of quanta."""

from django.db import migrations

KLINES = """
CREATE TABLE klines_1m (
    symbol varchar(24) NOT NULL,
    "timestamp" timestamptz NOT NULL,
    open numeric(38, 18) NOT NULL,
    high numeric(38, 18) NOT NULL,
    low numeric(38, 18) NOT NULL,
    close numeric(38, 18) NOT NULL,
    volume numeric(38, 18) NOT NULL,
    turnover numeric(38, 18) NOT NULL,
    trade_count bigint NOT NULL,
    PRIMARY KEY (symbol, "timestamp"),
    CONSTRAINT klines_1m_whole_minute CHECK ("timestamp" = date_trunc('minute', "timestamp", 'UTC')),
    CONSTRAINT klines_1m_in_order CHECK (
        0 < low AND low <= least(open, close) AND greatest(open, close) <= high
        AND volume > 0 AND turnover > 0 AND trade_count > 0
    )
) PARTITION BY RANGE ("timestamp");
CREATE TABLE klines_1m_default PARTITION OF klines_1m DEFAULT;

-- Make the month partitions of one of our partitioned tables; idempotent. The key is the table's one range column.
CREATE FUNCTION make_month_partitions(parent text, first_month date, months integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    key text;
    starts timestamptz;
    ends timestamptz;
    name text;
    made integer := 0;
BEGIN
    IF months NOT BETWEEN 1 AND 120 THEN
        RAISE EXCEPTION 'months must be between 1 and 120';
    END IF;
    SELECT a.attname INTO STRICT key FROM pg_partitioned_table t
    JOIN pg_attribute a ON a.attrelid = t.partrelid AND a.attnum = t.partattrs[0]
    WHERE t.partrelid = to_regclass('public.' || quote_ident(parent)) AND t.partstrat = 'r' AND t.partnatts = 1;
    PERFORM pg_advisory_xact_lock(hashtext('make_month_partitions'));
    FOR step IN 0 .. months - 1 LOOP
        starts := date_trunc('month', first_month::timestamp) + make_interval(months => step);
        ends := starts + interval '1 month';
        name := parent || '_' || to_char(starts, 'YYYY_MM');
        CONTINUE WHEN to_regclass('public.' || quote_ident(name)) IS NOT NULL;
        EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', name, parent);
        -- Rows that fell into the default partition move: it may hold none of what is attached.
        EXECUTE format(
            'WITH moved AS (DELETE FROM %I WHERE %I >= %L AND %I < %L RETURNING *) INSERT INTO %I SELECT * FROM moved',
            parent || '_default', key, starts, key, ends, name);
        EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', parent, name, starts, ends);
        made := made + 1;
    END LOOP;
    RETURN made;
END $$;
SELECT make_month_partitions('klines_1m', current_date, 3);
"""

KLINES_REVERSE = """
DROP FUNCTION make_month_partitions(text, date, integer);
DROP TABLE klines_1m;
"""

EXACT_STEPS = """
CREATE FUNCTION instrument_steps_are_exact() RETURNS trigger
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
    IF scale(trim_scale(NEW.tick_size * NEW.lot_size)) > quote_decimals THEN
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
CREATE TRIGGER instrument_steps_are_exact BEFORE INSERT OR UPDATE ON marketdata_instrument
    FOR EACH ROW EXECUTE FUNCTION instrument_steps_are_exact();
"""

EXACT_STEPS_REVERSE = """
DROP TRIGGER instrument_steps_are_exact ON marketdata_instrument;
DROP FUNCTION instrument_steps_are_exact();
"""


class Migration(migrations.Migration):
    dependencies = [("marketdata", "0002_states_and_checks")]

    operations = [
        migrations.RunSQL(KLINES, KLINES_REVERSE),
        migrations.RunSQL(EXACT_STEPS, EXACT_STEPS_REVERSE),
    ]
