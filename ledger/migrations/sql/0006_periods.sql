-- Closed periods: nothing is effective before ledger_head.closed_before, whoever asks. Every close and every
-- reopening stays as a row of ledger_period.

-- What lies before this moment was never open: no entry is older.
ALTER TABLE ledger_head ADD COLUMN closed_before timestamptz NOT NULL DEFAULT '2000-01-01 00:00:00+00';
COMMENT ON COLUMN ledger_head.closed_before IS 'The first open moment. Moved by ledger_period alone.';

CREATE TABLE ledger_period (
    id          bigint PRIMARY KEY,
    action      varchar(6) NOT NULL,
    starts_at   timestamptz NOT NULL,
    ends_at     timestamptz NOT NULL,
    reason      varchar(500) NOT NULL,
    author_id   bigint NOT NULL,
    recorded_at timestamptz NOT NULL,
    entry_id    bigint NOT NULL,
    hash        bytea NOT NULL,
    CONSTRAINT ledger_period_action CHECK (action IN ('CLOSE', 'REOPEN')),
    CONSTRAINT ledger_period_length CHECK (starts_at < ends_at),
    CONSTRAINT ledger_period_reason CHECK (length(btrim(reason)) >= 3),
    CONSTRAINT ledger_period_past CHECK (action = 'REOPEN' OR ends_at <= recorded_at)
);
COMMENT ON TABLE ledger_period IS 'What was closed or reopened: everything effective from starts_at on, before ends_at.';
COMMENT ON COLUMN ledger_period.entry_id IS 'The last entry when it was done, with its hash: what the books were.';

-- A close goes on where the last one ended; a reopening ends there, and goes back to the start of some close.
CREATE FUNCTION ledger_check_period() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    v_head ledger_head;
    v_last bigint;
BEGIN
    SELECT * INTO STRICT v_head FROM ledger_head WHERE id = 1 FOR NO KEY UPDATE;
    SELECT coalesce(max(id), 0) INTO v_last FROM ledger_period;
    IF NEW.id <> v_last + 1 OR NEW.entry_id <> v_head.entry_id OR NEW.hash <> v_head.hash
       OR NEW.recorded_at < v_head.recorded_at
       OR (CASE NEW.action WHEN 'CLOSE' THEN NEW.starts_at ELSE NEW.ends_at END) <> v_head.closed_before
       OR NEW.action = 'REOPEN'
          AND NOT EXISTS (SELECT FROM ledger_period p WHERE p.action = 'CLOSE' AND p.starts_at = NEW.starts_at)
    THEN
        PERFORM ledger_refuse('ledger_period_order', 'periods follow one another', to_jsonb(NEW)::text);
    END IF;
    RETURN NEW;
END $$;

CREATE FUNCTION ledger_move_boundary() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE ledger_head SET closed_before = CASE NEW.action WHEN 'CLOSE' THEN NEW.ends_at ELSE NEW.starts_at END
    WHERE id = 1;
    RETURN NULL;
END $$;

CREATE TRIGGER ledger_period_check BEFORE INSERT ON ledger_period
    FOR EACH ROW EXECUTE FUNCTION ledger_check_period();
CREATE TRIGGER ledger_period_moves AFTER INSERT ON ledger_period
    FOR EACH ROW EXECUTE FUNCTION ledger_move_boundary();
CREATE TRIGGER ledger_period_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_period
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();

-- The head says what the last entry and the last period say, whoever moves it.
CREATE FUNCTION ledger_check_head() RETURNS trigger LANGUAGE plpgsql
SET enable_seqscan = off AS $$
DECLARE
    v_entry  record;
    v_closed timestamptz;
BEGIN
    SELECT id, hash, recorded_at INTO v_entry FROM ledger_entry ORDER BY id DESC LIMIT 1;
    IF NEW.entry_id <> coalesce(v_entry.id, 0) OR NEW.hash <> coalesce(v_entry.hash, sha256(''))
       OR NEW.recorded_at <> coalesce(v_entry.recorded_at, '-infinity')
    THEN
        PERFORM ledger_refuse('ledger_head_entry', 'the head is the last entry', NEW.entry_id::text);
    END IF;
    IF NEW.closed_before <> OLD.closed_before THEN
        SELECT CASE action WHEN 'CLOSE' THEN ends_at ELSE starts_at END INTO v_closed
        FROM ledger_period ORDER BY id DESC LIMIT 1;
        IF NEW.closed_before IS DISTINCT FROM v_closed THEN
            PERFORM ledger_refuse('ledger_head_closed', 'periods are closed by rows of ledger_period',
                                  NEW.closed_before::text);
        END IF;
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER ledger_head_check AFTER UPDATE ON ledger_head
    FOR EACH ROW EXECUTE FUNCTION ledger_check_head();

-- What happened elsewhere already, and can therefore not be refused: into a closed period it posts at the first
-- open moment, flagged late.
CREATE TABLE ledger_fact_kind (kind varchar(32) PRIMARY KEY);
INSERT INTO ledger_fact_kind (kind) VALUES
    ('ORDER_FREEZE'), ('ORDER_UNFREEZE'), ('SPOT_FILL'), ('MAKER_REBATE'), ('OPEN_FILL'), ('CLOSE_FILL'),
    ('FLIP_CLOSE'), ('FLIP_OPEN'), ('CLOSE_TO_OPEN'), ('OPEN_TO_CLOSE'), ('MARGIN_ADD'), ('MARGIN_REMOVE'),
    ('FUNDING_PAID'), ('FUNDING_RECEIVED'), ('FUNDING_ROUNDING'), ('LIQUIDATION_TAKE_OVER'), ('ENGINE_CLOSE'),
    ('ADL_CLOSE'), ('DEBT_CHARGE'), ('DEBT_REPAYMENT'), ('SUSPENSE_FILL'), ('SUSPENSE_SPOT_FILL');

ALTER TABLE ledger_entry ADD CONSTRAINT ledger_entry_late
    CHECK (late OR effective_at >= recorded_at - interval '60 seconds');

-- Every set of entries: of this transaction, dense, in order of recording, each with lines, each effective in an
-- open period and not in the future.
CREATE OR REPLACE FUNCTION ledger_check_entries() RETURNS trigger LANGUAGE plpgsql
SET enable_nestloop = on SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off AS $$
DECLARE
    v_bad    record;
    v_closed timestamptz;
BEGIN
    SELECT id INTO v_bad FROM inserted WHERE transaction_id <> pg_current_xact_id() LIMIT 1;
    IF FOUND THEN
        PERFORM ledger_refuse('ledger_entry_transaction', 'an entry names its own transaction', v_bad::text);
    END IF;
    SELECT i.id INTO v_bad FROM inserted i
    LEFT JOIN ledger_entry p ON p.id = i.id - 1
    WHERE i.id > 1 AND (p.id IS NULL OR p.recorded_at > i.recorded_at) LIMIT 1;
    IF FOUND THEN
        PERFORM ledger_refuse('ledger_entry_dense',
            'entry numbers have no gap and follow the order of recording', v_bad::text);
    END IF;
    SELECT i.id INTO v_bad FROM inserted i
    WHERE NOT EXISTS (SELECT FROM ledger_line l WHERE l.entry_id = i.id) LIMIT 1;
    IF FOUND THEN
        PERFORM ledger_refuse('ledger_entry_lines', 'an entry has lines', v_bad::text);
    END IF;
    -- Locked: who closes a period waits for this transaction, or this transaction for the close.
    SELECT closed_before INTO STRICT v_closed FROM ledger_head WHERE id = 1 FOR SHARE;
    SELECT i.key, i.effective_at, i.effective_at < v_closed AS is_closed INTO v_bad FROM inserted i
    WHERE i.effective_at < v_closed OR i.effective_at > i.recorded_at + interval '60 seconds' LIMIT 1;
    IF FOUND THEN
        PERFORM ledger_refuse(
            CASE WHEN v_bad.is_closed THEN 'ledger_period_closed' ELSE 'ledger_entry_future' END,
            CASE WHEN v_bad.is_closed THEN 'its period is closed' ELSE 'it lies in the future' END,
            jsonb_build_object('key', v_bad.key, 'effective_at', v_bad.effective_at, 'closed_before', v_closed)::text);
    END IF;
    RETURN NULL;
END $$;

-- As in 0003_door.sql, but that a fact of a closed period becomes effective at the first open moment.
CREATE OR REPLACE FUNCTION ledger_post(
    p_now timestamptz,
    p_kinds text[], p_keys text[], p_effective_at timestamptz[], p_traces text[], p_reverses bigint[],
    p_line_draft integer[], p_line_n smallint[], p_line_account bigint[], p_line_amount numeric[]
) RETURNS TABLE (position_in_batch integer, entry_id bigint, entry_kind text, repeated boolean)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp
SET enable_nestloop = off SET enable_seqscan = off SET TimeZone = 'UTC'
AS $$
#variable_conflict use_column
DECLARE
    v_head        ledger_head;
    v_recorded_at timestamptz;
    v_latest      timestamptz;    -- clocks of other machines may be ahead by as much
    v_effective   timestamptz[] := p_effective_at;
    v_ids         bigint[];   -- the new entry's id, or 0 for a repeat
    v_answers     bigint[];   -- the id to answer
    v_fresh       integer;
BEGIN
    PERFORM ledger_check_right(p_kinds);
    SELECT * INTO STRICT v_head FROM ledger_head WHERE id = 1 FOR NO KEY UPDATE;
    -- Never before the previous entry, and never in the future.
    v_recorded_at := greatest(v_head.recorded_at, least(p_now, clock_timestamp()));
    v_latest := v_recorded_at + interval '60 seconds';
    IF EXISTS (SELECT FROM unnest(p_effective_at) AS e WHERE e < v_head.closed_before OR e > v_latest) THEN
        SELECT array_agg(CASE WHEN f.kind IS NULL THEN d.effective_at
                              ELSE greatest(v_head.closed_before, least(d.effective_at, v_latest)) END
                         ORDER BY d.place) INTO v_effective
        FROM unnest(p_kinds, p_effective_at) WITH ORDINALITY AS d (kind, effective_at, place)
        LEFT JOIN ledger_fact_kind f ON f.kind = d.kind;
    END IF;

    WITH draft AS (
        SELECT d.key, d.place, e.id AS posted,
               row_number() OVER (PARTITION BY d.key ORDER BY d.place) AS turn
        FROM unnest(p_keys) WITH ORDINALITY AS d (key, place)
        LEFT JOIN (SELECT id, key FROM ledger_entry WHERE key = ANY (p_keys)) e ON e.key = d.key
    ), numbered AS (
        SELECT key, place, posted, turn,
               CASE WHEN posted IS NULL AND turn = 1
                    THEN v_head.entry_id + count(*) FILTER (WHERE posted IS NULL AND turn = 1) OVER (ORDER BY place)
                    ELSE 0 END AS id
        FROM draft
    ), answered AS (
        SELECT place, id, coalesce(posted, max(id) OVER (PARTITION BY key)) AS answer FROM numbered
    )
    SELECT array_agg(id ORDER BY place), array_agg(answer ORDER BY place), count(*) FILTER (WHERE id > 0)
    INTO v_ids, v_answers, v_fresh FROM answered;

    IF v_fresh > 0 THEN
        -- One statement, so that the triggers see entries, lines and balances together.
        WITH line AS MATERIALIZED (
            SELECT v_ids[l.draft] AS entry_id, l.draft, l.n, l.account_id, l.amount::numeric(38, 18) AS amount
            FROM unnest(p_line_draft, p_line_n, p_line_account, p_line_amount) AS l (draft, n, account_id, amount)
            WHERE v_ids[l.draft] > 0
        ), running AS MATERIALIZED (
            SELECT l.entry_id, l.draft, l.n, l.account_id, l.amount, a.bound,
                   (a.balance + sum(l.amount) OVER (PARTITION BY l.account_id ORDER BY l.entry_id, l.n
                                                   ROWS UNBOUNDED PRECEDING))::numeric(38, 18) AS balance_after
            FROM line l
            LEFT JOIN (SELECT id, balance, bound FROM ledger_account WHERE id = ANY (p_line_account)) a
                   ON a.id = l.account_id
        ), body AS (
            SELECT draft, string_agg(n || ':' || account_id || ':' || amount || ':' || balance_after, ','
                                     ORDER BY n) AS lines
            FROM running GROUP BY draft
        ), entry AS (
            -- Joined, not subscripted: reaching into an array of texts walks it from its start.
            SELECT v_ids[b.draft] AS id, d.kind, d.key, d.effective_at,
                   d.asked_at < v_recorded_at - interval '60 seconds' OR d.asked_at < v_head.closed_before AS late,
                   d.trace, d.reverses, b.lines
            FROM body b
            JOIN unnest(p_kinds, p_keys, v_effective, p_effective_at, p_traces, p_reverses) WITH ORDINALITY
                 AS d (kind, key, effective_at, asked_at, trace, reverses, place) ON d.place = b.draft
        ), chained AS (
            SELECT id, kind, key, effective_at, late, trace, reverses,
                   ledger_chain(
                       CASE WHEN id = v_head.entry_id + 1 THEN v_head.hash ELSE ''::bytea END
                       || ledger_payload(id, kind, key, effective_at, late, v_recorded_at, trace, reverses, lines)
                   ) OVER (ORDER BY id ROWS UNBOUNDED PRECEDING) AS hash
            FROM entry
        ), inserted_entry AS (
            INSERT INTO ledger_entry (id, kind, key, effective_at, late, recorded_at, trace, reverses,
                                      transaction_id, hash)
            SELECT id, kind, key, effective_at, late, v_recorded_at, trace, reverses, pg_current_xact_id(), hash
            FROM chained ORDER BY id
            RETURNING id, hash
        ), moved_head AS (
            UPDATE ledger_head h SET entry_id = e.id, hash = e.hash, recorded_at = v_recorded_at
            FROM inserted_entry e WHERE h.id = 1 AND e.id = v_head.entry_id + v_fresh
        ), moved_balance AS (
            UPDATE ledger_account a SET balance = a.balance + d.delta
            FROM (SELECT account_id, sum(amount) AS delta FROM line GROUP BY account_id) d
            WHERE a.id = d.account_id AND a.id = ANY (p_line_account)
        )
        INSERT INTO ledger_line (entry_id, n, account_id, amount, balance_after)
        SELECT entry_id, n, account_id, amount,
               CASE WHEN sign(balance_after) * bound < 0
                    THEN ledger_refuse_bound(account_id, balance_after) ELSE balance_after END
        FROM running ORDER BY entry_id, n;

        IF (SELECT h.entry_id FROM ledger_head h WHERE h.id = 1) <> v_head.entry_id + v_fresh THEN
            PERFORM ledger_refuse('ledger_entry_lines', 'an entry has lines', v_fresh::text);
        END IF;
    END IF;

    RETURN QUERY
    SELECT a.place::integer, a.answer, coalesce(e.kind, a.kind)::text, a.id = 0
    FROM unnest(v_answers, v_ids, p_kinds) WITH ORDINALITY AS a (answer, id, kind, place)
    LEFT JOIN ledger_entry e ON a.id = 0 AND e.id = a.answer AND e.id = ANY (v_answers)
    ORDER BY a.place;
END $$;

-- Close everything effective before p_ends_at, or reopen everything from p_starts_at on.
CREATE FUNCTION ledger_move_period(p_now timestamptz, p_action text, p_boundary timestamptz, p_reason text, p_author bigint)
RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_head ledger_head;
    v_id   bigint;
BEGIN
    SELECT * INTO STRICT v_head FROM ledger_head WHERE id = 1 FOR NO KEY UPDATE;
    INSERT INTO ledger_period (id, action, starts_at, ends_at, reason, author_id, recorded_at, entry_id, hash)
    SELECT coalesce(max(id), 0) + 1, p_action,
           CASE p_action WHEN 'CLOSE' THEN v_head.closed_before ELSE p_boundary END,
           CASE p_action WHEN 'CLOSE' THEN p_boundary ELSE v_head.closed_before END,
           p_reason, p_author, greatest(v_head.recorded_at, least(p_now, clock_timestamp())), v_head.entry_id, v_head.hash
    FROM ledger_period
    RETURNING id INTO v_id;
    RETURN v_id;
END $$;

-- What ledger_grant_roles reads: tables that the processes' roles may only read, and who may call which function.
CREATE TABLE ledger_read_only (name varchar(63) PRIMARY KEY);
INSERT INTO ledger_read_only (name) VALUES
    ('ledger_account'), ('ledger_entry'), ('ledger_line'), ('ledger_head'), ('ledger_period'), ('ledger_fact_kind'),
    ('ledger_posting_right'), ('ledger_read_only'), ('ledger_callable'), ('django_migrations');

CREATE TABLE ledger_callable (
    routine varchar(400) NOT NULL,  -- with the types of its arguments
    role    varchar(63) NOT NULL,   -- '*' is all three
    PRIMARY KEY (routine, role)
);
INSERT INTO ledger_callable (routine, role) VALUES
    ('ledger_post(timestamptz, text[], text[], timestamptz[], text[], bigint[], '
     'integer[], smallint[], bigint[], numeric[])', '*'),
    ('ledger_open_accounts(bigint[], text[], text[], text[])', '*'),
    ('ledger_find_accounts(bigint[], text[], text[], text[])', '*'),
    ('ledger_payload(bigint, text, text, timestamptz, boolean, timestamptz, text, bigint, text)', '*'),
    ('ledger_microseconds(timestamptz)', '*'),
    ('ledger_move_period(timestamptz, text, timestamptz, text, bigint)', 'exchange_back_office');

-- After every migrate: ordinary work on ordinary tables, reading only on the books.
CREATE OR REPLACE FUNCTION ledger_grant_roles() RETURNS void LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    v_roles  constant text := 'exchange_web, exchange_worker, exchange_back_office';
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
        ELSIF v_table.relkind IN ('v', 'm') OR EXISTS (SELECT FROM ledger_read_only r WHERE r.name = v_table.relname) THEN
            EXECUTE format('REVOKE ALL ON %I FROM %s', v_table.relname, v_roles);
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
    FOR v_routine IN SELECT routine, CASE role WHEN '*' THEN v_roles ELSE quote_ident(role) END AS roles FROM ledger_callable
    LOOP
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %s', v_routine.routine, v_routine.roles);
    END LOOP;
END $$;
