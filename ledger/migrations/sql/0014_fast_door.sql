-- The door and its checks in fewer passes over a batch, for speed. What was refused is refused, and the lines of an
-- entry now come together.
--
-- Note [Running balances]
--   Every line's balance_after is the account's balance after it. To check a set of lines without searching each
--   account's previous line, an account remembers balance_before, what its balance was before the statement that last
--   changed it, and last_entry_id, the entry of its last line. Then
--   1. ledger_check_balances: whoever changes an account sets balance_before to the balance it had, and last_entry_id
--      to a newer entry that has lines of this account;
--   2. ledger_check_lines: the lines of each account start at its balance_before, continue each other, and end in its
--      balance and last_entry_id; and the lines of an entry all come in one statement.
--   Lines without the change of their account fail 2, since last_entry_id is older; a change without lines fails 1.

ALTER TABLE ledger_account ADD COLUMN balance_before numeric(38, 18) NOT NULL DEFAULT 0;
ALTER TABLE ledger_account ADD COLUMN last_entry_id bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN ledger_account.balance_before IS 'The balance before the statement that last changed it.';
COMMENT ON COLUMN ledger_account.last_entry_id IS 'The entry of the last line; 0 before the first.';

ALTER TABLE ledger_account DISABLE TRIGGER ledger_account_balance;
UPDATE ledger_account a SET balance_before = l.balance_after - l.amount, last_entry_id = l.entry_id
FROM ledger_account b CROSS JOIN LATERAL (
    SELECT entry_id, amount, balance_after FROM ledger_line WHERE account_id = b.id
    ORDER BY entry_id DESC, n DESC LIMIT 1) l
WHERE a.id = b.id;
ALTER TABLE ledger_account ENABLE TRIGGER ledger_account_balance;

CREATE OR REPLACE FUNCTION ledger_check_opened() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    v_bad bigint;
BEGIN
    SELECT i.id INTO v_bad FROM inserted i
    WHERE i.balance <> 0 OR i.balance_before <> 0 OR i.last_entry_id <> 0
       OR NOT EXISTS (SELECT FROM ledger_asset s WHERE s.code = i.asset) LIMIT 1;
    IF FOUND THEN
        PERFORM ledger_refuse('ledger_account_opening', 'an account opens at zero, for a known asset', v_bad::text);
    END IF;
    RETURN NULL;
END $$;

-- Every set of changed balances: Note [Running balances].
CREATE OR REPLACE FUNCTION ledger_check_balances() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    v_first bigint;
    v_last  bigint;
    v_bad   bigint;
BEGIN
    SELECT min(last_entry_id), max(last_entry_id) INTO v_first, v_last FROM changed;
    SELECT c.id INTO v_bad
    FROM changed c JOIN unchanged o ON o.id = c.id
    LEFT JOIN (SELECT DISTINCT account_id, entry_id FROM ledger_line WHERE entry_id BETWEEN v_first AND v_last) l
           ON l.account_id = c.id AND l.entry_id = c.last_entry_id
    WHERE c.last_entry_id <= o.last_entry_id OR c.balance_before <> o.balance OR l.account_id IS NULL
    LIMIT 1;
    IF FOUND THEN
        PERFORM ledger_refuse('ledger_account_balance', 'a balance changes only with lines', v_bad::text);
    END IF;
    RETURN NULL;
END $$;
DROP TRIGGER ledger_account_balance ON ledger_account;
CREATE TRIGGER ledger_account_balance AFTER UPDATE ON ledger_account
    REFERENCING NEW TABLE AS changed OLD TABLE AS unchanged FOR EACH STATEMENT EXECUTE FUNCTION ledger_check_balances();

-- Every set of lines: whole entries of this transaction, known accounts, both views balanced, bounds kept after each
-- line, running balances that follow.
CREATE OR REPLACE FUNCTION ledger_check_lines() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    v_set record;
    v_bad record;
BEGIN
    SELECT min(entry_id) AS first, max(entry_id) AS last, count(*) FILTER (WHERE n = 1) AS entries,
           array_agg(account_id) AS accounts
    INTO v_set FROM inserted;
    IF v_set.first IS NULL THEN
        RETURN NULL;
    END IF;
    -- Numbers are unique: as many entries of this transaction as there are numbers are all of them.
    IF (SELECT count(*) FROM ledger_entry
        WHERE id BETWEEN v_set.first AND v_set.last AND transaction_id = pg_current_xact_id())
       <> v_set.last - v_set.first + 1 THEN
        PERFORM ledger_refuse('ledger_line_same_transaction',
            'lines are added only in the transaction that adds their entry', v_set.first || ' to ' || v_set.last);
    END IF;
    -- A first line is there once, so whoever adds to an entry that has lines lacks it.
    IF v_set.entries <> v_set.last - v_set.first + 1 THEN
        PERFORM ledger_refuse('ledger_line_whole_entry', 'the lines of an entry come together, from 1 on',
                              v_set.first || ' to ' || v_set.last);
    END IF;

    WITH line AS MATERIALIZED (
        SELECT l.entry_id, l.n, l.account_id, l.amount, l.balance_after,
               a.id, a.owner_id, a.asset, a.face, a.bound, a.balance, a.balance_before, a.last_entry_id
        FROM inserted l
        LEFT JOIN (SELECT * FROM ledger_account WHERE id = ANY (v_set.accounts)) a ON a.id = l.account_id
    ), chained AS (
        SELECT account_id, entry_id, balance, balance_before, last_entry_id, balance_after,
               balance_after - amount AS before,
               lag(balance_after) OVER w AS previous,
               lead(n) OVER w IS NULL AS is_last
        FROM line WINDOW w AS (PARTITION BY account_id ORDER BY entry_id, n)
    ), journal AS (
        SELECT entry_id, owner_id, asset, sum(amount) AS user_sum,
               sum(CASE face WHEN 'BOTH' THEN -amount WHEN 'PLATFORM' THEN amount END) AS platform_sum
        FROM line GROUP BY entry_id, owner_id, asset
    ), bad (constraint_name, detail) AS (
        SELECT CASE WHEN id IS NULL THEN 'ledger_line_account' ELSE 'ledger_account_bound' END,
               jsonb_build_object('owner_id', owner_id, 'asset', asset, 'balance_after', balance_after::text,
                                  'entry', entry_id, 'account', account_id)
        FROM line WHERE id IS NULL OR sign(balance_after) * bound < 0
        UNION ALL
        SELECT CASE WHEN bool_or(owner_id IS NOT NULL AND user_sum <> 0)
                    THEN 'ledger_entry_user_balance' ELSE 'ledger_entry_platform_balance' END,
               jsonb_build_object('entry', entry_id, 'asset', asset, 'platform_sum', sum(platform_sum)::text)
        FROM journal GROUP BY entry_id, asset
        HAVING bool_or(owner_id IS NOT NULL AND user_sum <> 0) OR sum(platform_sum) <> 0
        UNION ALL
        SELECT 'ledger_line_running_balance', jsonb_build_object('entry', entry_id, 'account', account_id)
        FROM chained
        WHERE before <> coalesce(previous, balance_before)
           OR is_last AND (balance <> balance_after OR last_entry_id <> entry_id)
    )
    SELECT * INTO v_bad FROM bad LIMIT 1;
    IF FOUND THEN
        PERFORM ledger_refuse(v_bad.constraint_name, 'refused by ' || v_bad.constraint_name, v_bad.detail::text);
    END IF;
    RETURN NULL;
END $$;

-- Every set of entries, as before: of this transaction, dense, in order of recording, each with lines, effective in an
-- open period and not in the future, and by two people where people make it.
CREATE OR REPLACE FUNCTION ledger_check_entries() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    v_set      record;
    v_previous timestamptz;
    v_closed   timestamptz;
    v_bad      record;
BEGIN
    SELECT count(*) AS size, min(id) AS first, max(id) AS last,
           bool_or(transaction_id <> pg_current_xact_id()) AS is_foreign,
           min(recorded_at) AS recorded_first, max(recorded_at) AS recorded_last, min(effective_at) AS effective_first,
           bool_or(effective_at > recorded_at + interval '60 seconds') AS is_future,
           bool_or(reverses IS NOT NULL OR kind IN ('REVERSAL', 'MANUAL', 'CORRECTION')) AS is_by_people
    INTO v_set FROM inserted;
    IF v_set.size = 0 THEN
        RETURN NULL;
    END IF;
    IF v_set.is_foreign THEN
        PERFORM ledger_refuse('ledger_entry_transaction', 'an entry names its own transaction', v_set::text);
    END IF;
    SELECT recorded_at INTO v_previous FROM ledger_entry WHERE id = v_set.first - 1;
    IF v_set.last - v_set.first + 1 <> v_set.size OR v_set.first > 1 AND v_previous IS NULL
       OR v_previous > v_set.recorded_first
       OR v_set.recorded_first < v_set.recorded_last AND EXISTS (
           SELECT FROM inserted i JOIN ledger_entry p ON p.id = i.id - 1 WHERE p.recorded_at > i.recorded_at)
    THEN
        PERFORM ledger_refuse('ledger_entry_dense',
            'entry numbers have no gap and follow the order of recording', v_set::text);
    END IF;
    -- The lines of an entry come together and from 1 on: ledger_line_whole_entry.
    IF (SELECT count(*) FROM ledger_line WHERE entry_id BETWEEN v_set.first AND v_set.last AND n = 1) <> v_set.size THEN
        PERFORM ledger_refuse('ledger_entry_lines', 'an entry has lines', v_set::text);
    END IF;
    -- Locked: who closes a period waits for this transaction, or this transaction for the close.
    SELECT closed_before INTO STRICT v_closed FROM ledger_head WHERE id = 1 FOR SHARE;
    IF v_set.effective_first < v_closed OR v_set.is_future THEN
        SELECT i.key, i.effective_at, i.effective_at < v_closed AS is_closed INTO v_bad FROM inserted i
        WHERE i.effective_at < v_closed OR i.effective_at > i.recorded_at + interval '60 seconds' LIMIT 1;
        PERFORM ledger_refuse(
            CASE WHEN v_bad.is_closed THEN 'ledger_period_closed' ELSE 'ledger_entry_future' END,
            CASE WHEN v_bad.is_closed THEN 'its period is closed' ELSE 'it lies in the future' END,
            jsonb_build_object('key', v_bad.key, 'effective_at', v_bad.effective_at, 'closed_before', v_closed)::text);
    END IF;
    IF v_set.is_by_people THEN
        PERFORM ledger_check_by_people(e) FROM inserted i JOIN ledger_entry e ON e.id = i.id
        WHERE i.reverses IS NOT NULL OR i.kind IN ('REVERSAL', 'MANUAL', 'CORRECTION');
    END IF;
    RETURN NULL;
END $$;

-- In plpgsql, since that evaluates an expression faster than an SQL function starts.
CREATE OR REPLACE FUNCTION ledger_chain_step(p_previous bytea, p_payload bytea) RETURNS bytea
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$ BEGIN RETURN sha256(p_previous || p_payload); END $$;

-- The door. A batch with repeats is cut down to what is new; the rest is numbered by its place. The planner is told
-- what to do, since it knows nothing of arrays and transition tables, and to plan once; the triggers run under the
-- same settings.
CREATE OR REPLACE FUNCTION ledger_post(
    p_now timestamptz,
    p_kinds text[], p_keys text[], p_effective_at timestamptz[], p_traces text[], p_reverses bigint[],
    p_line_draft integer[], p_line_n smallint[], p_line_account bigint[], p_line_amount numeric[]
) RETURNS TABLE (position_in_batch integer, entry_id bigint, entry_kind text, repeated boolean)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp
SET enable_nestloop = off SET enable_mergejoin = off SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan SET TimeZone = 'UTC'
AS $$
#variable_conflict use_column
DECLARE
    v_head        ledger_head;
    v_recorded_at timestamptz;
    v_recorded    text;           -- as the payload has it
    v_latest      timestamptz;    -- clocks of other machines may be ahead by as much
    v_effective   timestamptz[];
    v_kinds       text[] := p_kinds;
    v_answers     bigint[];       -- the entry to answer each draft with; NULL when none is a repeat
    v_new         integer[];      -- each draft's place among the new ones, or NULL for a repeat
    v_fresh       integer := cardinality(p_keys);
    v_is_plain    boolean;        -- no text needs escaping in JSON
    v_last        record;
BEGIN
    PERFORM ledger_check_right(p_kinds);
    SELECT * INTO STRICT v_head FROM ledger_head WHERE id = 1 FOR NO KEY UPDATE;
    -- Never before the previous entry, and never in the future.
    v_recorded_at := greatest(v_head.recorded_at, least(p_now, clock_timestamp()));
    v_latest := v_recorded_at + interval '60 seconds';

    IF EXISTS (SELECT FROM ledger_entry WHERE key = ANY (p_keys))
       OR (SELECT count(DISTINCT k) FROM unnest(p_keys) AS k) < v_fresh
    THEN
        WITH draft AS (
            SELECT d.key, d.place, e.id AS posted,
                   row_number() OVER (PARTITION BY d.key ORDER BY d.place) AS turn
            FROM unnest(p_keys) WITH ORDINALITY AS d (key, place)
            LEFT JOIN (SELECT id, key FROM ledger_entry WHERE key = ANY (p_keys)) e ON e.key = d.key
        ), numbered AS (
            SELECT key, place, posted,
                   CASE WHEN posted IS NULL AND turn = 1
                        THEN count(*) FILTER (WHERE posted IS NULL AND turn = 1) OVER (ORDER BY place) END AS new
            FROM draft
        ), answered AS (
            SELECT place, new, coalesce(posted, v_head.entry_id + max(new) OVER (PARTITION BY key)) AS answer
            FROM numbered
        )
        SELECT array_agg(new ORDER BY place), array_agg(answer ORDER BY place), count(new)
        INTO v_new, v_answers, v_fresh FROM answered;

        SELECT array_agg(kind ORDER BY place), array_agg(key ORDER BY place), array_agg(effective_at ORDER BY place),
               array_agg(trace ORDER BY place), array_agg(reverses ORDER BY place)
        INTO p_kinds, p_keys, p_effective_at, p_traces, p_reverses
        FROM unnest(p_kinds, p_keys, p_effective_at, p_traces, p_reverses) WITH ORDINALITY
             AS d (kind, key, effective_at, trace, reverses, place)
        WHERE v_new[place] IS NOT NULL;

        SELECT array_agg(v_new[draft] ORDER BY place), array_agg(n ORDER BY place),
               array_agg(account_id ORDER BY place), array_agg(amount ORDER BY place)
        INTO p_line_draft, p_line_n, p_line_account, p_line_amount
        FROM unnest(p_line_draft, p_line_n, p_line_account, p_line_amount) WITH ORDINALITY
             AS l (draft, n, account_id, amount, place)
        WHERE v_new[draft] IS NOT NULL;
    END IF;

    IF v_fresh > 0 THEN
        v_effective := p_effective_at;
        IF EXISTS (SELECT FROM unnest(p_effective_at) AS e WHERE e < v_head.closed_before OR e > v_latest) THEN
            SELECT array_agg(CASE WHEN f.kind IS NULL THEN d.effective_at
                                  ELSE greatest(v_head.closed_before, least(d.effective_at, v_latest)) END
                             ORDER BY d.place) INTO v_effective
            FROM unnest(p_kinds, p_effective_at) WITH ORDINALITY AS d (kind, effective_at, place)
            LEFT JOIN ledger_fact_kind f ON f.kind = d.kind;
        END IF;
        -- As JSON an array of texts is three characters longer for each, and one for the brackets, if none is escaped.
        v_is_plain := octet_length(array_to_json(p_kinds || p_keys || p_traces)::text)
                      = octet_length(array_to_string(p_kinds || p_keys || p_traces, '')) + 9 * v_fresh + 1;
        v_recorded := ledger_microseconds(v_recorded_at)::text;

        -- One statement, so that the triggers see entries, lines and balances together.
        WITH line AS MATERIALIZED (
            SELECT v_head.entry_id + l.draft AS entry_id, l.n, l.account_id, l.amount::numeric(38, 18) AS amount
            FROM unnest(p_line_draft, p_line_n, p_line_account, p_line_amount) AS l (draft, n, account_id, amount)
        ), moved_balance AS (
            UPDATE ledger_account a
            SET balance = CASE WHEN sign(a.balance + d.delta) * a.bound < 0
                               THEN ledger_refuse_bound(a.id, a.balance + d.delta) ELSE a.balance + d.delta END,
                balance_before = a.balance, last_entry_id = d.last_entry_id
            FROM (SELECT account_id, sum(amount) AS delta, max(entry_id) AS last_entry_id
                  FROM line GROUP BY account_id) d
            WHERE a.id = d.account_id AND a.id = ANY (p_line_account)
            RETURNING a.id, a.bound, a.balance_before
        ), running AS MATERIALIZED (
            SELECT l.entry_id, l.n, l.account_id, l.amount, a.bound,
                   (a.balance_before + sum(l.amount) OVER (PARTITION BY l.account_id ORDER BY l.entry_id, l.n
                                                          ROWS UNBOUNDED PRECEDING))::numeric(38, 18) AS balance_after
            FROM line l LEFT JOIN moved_balance a ON a.id = l.account_id
        ), body AS (
            SELECT entry_id, string_agg(n || ':' || account_id || ':' || amount || ':' || balance_after, ','
                                        ORDER BY n) AS lines
            FROM running GROUP BY entry_id
        ), entry AS (
            SELECT b.entry_id AS id, d.kind, d.key, d.effective_at,
                   d.asked_at < v_recorded_at - interval '60 seconds' OR d.asked_at < v_head.closed_before AS late,
                   d.trace, d.reverses, b.lines
            FROM body b
            JOIN unnest(p_kinds, p_keys, v_effective, p_effective_at, p_traces, p_reverses) WITH ORDINALITY
                 AS d (kind, key, effective_at, asked_at, trace, reverses, place)
                 ON d.place = b.entry_id - v_head.entry_id
        ), chained AS (
            SELECT id, kind, key, effective_at, late, trace, reverses,
                   ledger_chain(
                       CASE WHEN id = v_head.entry_id + 1 THEN v_head.hash ELSE ''::bytea END
                       || CASE WHEN v_is_plain
                               THEN convert_to(
                                   '[' || id || ', "' || kind || '", "' || key || '", '
                                   || (extract(epoch FROM effective_at) * 1000000)::bigint
                                   || CASE WHEN late THEN ', true, ' ELSE ', false, ' END || v_recorded
                                   || ', "' || trace || '", ' || coalesce(reverses::text, 'null')
                                   || ', "' || lines || '"]', 'UTF8')
                               ELSE ledger_payload(id, kind, key, effective_at, late, v_recorded_at, trace, reverses,
                                                   lines) END
                   ) OVER (ORDER BY id ROWS UNBOUNDED PRECEDING) AS hash
            FROM entry
        ), inserted_entry AS (
            INSERT INTO ledger_entry (id, kind, key, effective_at, late, recorded_at, trace, reverses,
                                      transaction_id, hash)
            SELECT id, kind, key, effective_at, late, v_recorded_at, trace, reverses, pg_current_xact_id(), hash
            FROM chained ORDER BY id
        )
        INSERT INTO ledger_line (entry_id, n, account_id, amount, balance_after)
        SELECT entry_id, n, account_id, amount,
               CASE WHEN sign(balance_after) * bound < 0
                    THEN ledger_refuse_bound(account_id, balance_after) ELSE balance_after END
        FROM running ORDER BY entry_id, n;

        SELECT id, hash INTO v_last FROM ledger_entry WHERE id = v_head.entry_id + v_fresh;
        IF NOT FOUND THEN
            PERFORM ledger_refuse('ledger_entry_lines', 'an entry has lines', v_fresh::text);
        END IF;
        UPDATE ledger_head h SET entry_id = v_last.id, hash = v_last.hash, recorded_at = v_recorded_at WHERE h.id = 1;
    END IF;

    IF v_answers IS NULL THEN
        RETURN QUERY SELECT k.place::integer, v_head.entry_id + k.place, k.kind, false
        FROM unnest(v_kinds) WITH ORDINALITY AS k (kind, place);
    ELSE
        RETURN QUERY
        SELECT a.place::integer, a.answer, coalesce(e.kind, a.kind)::text, a.new IS NULL
        FROM unnest(v_answers, v_new, v_kinds) WITH ORDINALITY AS a (answer, new, kind, place)
        LEFT JOIN ledger_entry e ON a.new IS NULL AND e.id = a.answer AND e.id = ANY (v_answers)
        ORDER BY a.place;
    END IF;
END $$;

-- They run inside the door, whose settings they share.
ALTER FUNCTION ledger_check_head() RESET ALL;
ALTER FUNCTION ledger_check_right(text[]) RESET ALL;
