-- The door: the only way in. All of a batch, or nothing.

CREATE FUNCTION ledger_microseconds(p_moment timestamptz) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN (extract(epoch FROM p_moment) * 1000000)::bigint;

-- What the chain hashes of one entry: JSON text, so that anybody can check it with other tools.
CREATE FUNCTION ledger_payload(
    p_id bigint, p_kind text, p_key text, p_effective_at timestamptz, p_late boolean,
    p_recorded_at timestamptz, p_trace text, p_reverses bigint, p_lines text
) RETURNS bytea LANGUAGE sql STABLE PARALLEL SAFE RETURN convert_to(json_build_array(
    p_id, p_kind, p_key, ledger_microseconds(p_effective_at), p_late, ledger_microseconds(p_recorded_at),
    p_trace, p_reverses, p_lines)::text, 'UTF8');

CREATE FUNCTION ledger_chain_step(p_previous bytea, p_payload bytea) RETURNS bytea
LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN sha256(p_previous || p_payload);

-- As a window function: each row's hash over the hash before it and its own payload.
CREATE AGGREGATE ledger_chain(bytea) (SFUNC = ledger_chain_step, STYPE = bytea, INITCOND = '');

-- Post a batch of entries.
--   p_kinds .. p_reverses     one element an entry, in posting order
--   p_line_draft              the entry's position in these arrays, from 1, of each line
--   p_line_n                  the line's number in its entry, from 1
-- Returns one row an entry, in order; a key that was posted before, or earlier in this batch, returns the
-- first entry and posts nothing.
CREATE FUNCTION ledger_post(
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
    v_ids         bigint[];   -- the new entry's id, or 0 for a repeat
    v_answers     bigint[];   -- the id to answer
    v_fresh       integer;
BEGIN
    PERFORM ledger_check_right(p_kinds);
    SELECT * INTO STRICT v_head FROM ledger_head WHERE id = 1 FOR NO KEY UPDATE;
    -- Never before the previous entry, and never in the future.
    v_recorded_at := greatest(v_head.recorded_at, least(p_now, clock_timestamp()));

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
                   d.effective_at < v_recorded_at - interval '60 seconds' AS late,
                   d.trace, d.reverses, b.lines
            FROM body b
            JOIN unnest(p_kinds, p_keys, p_effective_at, p_traces, p_reverses) WITH ORDINALITY
                 AS d (kind, key, effective_at, trace, reverses, place) ON d.place = b.draft
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

-- Find accounts, opening those that are missing; ids in the order of the arguments.
CREATE FUNCTION ledger_open_accounts(p_owners bigint[], p_codes text[], p_assets text[], p_subs text[])
RETURNS SETOF bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO ledger_account (owner_id, code, asset, sub)
    SELECT k.owner_id, k.code, k.asset, k.sub
    FROM unnest(p_owners, p_codes, p_assets, p_subs) AS k (owner_id, code, asset, sub)
    WHERE NOT EXISTS (
        SELECT FROM ledger_account a WHERE a.owner_id = k.owner_id
           AND a.code = k.code AND a.asset = k.asset AND a.sub = k.sub)
    ORDER BY 2, 3, 4, 1
    ON CONFLICT ON CONSTRAINT ledger_account_key DO NOTHING;

    RETURN QUERY SELECT id FROM ledger_find_accounts(p_owners, p_codes, p_assets, p_subs);
END $$;

-- `IS NOT DISTINCT FROM` cannot use an index, so users' and the platform's accounts are looked up apart.
CREATE FUNCTION ledger_find_accounts(
    p_owners bigint[], p_codes text[], p_assets text[], p_subs text[],
    OUT id bigint, OUT balance numeric
) RETURNS SETOF record LANGUAGE sql STABLE
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
    SELECT coalesce(u.id, p.id), coalesce(u.balance, p.balance)
    FROM unnest(p_owners, p_codes, p_assets, p_subs) WITH ORDINALITY AS k (owner_id, code, asset, sub, place)
    LEFT JOIN ledger_account u ON u.owner_id = k.owner_id AND u.code = k.code AND u.asset = k.asset AND u.sub = k.sub
    LEFT JOIN ledger_account p
           ON k.owner_id IS NULL AND p.owner_id IS NULL AND p.code = k.code AND p.asset = k.asset AND p.sub = k.sub
    ORDER BY k.place
$$;
