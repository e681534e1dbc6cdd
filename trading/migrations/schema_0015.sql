-- Less work for the database in an order, once more.

-- Arrays are unnested side by side in a SELECT: in FROM, each of them would first be stored as a column of its own.

-- Positions are moved by a join, and no longer each by a search through all that are given, in the square of their number.
CREATE OR REPLACE FUNCTION save_positions(
    p_user bigint[], p_instrument smallint[], p_symbol text[], p_quantity numeric[], p_cost numeric[],
    p_margin numeric[], p_missing numeric[], p_reserved numeric[], p_realised numeric[], p_leverage smallint[],
    p_from bigint[], p_version bigint[], p_now timestamptz
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    written integer;
BEGIN
    WITH given AS (
        SELECT unnest(p_user) AS user_id, unnest(p_instrument) AS instrument_id, unnest(p_symbol) AS symbol,
               unnest(p_quantity) AS quantity, unnest(p_cost) AS open_cost, unnest(p_margin) AS margin,
               unnest(p_missing) AS margin_missing, unnest(p_reserved) AS reserved,
               unnest(p_realised) AS realised_pnl, unnest(p_leverage) AS leverage, unnest(p_from) AS before,
               unnest(p_version) AS version
    ), begun AS (
        INSERT INTO positions (user_id, instrument_id, symbol, quantity, open_cost, margin, margin_missing, reserved,
            realised_pnl, leverage, version, updated_at)
        SELECT user_id, instrument_id, symbol, quantity, open_cost, margin, margin_missing, reserved, realised_pnl,
               leverage, version, p_now
        FROM given WHERE before = 0
        ON CONFLICT (user_id, instrument_id) DO UPDATE SET quantity = excluded.quantity,
            open_cost = excluded.open_cost, margin = excluded.margin, margin_missing = excluded.margin_missing,
            reserved = excluded.reserved, realised_pnl = excluded.realised_pnl, leverage = excluded.leverage,
            version = excluded.version, updated_at = excluded.updated_at
        WHERE positions.version = 0
        RETURNING 1
    ), moved AS (
        UPDATE positions p SET quantity = g.quantity, open_cost = g.open_cost, margin = g.margin,
            margin_missing = g.margin_missing, reserved = g.reserved, realised_pnl = g.realised_pnl,
            leverage = g.leverage, version = g.version, updated_at = p_now
        FROM given g
        WHERE g.before > 0 AND p.user_id = g.user_id AND p.instrument_id = g.instrument_id AND p.version = g.before
        RETURNING 1
    )
    SELECT (SELECT count(*) FROM begun) + (SELECT count(*) FROM moved) INTO written;
    IF written <> coalesce(array_length(p_user, 1), 0) THEN
        RAISE EXCEPTION 'only % of % positions were at the version read', written, array_length(p_user, 1)
            USING ERRCODE = 'assert_failure';
    END IF;
END $$;

CREATE OR REPLACE FUNCTION save_order_parts(
    p_order bigint[], p_kind text[], p_user bigint[], p_instrument smallint[], p_quantity numeric[], p_left numeric[],
    p_going numeric[], p_stolen numeric[], p_funds numeric[], p_state text[], p_from integer[], p_version integer[],
    p_now timestamptz
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    written integer;
BEGIN
    WITH given AS (
        SELECT unnest(p_order) AS order_id, unnest(p_kind) AS kind, unnest(p_user) AS user_id,
               unnest(p_instrument) AS instrument_id, unnest(p_quantity) AS quantity, unnest(p_left) AS quantity_left,
               unnest(p_going) AS quantity_going, unnest(p_stolen) AS quantity_stolen, unnest(p_funds) AS funds_left,
               unnest(p_state) AS state, unnest(p_from) AS before, unnest(p_version) AS version
    ), begun AS (
        INSERT INTO order_parts (order_id, kind, user_id, instrument_id, quantity, quantity_left, quantity_going,
            quantity_stolen, funds_left, state, version, updated_at)
        SELECT order_id, kind, user_id, instrument_id, quantity, quantity_left, quantity_going, quantity_stolen,
               funds_left, state, version, p_now
        FROM given WHERE before = 0
        RETURNING 1
    ), moved AS (
        UPDATE order_parts p SET quantity = g.quantity, quantity_left = g.quantity_left,
            quantity_going = g.quantity_going, quantity_stolen = g.quantity_stolen, funds_left = g.funds_left,
            state = g.state, version = g.version, updated_at = p_now
        FROM given g WHERE g.before > 0 AND p.order_id = g.order_id AND p.kind = g.kind AND p.version = g.before
        RETURNING 1
    )
    SELECT (SELECT count(*) FROM begun) + (SELECT count(*) FROM moved) INTO written;
    IF written <> coalesce(array_length(p_order, 1), 0) THEN
        RAISE EXCEPTION 'only % of % order parts were at the version read', written, array_length(p_order, 1)
            USING ERRCODE = 'assert_failure';
    END IF;
END $$;

-- Commands come as the bytes of all of them, p_size each, so that they are not written and read as digits; and their
-- chain is made by a loop, which starts no function of ours for each of them.
-- Note [Gapless sequence] in trading/services/command_log.py. Returns the first sequence given.
-- Commands for an instrument that has moved to another shard are refused, under the lock by which it moves: their writer
-- read the instrument before, and has to read it anew (Note [Moving an instrument] in instrument_moves.py). The
-- instrument's id is at byte 48 of every version's row.
DROP FUNCTION append_commands(smallint, bytea[], timestamptz);
CREATE FUNCTION append_commands(p_shard smallint, p_commands bytea, p_size integer, p_now timestamptz) RETURNS bigint
    LANGUAGE plpgsql AS $$
DECLARE
    head command_stream%ROWTYPE;
    total constant integer := length(p_commands) / p_size;
    hash bytea;
    hashes bytea[] := '{}';
BEGIN
    IF total = 0 OR total * p_size <> length(p_commands) THEN
        RAISE EXCEPTION '% bytes are no commands of % each', length(p_commands), p_size
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT * INTO STRICT head FROM command_stream WHERE shard = p_shard FOR UPDATE;
    IF head.moved <> '{}' AND EXISTS (
        SELECT FROM generate_series(0, total - 1) AS n
        WHERE get_byte(p_commands, n * p_size + 48) + 256 * get_byte(p_commands, n * p_size + 49) = ANY (head.moved)
    ) THEN
        RAISE EXCEPTION 'an instrument of these commands is matched on another shard than %', p_shard
            USING ERRCODE = 'serialization_failure';
    END IF;
    hash := head.chain_hash;
    FOR n IN 1 .. total LOOP
        hash := sha256(hash || substr(p_commands, (n - 1) * p_size + 1, p_size));
        hashes[n] := hash;
    END LOOP;
    INSERT INTO commands (shard, sequence, payload, chain_hash, created_at)
    SELECT p_shard, head.sequence + n, substr(p_commands, (n - 1)::integer * p_size + 1, p_size), chain_hash, p_now
    FROM unnest(hashes) WITH ORDINALITY AS chained(chain_hash, n);
    UPDATE command_stream SET sequence = head.sequence + total, chain_hash = hash WHERE shard = p_shard;
    IF EXISTS (SELECT FROM worker_sleep WHERE shard = p_shard AND asleep) THEN
        PERFORM pg_notify('commands_' || p_shard, '');
    END IF;
    RETURN head.sequence + 1;
END $$;
DROP AGGREGATE chain_sha256(bytea, bytea);
DROP FUNCTION chain_step(bytea, bytea, bytea);

CREATE OR REPLACE FUNCTION store_outbox(
    p_aggregatetype text[], p_aggregateid text[], p_type text[], p_payload text[], p_now timestamptz
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    before bigint;
BEGIN
    UPDATE outbox_head SET position = position + array_length(p_type, 1)
    RETURNING position - array_length(p_type, 1) INTO STRICT before;
    INSERT INTO outbox (id, aggregatetype, aggregateid, type, payload, created_at)
    SELECT before + generate_subscripts(p_type, 1), unnest(p_aggregatetype), unnest(p_aggregateid), unnest(p_type),
           unnest(p_payload), p_now;
END $$;
