-- The door writes each line's part of the payload in one step, not as seven texts of which each is the one before and a
-- little more. The payload is the same to the byte: what was hashed verifies.
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
    v_texts       text;
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
        -- As JSON a text is two quotes longer if nothing in it is escaped: asked once, of all texts as one.
        v_texts := array_to_string(p_kinds, '') || array_to_string(p_keys, '') || array_to_string(p_traces, '');
        v_is_plain := octet_length(to_json(v_texts)::text) = octet_length(v_texts) + 2;
        v_recorded := ledger_microseconds(v_recorded_at)::text;

        -- One statement, so that the triggers see entries, lines and balances together.
        WITH line AS MATERIALIZED (
            SELECT v_head.entry_id + l.draft AS entry_id, l.n, l.account_id, l.amount::numeric(38, 18) AS amount
            FROM unnest(p_line_draft, p_line_n, p_line_account, p_line_amount) AS l (draft, n, account_id, amount)
        ), moved_balance AS (
            UPDATE ledger_account a
            SET balance = CASE WHEN CASE WHEN a.bound > 0 THEN a.balance + d.delta < 0
                                         WHEN a.bound < 0 THEN a.balance + d.delta > 0 END
                               THEN ledger_refuse_bound(a.id, a.balance + d.delta) ELSE a.balance + d.delta END,
                balance_before = a.balance, last_entry_id = d.last_entry_id
            FROM (SELECT account_id, ledger_sum(amount) AS delta, max(entry_id) AS last_entry_id
                  FROM line GROUP BY account_id) d
            WHERE a.id = d.account_id AND a.id = ANY (p_line_account)
            RETURNING a.id, a.bound, a.balance_before
        ), running AS MATERIALIZED (
            SELECT l.entry_id, l.n, l.account_id, l.amount, a.bound,
                   (a.balance_before + ledger_sum(l.amount) OVER (PARTITION BY l.account_id ORDER BY l.entry_id, l.n
                                                          ROWS UNBOUNDED PRECEDING))::numeric(38, 18) AS balance_after
            FROM line l LEFT JOIN moved_balance a ON a.id = l.account_id
            ORDER BY l.entry_id, l.n
        ), body AS (
            SELECT entry_id, string_agg(concat_ws(':', n, account_id, amount, balance_after), ',' ORDER BY n) AS lines
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
               CASE WHEN CASE WHEN bound > 0 THEN balance_after < 0 WHEN bound < 0 THEN balance_after > 0 END
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
