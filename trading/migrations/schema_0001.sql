-- Tables of the order's road. Partitioned by month where they grow; every partition set has a default, so that a row
-- never fails for want of a partition.

CREATE SEQUENCE orders_id_seq AS bigint MAXVALUE 9007199254740991;

CREATE TABLE orders (
    id bigint NOT NULL,
    user_id bigint NOT NULL,
    instrument_id smallint NOT NULL,
    symbol varchar(24) NOT NULL,
    side varchar(4) NOT NULL CHECK (side IN ('buy', 'sell')),
    type varchar(24) NOT NULL CHECK (type IN ('limit', 'market')),
    time_in_force varchar(4) NOT NULL CHECK (time_in_force IN ('gtc', 'ioc')),
    price numeric(38,18) CHECK (price > 0),
    worst_price numeric(38,18) NOT NULL CHECK (worst_price > 0),
    quantity numeric(38,18) NOT NULL CHECK (quantity > 0),
    filled_quantity numeric(38,18) NOT NULL DEFAULT 0,
    filled_notional numeric(38,18) NOT NULL DEFAULT 0,
    fee numeric(38,18) NOT NULL DEFAULT 0,
    fee_accrued numeric(60,26) NOT NULL DEFAULT 0,
    maker_fee_rate numeric(12,8) NOT NULL,
    taker_fee_rate numeric(12,8) NOT NULL,
    hold_asset varchar(16) NOT NULL,
    hold_remaining numeric(38,18) NOT NULL CHECK (hold_remaining >= 0),
    status varchar(16) NOT NULL CHECK (status IN
        ('new', 'partial_filled', 'filled', 'cancelled', 'rejected', 'pending_review')),
    reason varchar(40) NOT NULL DEFAULT '',
    client_order_id varchar(64),
    trace varchar(28) NOT NULL,
    sequence bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    cancel_requested_at timestamptz,
    filled_at timestamptz,
    cancelled_at timestamptz,
    PRIMARY KEY (id, created_at),
    CONSTRAINT orders_filled_within_quantity CHECK (filled_quantity BETWEEN 0 AND quantity),
    CONSTRAINT orders_final_holds_nothing CHECK (
        hold_remaining = 0 OR status IN ('new', 'partial_filled', 'pending_review'))
) PARTITION BY RANGE (created_at);
CREATE TABLE orders_default PARTITION OF orders DEFAULT;
CREATE INDEX orders_user ON orders (user_id, id DESC);
CREATE INDEX orders_user_open ON orders (user_id, instrument_id) WHERE status IN ('new', 'partial_filled', 'pending_review');

-- A client's own id makes a retry safe; the hash tells a retry from another order under the same id.
CREATE TABLE order_keys (
    user_id bigint NOT NULL,
    client_order_id varchar(64) NOT NULL,
    order_id bigint NOT NULL,
    body_hash bytea NOT NULL,
    CONSTRAINT order_keys_once PRIMARY KEY (user_id, client_order_id)
);

CREATE TABLE trades (
    id bigint NOT NULL,
    instrument_id smallint NOT NULL,
    symbol varchar(24) NOT NULL,
    number bigint NOT NULL,
    buy_order_id bigint NOT NULL,
    sell_order_id bigint NOT NULL,
    buyer_id bigint NOT NULL,
    seller_id bigint NOT NULL,
    price numeric(38,18) NOT NULL CHECK (price > 0),
    quantity numeric(38,18) NOT NULL CHECK (quantity > 0),
    notional numeric(38,18) NOT NULL,
    buyer_fee numeric(38,18) NOT NULL CHECK (buyer_fee >= 0),
    seller_fee numeric(38,18) NOT NULL CHECK (seller_fee >= 0),
    taker_side varchar(4) NOT NULL CHECK (taker_side IN ('buy', 'sell')),
    shard smallint NOT NULL,
    sequence bigint NOT NULL,
    executed_at timestamptz NOT NULL,
    PRIMARY KEY (id, executed_at)
) PARTITION BY RANGE (executed_at);
CREATE TABLE trades_default PARTITION OF trades DEFAULT;
CREATE INDEX trades_instrument ON trades (instrument_id, number DESC);
CREATE INDEX trades_buy_order ON trades (buy_order_id);
CREATE INDEX trades_sell_order ON trades (sell_order_id);
CREATE INDEX trades_buyer ON trades (buyer_id, id DESC);
CREATE INDEX trades_seller ON trades (seller_id, id DESC);

-- The command log: dense per shard, chained, append-only.
CREATE TABLE commands (
    shard smallint NOT NULL,
    sequence bigint NOT NULL,
    payload bytea NOT NULL,
    chain_hash bytea NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (shard, sequence)
);

CREATE TABLE command_stream (
    shard smallint PRIMARY KEY,
    epoch integer NOT NULL,
    sequence bigint NOT NULL,
    chain_hash bytea NOT NULL
);

CREATE TABLE settlement_cursor (
    shard smallint PRIMARY KEY,
    epoch integer NOT NULL,
    sequence bigint NOT NULL,
    state_hash numeric(20,0) NOT NULL,
    settled_at timestamptz
);

CREATE TABLE worker_lease (
    shard smallint PRIMARY KEY,
    epoch integer NOT NULL,
    owner varchar(80) NOT NULL,
    expires_at timestamptz NOT NULL
);

-- Whether a shard's worker sleeps and wants a NOTIFY. Losing it costs one poll, so it is not logged.
CREATE UNLOGGED TABLE worker_sleep (
    shard smallint PRIMARY KEY,
    asleep boolean NOT NULL
);

CREATE TABLE outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    aggregatetype varchar(32) NOT NULL,
    aggregateid varchar(64) NOT NULL,
    type varchar(64) NOT NULL,
    payload jsonb NOT NULL,
    created_at timestamptz NOT NULL
);

CREATE TABLE private_events (
    user_id bigint NOT NULL,
    sequence bigint NOT NULL,
    channel varchar(16) NOT NULL CHECK (channel IN ('orders', 'fills', 'balances', 'positions')),
    payload jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (user_id, sequence)
);
CREATE INDEX private_events_age ON private_events USING brin (created_at);

CREATE FUNCTION commands_are_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the command log is append-only' USING ERRCODE = 'integrity_constraint_violation',
        CONSTRAINT = 'commands_append_only';
END $$;
CREATE TRIGGER commands_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON commands
    FOR EACH STATEMENT EXECUTE FUNCTION commands_are_append_only();

-- Chain hash: sha256(previous hash || payload), row by row, starting from the stream's head.
CREATE FUNCTION chain_step(state bytea, payload bytea, head bytea) RETURNS bytea
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN sha256(coalesce(state, head) || payload);
CREATE AGGREGATE chain_sha256(bytea, bytea) (SFUNC = chain_step, STYPE = bytea);

CREATE FUNCTION open_shard(p_shard smallint) RETURNS void LANGUAGE sql AS $$
    INSERT INTO command_stream VALUES (p_shard, 0, 0, sha256(('shard ' || p_shard)::bytea)) ON CONFLICT DO NOTHING;
    INSERT INTO settlement_cursor VALUES (p_shard, 0, 0, 0, NULL) ON CONFLICT DO NOTHING;
    INSERT INTO worker_lease VALUES (p_shard, 0, '', '-infinity') ON CONFLICT DO NOTHING;
    INSERT INTO worker_sleep VALUES (p_shard, false) ON CONFLICT DO NOTHING;
$$;

-- Note [Gapless sequence] in trading/services/command_log.py. Returns the first sequence given.
CREATE FUNCTION append_commands(p_shard smallint, p_payloads bytea[], p_now timestamptz) RETURNS bigint
    LANGUAGE plpgsql AS $$
DECLARE
    head command_stream%ROWTYPE;
BEGIN
    SELECT * INTO STRICT head FROM command_stream WHERE shard = p_shard FOR UPDATE;
    WITH appended AS (
        INSERT INTO commands
        SELECT p_shard, head.sequence + n, payload, chain_sha256(payload, head.chain_hash) OVER (ORDER BY n), p_now
        FROM unnest(p_payloads) WITH ORDINALITY AS given(payload, n)
        RETURNING sequence, chain_hash
    )
    UPDATE command_stream SET (sequence, chain_hash) =
        (SELECT a.sequence, a.chain_hash FROM appended a ORDER BY a.sequence DESC LIMIT 1)
    WHERE shard = p_shard;
    IF EXISTS (SELECT FROM worker_sleep WHERE shard = p_shard AND asleep) THEN
        PERFORM pg_notify('commands_' || p_shard, '');
    END IF;
    RETURN head.sequence + 1;
END $$;

SELECT make_month_partitions('orders', current_date, 4), make_month_partitions('trades', current_date, 4);
SELECT open_shard(0::smallint);
