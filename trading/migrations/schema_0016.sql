-- What one transaction tells a trader is one row, a message of facts: a batch has several for most of its traders, and a
-- row of each fact cost twice as much, in its place in the index above all. A message is numbered by its last fact, so
-- that who has heard n finds the next one by its key; the facts of a message are numbered without a gap.
CREATE TABLE private_messages (
    user_id bigint NOT NULL,
    sequence bigint NOT NULL,
    channels text[] NOT NULL CONSTRAINT private_messages_known_channels CHECK (
        channels <> '{}' AND channels <@ ARRAY['orders', 'fills', 'balances', 'positions', 'notices']),
    payloads text NOT NULL CONSTRAINT private_messages_payloads_are_json CHECK (payloads IS JSON ARRAY),
    created_at timestamptz NOT NULL,
    PRIMARY KEY (user_id, sequence)
);

INSERT INTO private_messages (user_id, sequence, channels, payloads, created_at)
SELECT user_id, sequence, ARRAY[channel::text], '[' || payload || ']', created_at FROM private_events ORDER BY created_at;

DROP TABLE private_events;
CREATE INDEX private_messages_age ON private_messages USING brin (created_at);

CREATE VIEW private_events AS
SELECT m.user_id, m.sequence - cardinality(m.channels) + f.place AS sequence, m.channels[f.place] AS channel,
       f.payload::text AS payload, m.created_at
FROM private_messages m CROSS JOIN LATERAL json_array_elements(m.payloads::json) WITH ORDINALITY AS f(payload, place);
