-- Who may post what. Processes run as one of three roles; the owner (migrations, operators) may post all.

DO $$
DECLARE
    v_role text;
BEGIN
    FOREACH v_role IN ARRAY ARRAY['exchange_web', 'exchange_worker', 'exchange_back_office'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = v_role) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', v_role);
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                NULL;  -- another database of this server is being migrated at the same time
            END;
        END IF;
        IF NOT pg_has_role(current_user, v_role, 'SET') THEN
            EXECUTE format('GRANT %I TO %I', v_role, current_user);
        END IF;
    END LOOP;
END $$;

CREATE TABLE ledger_posting_right (
    role varchar(63) NOT NULL,
    kind varchar(32) NOT NULL,  -- '*' is every kind
    PRIMARY KEY (role, kind)
);
INSERT INTO ledger_posting_right (role, kind) VALUES
    ('exchange_web', 'ORDER_FREEZE'),
    ('exchange_web', 'ORDER_UNFREEZE'),
    ('exchange_web', 'WITHDRAWAL_HOLD'),
    ('exchange_worker', 'ORDER_FREEZE'),
    ('exchange_worker', 'ORDER_UNFREEZE'),
    ('exchange_worker', 'SPOT_FILL'),
    ('exchange_worker', 'MAKER_REBATE'),
    ('exchange_worker', 'DEBT_REPAYMENT'),
    ('exchange_back_office', 'DEPOSIT'),
    ('exchange_back_office', 'WITHDRAWAL_HOLD'),
    ('exchange_back_office', 'WITHDRAWAL_SETTLE'),
    ('exchange_back_office', 'WITHDRAWAL_REJECT'),
    ('exchange_back_office', 'DEBT_REPAYMENT'),
    ('exchange_back_office', 'DEBT_WRITE_OFF'),
    ('exchange_back_office', 'INSURANCE_TOP_UP'),
    ('exchange_back_office', 'CAPITAL');

-- Inside a SECURITY DEFINER function current_user is the owner; `role` still names who asked.
CREATE FUNCTION ledger_check_right(p_kinds text[]) RETURNS void LANGUAGE plpgsql STABLE
SET search_path = public, pg_temp AS $$
DECLARE
    v_role  text := current_setting('role');
    v_kinds text;
BEGIN
    IF v_role = 'none' THEN
        v_role := session_user;
    END IF;
    IF pg_has_role(v_role, (SELECT relowner FROM pg_class WHERE oid = 'ledger_entry'::regclass), 'MEMBER') THEN
        RETURN;
    END IF;
    SELECT string_agg(DISTINCT k, ', ') INTO v_kinds
    FROM unnest(p_kinds) AS k
    WHERE NOT EXISTS (
        SELECT FROM ledger_posting_right r
        WHERE r.kind IN (k, '*') AND pg_has_role(v_role, r.role::name, 'MEMBER'));
    IF v_kinds IS NOT NULL THEN
        RAISE EXCEPTION '% may not post %', v_role, v_kinds
            USING ERRCODE = 'insufficient_privilege', CONSTRAINT = 'ledger_posting_right';
    END IF;
END $$;

-- After every migrate: ordinary work on ordinary tables, reading only on the books.
CREATE FUNCTION ledger_grant_roles() RETURNS void LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    v_roles  constant text := 'exchange_web, exchange_worker, exchange_back_office';
    v_books  constant text[] := ARRAY['ledger_account', 'ledger_entry', 'ledger_line', 'ledger_head',
                                      'ledger_posting_right', 'django_migrations'];
    v_table  record;
    v_routine record;
BEGIN
    EXECUTE 'REVOKE CREATE ON SCHEMA public FROM PUBLIC';
    EXECUTE 'GRANT USAGE ON SCHEMA public TO ' || v_roles;
    FOR v_table IN
        SELECT c.oid, c.relname, c.relkind FROM pg_class c
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'S')
          AND pg_has_role(current_user, c.relowner, 'USAGE')
    LOOP
        IF v_table.relkind = 'S' THEN
            IF NOT has_sequence_privilege('exchange_back_office', v_table.oid, 'USAGE') THEN
                EXECUTE format('GRANT USAGE, SELECT ON SEQUENCE %I TO %s', v_table.relname, v_roles);
            END IF;
        ELSIF v_table.relname = ANY (v_books) OR v_table.relkind IN ('v', 'm') THEN
            EXECUTE format('GRANT SELECT ON %I TO %s', v_table.relname, v_roles);
        ELSIF NOT has_table_privilege('exchange_back_office', v_table.oid, 'DELETE') THEN
            EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO %s', v_table.relname, v_roles);
        END IF;
    END LOOP;
    FOR v_routine IN
        SELECT p.oid::regprocedure AS name FROM pg_proc p
        WHERE p.pronamespace = 'public'::regnamespace AND p.proname LIKE 'ledger\_%'
    LOOP
        EXECUTE format('REVOKE ALL ON ROUTINE %s FROM PUBLIC', v_routine.name);
    END LOOP;
    EXECUTE 'GRANT EXECUTE ON FUNCTION '
        'ledger_post(timestamptz, text[], text[], timestamptz[], text[], bigint[], '
                    'integer[], smallint[], bigint[], numeric[]), '
        'ledger_open_accounts(bigint[], text[], text[], text[]), '
        'ledger_find_accounts(bigint[], text[], text[], text[]), '
        'ledger_payload(bigint, text, text, timestamptz, boolean, timestamptz, text, bigint, text), '
        'ledger_microseconds(timestamptz) '
        'TO ' || v_roles;
END $$;
