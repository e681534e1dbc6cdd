-- Positions and parts are found by the keys that were given: Note [By the keys] in exchange/database.py. By the join
-- alone, a plan made while the tables were small reads all of them, and is kept while they grow. What is read is joined
-- by a hash, as the ledger's door does: in a loop the positions of a batch were read anew for each, 276 times 40.

CREATE OR REPLACE FUNCTION save_positions(
    p_user bigint[], p_instrument smallint[], p_symbol text[], p_quantity numeric[], p_cost numeric[],
    p_margin numeric[], p_missing numeric[], p_reserved numeric[], p_realised numeric[], p_leverage smallint[],
    p_from bigint[], p_version bigint[], p_now timestamptz
) RETURNS void LANGUAGE plpgsql SET enable_nestloop = off AS $$
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
            AND p.user_id = ANY (p_user) AND p.instrument_id = ANY (p_instrument)
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
) RETURNS void LANGUAGE plpgsql SET enable_nestloop = off AS $$
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
        FROM given g
        WHERE g.before > 0 AND p.order_id = g.order_id AND p.kind = g.kind AND p.version = g.before
            AND p.order_id = ANY (p_order)
        RETURNING 1
    )
    SELECT (SELECT count(*) FROM begun) + (SELECT count(*) FROM moved) INTO written;
    IF written <> coalesce(array_length(p_order, 1), 0) THEN
        RAISE EXCEPTION 'only % of % order parts were at the version read', written, array_length(p_order, 1)
            USING ERRCODE = 'assert_failure';
    END IF;
END $$;
