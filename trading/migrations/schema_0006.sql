-- Contract orders with their parts, positions, and every step of each position.

ALTER TABLE orders
    ADD COLUMN reduce_only boolean NOT NULL DEFAULT false,
    ADD COLUMN close_position boolean NOT NULL DEFAULT false,
    ADD COLUMN leverage smallint CHECK (leverage >= 1),
    ADD COLUMN intent varchar(8) CHECK (intent IN ('increase', 'reduce', 'reverse')),
    ADD COLUMN reduce_quantity numeric(38,18) CHECK (reduce_quantity >= 0),
    ADD COLUMN increase_quantity numeric(38,18) CHECK (increase_quantity >= 0),
    DROP CONSTRAINT orders_sized_one_way,
    ADD CONSTRAINT orders_sized_one_way CHECK (
        (quantity IS NULL) = (quote_quantity IS NOT NULL OR close_position)
        AND NOT (quote_quantity IS NOT NULL AND close_position)),
    ADD CONSTRAINT orders_of_contracts_say_what_they_mean CHECK (
        (leverage IS NULL) = (intent IS NULL) AND (intent IS NULL) = (reduce_quantity IS NULL)
        AND (intent IS NULL) = (increase_quantity IS NULL)
        AND (intent IS NOT NULL OR NOT (reduce_only OR close_position)));

-- What an order reserves (REDUCE) or holds funds for (INCREASE): Note [Flip states] in trading/order_parts.py.
CREATE TABLE order_parts (
    order_id bigint NOT NULL,
    kind varchar(8) NOT NULL CHECK (kind IN ('INCREASE', 'REDUCE')),
    user_id bigint NOT NULL,
    instrument_id smallint NOT NULL,
    quantity numeric(38,18) NOT NULL CHECK (quantity >= 0),
    quantity_left numeric(38,18) NOT NULL CHECK (quantity_left BETWEEN 0 AND quantity),
    quantity_going numeric(38,18) NOT NULL DEFAULT 0 CHECK (quantity_going BETWEEN 0 AND quantity_left),
    quantity_stolen numeric(38,18) NOT NULL DEFAULT 0 CHECK (quantity_stolen BETWEEN 0 AND quantity_left),
    funds_left numeric(38,18) NOT NULL CHECK (funds_left >= 0),
    state varchar(9) NOT NULL CHECK (state IN ('TRIED', 'CONFIRMED', 'CANCELLED', 'STOLEN')),
    version integer NOT NULL CHECK (version >= 1),
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (order_id, kind),
    CONSTRAINT order_parts_ended_keep_nothing CHECK (state = 'TRIED' OR (quantity_left = 0 AND funds_left = 0))
);
CREATE INDEX order_parts_live ON order_parts (user_id, instrument_id, kind, order_id) WHERE state = 'TRIED';

CREATE TABLE positions (
    user_id bigint NOT NULL,
    instrument_id smallint NOT NULL,
    symbol varchar(24) NOT NULL,
    quantity numeric(38,18) NOT NULL DEFAULT 0,
    open_cost numeric(38,18) NOT NULL DEFAULT 0,
    margin numeric(38,18) NOT NULL DEFAULT 0 CHECK (margin >= 0),
    margin_missing numeric(38,18) NOT NULL DEFAULT 0 CHECK (margin_missing >= 0),
    reserved numeric(38,18) NOT NULL DEFAULT 0 CHECK (reserved >= 0),
    realised_pnl numeric(38,18) NOT NULL DEFAULT 0,
    leverage smallint NOT NULL CHECK (leverage >= 1),
    is_locked boolean NOT NULL DEFAULT false,
    version bigint NOT NULL DEFAULT 0,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (user_id, instrument_id),
    CONSTRAINT positions_reserve_what_there_is CHECK (reserved <= abs(quantity)),
    CONSTRAINT positions_cost_has_their_sign CHECK (sign(open_cost) = sign(quantity)),
    CONSTRAINT positions_closed_keep_nothing CHECK (quantity <> 0 OR (margin = 0 AND margin_missing = 0))
);
CREATE INDEX positions_instrument ON positions (instrument_id) WHERE quantity <> 0;

-- Every step of every position; adding them up gives the table above. Append-only.
CREATE TABLE position_events (
    user_id bigint NOT NULL,
    instrument_id smallint NOT NULL,
    version bigint NOT NULL,
    change varchar(16) NOT NULL CHECK (change IN ('OPEN', 'CLOSE', 'MARGIN_ADD', 'MARGIN_REMOVE', 'LEVERAGE')),
    quantity numeric(38,18) NOT NULL,
    open_cost numeric(38,18) NOT NULL,
    margin numeric(38,18) NOT NULL,
    result numeric(38,18) NOT NULL,
    fee numeric(38,18) NOT NULL,
    leverage smallint NOT NULL,
    trade_id bigint,
    order_id bigint,
    price numeric(38,18),
    sequence bigint NOT NULL,
    happened_at timestamptz NOT NULL,
    PRIMARY KEY (user_id, instrument_id, version)
);
CREATE FUNCTION position_events_are_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the history of positions is append-only' USING ERRCODE = 'integrity_constraint_violation',
        CONSTRAINT = 'position_events_append_only';
END $$;
CREATE TRIGGER position_events_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON position_events
    FOR EACH STATEMENT EXECUTE FUNCTION position_events_are_append_only();

-- Compare-and-set of parts and positions: each row is written from the version that its writer read (0: none yet). A
-- row that somebody else has moved is a broken assumption, not a refusal: writers hold the traders' gates.
CREATE FUNCTION save_order_parts(
    p_order bigint[], p_kind text[], p_user bigint[], p_instrument smallint[], p_quantity numeric[], p_left numeric[],
    p_going numeric[], p_stolen numeric[], p_funds numeric[], p_state text[], p_from integer[], p_version integer[],
    p_now timestamptz
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    written integer;
BEGIN
    WITH given AS (
        SELECT * FROM unnest(p_order, p_kind, p_user, p_instrument, p_quantity, p_left, p_going, p_stolen, p_funds, p_state, p_from,
                             p_version)
            AS g(order_id, kind, user_id, instrument_id, quantity, quantity_left, quantity_going, quantity_stolen, funds_left,
                 state,
                 before, version)
    ), begun AS (
        INSERT INTO order_parts
        SELECT order_id, kind, user_id, instrument_id, quantity, quantity_left, quantity_going, quantity_stolen, funds_left, state,
               version, p_now
        FROM given WHERE before = 0
        RETURNING 1
    ), moved AS (
        UPDATE order_parts p SET quantity = g.quantity, quantity_left = g.quantity_left,
            quantity_going = g.quantity_going, quantity_stolen = g.quantity_stolen, funds_left = g.funds_left, state = g.state, version = g.version,
            updated_at = p_now
        FROM given g WHERE g.before > 0 AND p.order_id = g.order_id AND p.kind = g.kind AND p.version = g.before
        RETURNING 1
    )
    SELECT (SELECT count(*) FROM begun) + (SELECT count(*) FROM moved) INTO written;
    IF written <> coalesce(array_length(p_order, 1), 0) THEN
        RAISE EXCEPTION 'only % of % order parts were at the version read', written, array_length(p_order, 1)
            USING ERRCODE = 'assert_failure';
    END IF;
END $$;

CREATE FUNCTION save_positions(
    p_user bigint[], p_instrument smallint[], p_symbol text[], p_quantity numeric[], p_cost numeric[],
    p_margin numeric[], p_missing numeric[], p_reserved numeric[], p_realised numeric[], p_leverage smallint[],
    p_from bigint[], p_version bigint[], p_now timestamptz
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    written integer;
BEGIN
    INSERT INTO positions AS p (user_id, instrument_id, symbol, quantity, open_cost, margin, margin_missing, reserved,
        realised_pnl, leverage, version, updated_at)
    SELECT g.user_id, g.instrument_id, symbol, quantity, open_cost, margin, missing, reserved, realised, leverage,
           version, p_now
    FROM unnest(p_user, p_instrument, p_symbol, p_quantity, p_cost, p_margin, p_missing, p_reserved, p_realised,
                p_leverage, p_from, p_version)
        AS g(user_id, instrument_id, symbol, quantity, open_cost, margin, missing, reserved, realised, leverage, before,
             version)
    ON CONFLICT (user_id, instrument_id) DO UPDATE SET quantity = excluded.quantity, open_cost = excluded.open_cost,
        margin = excluded.margin, margin_missing = excluded.margin_missing, reserved = excluded.reserved,
        realised_pnl = excluded.realised_pnl, leverage = excluded.leverage, version = excluded.version,
        updated_at = excluded.updated_at
    WHERE p.version = (SELECT b.before FROM unnest(p_user, p_instrument, p_from) AS b(u, i, before)
                       WHERE b.u = p.user_id AND b.i = p.instrument_id);
    GET DIAGNOSTICS written = ROW_COUNT;
    IF written <> coalesce(array_length(p_user, 1), 0) THEN
        RAISE EXCEPTION 'only % of % positions were at the version read', written, array_length(p_user, 1)
            USING ERRCODE = 'assert_failure';
    END IF;
END $$;
