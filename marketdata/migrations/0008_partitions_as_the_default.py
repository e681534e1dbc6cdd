"""New month partitions take their storage parameters, such as a fill factor, from the default partition."""

from django.db import migrations

MAKE_PARTITIONS = """
-- Make the month partitions of one of our partitioned tables; idempotent. The key is the table's one range column.
CREATE OR REPLACE FUNCTION make_month_partitions(parent text, first_month date, months integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    key text;
    starts timestamptz;
    ends timestamptz;
    name text;
    made integer := 0;
    storage text;
BEGIN
    IF months NOT BETWEEN 1 AND 120 THEN
        RAISE EXCEPTION 'months must be between 1 and 120';
    END IF;
    SELECT a.attname INTO STRICT key FROM pg_partitioned_table t
    JOIN pg_attribute a ON a.attrelid = t.partrelid AND a.attnum = t.partattrs[0]
    WHERE t.partrelid = to_regclass('public.' || quote_ident(parent)) AND t.partstrat = 'r' AND t.partnatts = 1;
    SELECT coalesce('WITH (' || array_to_string(reloptions, ', ') || ')', '') INTO STRICT storage
    FROM pg_class WHERE oid = to_regclass('public.' || quote_ident(parent || '_default'));
    PERFORM pg_advisory_xact_lock(hashtext('make_month_partitions'));
    FOR step IN 0 .. months - 1 LOOP
        starts := date_trunc('month', first_month::timestamp) + make_interval(months => step);
        ends := starts + interval '1 month';
        name := parent || '_' || to_char(starts, 'YYYY_MM');
        CONTINUE WHEN to_regclass('public.' || quote_ident(name)) IS NOT NULL;
        EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING DEFAULTS INCLUDING CONSTRAINTS) ' || storage, name, parent);
        -- Rows that fell into the default partition move: it may hold none of what is attached.
        EXECUTE format(
            'WITH moved AS (DELETE FROM %I WHERE %I >= %L AND %I < %L RETURNING *) INSERT INTO %I SELECT * FROM moved',
            parent || '_default', key, starts, key, ends, name);
        EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', parent, name, starts, ends);
        made := made + 1;
    END LOOP;
    RETURN made;
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [("marketdata", "0007_contracts")]

    operations = [migrations.RunSQL(MAKE_PARTITIONS, migrations.RunSQL.noop)]
