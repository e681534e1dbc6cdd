-- Instruments that left a shard, and what keeps a writer that does not know it yet from the log they left.

CREATE TABLE instrument_moves (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    instrument_id smallint NOT NULL,
    symbol varchar(24) NOT NULL,
    from_shard smallint NOT NULL,
    from_sequence bigint NOT NULL,
    to_shard smallint NOT NULL,
    to_sequence bigint NOT NULL,
    positions integer NOT NULL,
    moved_at timestamptz NOT NULL,
    CONSTRAINT instrument_moves_elsewhere CHECK (from_shard <> to_shard)
);
CREATE INDEX instrument_moves_instrument ON instrument_moves (instrument_id, id);

ALTER TABLE command_stream ADD COLUMN moved integer[] NOT NULL DEFAULT '{}';

-- Note [Gapless sequence] in trading/services/command_log.py. Returns the first sequence given.
-- Commands for an instrument that has moved to another shard are refused, under the lock by which it moves: their writer
-- read the instrument before, and has to read it anew (Note [Moving an instrument] in instrument_moves.py). The
-- instrument's id is at byte 48 of every version's row.
CREATE OR REPLACE FUNCTION append_commands(p_shard smallint, p_payloads bytea[], p_now timestamptz) RETURNS bigint
    LANGUAGE plpgsql AS $$
DECLARE
    head command_stream%ROWTYPE;
BEGIN
    SELECT * INTO STRICT head FROM command_stream WHERE shard = p_shard FOR UPDATE;
    IF head.moved <> '{}' AND EXISTS (
        SELECT FROM unnest(p_payloads) AS given(payload)
        WHERE get_byte(payload, 48) + 256 * get_byte(payload, 49) = ANY (head.moved)
    ) THEN
        RAISE EXCEPTION 'an instrument of these commands is matched on another shard than %', p_shard
            USING ERRCODE = 'serialization_failure';
    END IF;
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
