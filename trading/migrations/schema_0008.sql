-- What traders ask of their positions' margin: what is added is done at once, what is taken out waits for settlement.

CREATE TABLE margin_requests (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id bigint NOT NULL,
    instrument_id smallint NOT NULL,
    symbol varchar(24) NOT NULL,
    direction varchar(6) NOT NULL CHECK (direction IN ('add', 'remove')),
    amount numeric(38,18) NOT NULL CHECK (amount > 0),
    client_margin_id varchar(64),
    state varchar(7) NOT NULL CHECK (state IN ('waiting', 'done', 'refused')),
    reason varchar(40) NOT NULL DEFAULT '',
    log_heads jsonb NOT NULL DEFAULT '{}',
    trace varchar(28) NOT NULL,
    requested_at timestamptz NOT NULL,
    ended_at timestamptz,
    CONSTRAINT margin_requests_end_when_they_end CHECK ((state = 'waiting') = (ended_at IS NULL)),
    CONSTRAINT margin_requests_refused_say_why CHECK ((state = 'refused') = (reason <> '')),
    CONSTRAINT margin_requests_added_at_once CHECK (direction = 'remove' OR state = 'done')
);
CREATE UNIQUE INDEX margin_requests_client_id ON margin_requests (user_id, client_margin_id);
CREATE INDEX margin_requests_of_user ON margin_requests (user_id, instrument_id, id DESC);
CREATE INDEX margin_requests_waiting ON margin_requests (id) WHERE state = 'waiting';

-- A trader's request to take margin out is carried out by the back office, as a withdrawal is.
INSERT INTO ledger_posting_right (role, kind) VALUES ('exchange_back_office', 'MARGIN_REMOVE') ON CONFLICT DO NOTHING;
