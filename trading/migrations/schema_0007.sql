-- Domain events in commit order: an id is taken from a locked row, last of all locks and with COMMIT, so that what has a
-- lower id was committed before, and there is no gap.

CREATE TABLE outbox_head (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    position bigint NOT NULL
);
INSERT INTO outbox_head (position) SELECT coalesce(max(id), 0) FROM outbox;
ALTER TABLE outbox ALTER COLUMN id DROP IDENTITY;

CREATE FUNCTION store_outbox(
    p_aggregatetype text[], p_aggregateid text[], p_type text[], p_payload text[], p_now timestamptz
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    before bigint;
BEGIN
    UPDATE outbox_head SET position = position + array_length(p_type, 1)
    RETURNING position - array_length(p_type, 1) INTO STRICT before;
    INSERT INTO outbox (id, aggregatetype, aggregateid, type, payload, created_at)
    SELECT before + n, aggregatetype, aggregateid, event, payload::jsonb, p_now
    FROM unnest(p_aggregatetype, p_aggregateid, p_type, p_payload)
        WITH ORDINALITY AS g(aggregatetype, aggregateid, event, payload, n);
END $$;

-- How far the relay has come, and each consumer; what a consumer has handled is remembered by event.
CREATE TABLE event_positions (
    reader varchar(32) PRIMARY KEY,
    position bigint NOT NULL,
    moved_at timestamptz
);
CREATE TABLE consumed_events (
    consumer varchar(32) NOT NULL,
    event_id bigint NOT NULL,
    consumed_at timestamptz NOT NULL,
    PRIMARY KEY (consumer, event_id)
);
CREATE INDEX consumed_events_age ON consumed_events USING brin (consumed_at);
