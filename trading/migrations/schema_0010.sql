-- What the sweeper of holds has seen of orders that may have left a hold or a reservation behind: Note [Sweeping] in
-- trading/sweeping.py. One row an order; it moves by compare-and-set on its version.

CREATE TABLE hold_sweeps (
    order_id bigint PRIMARY KEY,
    user_id bigint NOT NULL,
    instrument_id smallint NOT NULL,
    symbol varchar(24) NOT NULL,
    shard smallint NOT NULL,
    cause varchar(24) NOT NULL CHECK (cause IN
        ('REVIEW_EXPIRED', 'REVIEW_ROBBED', 'ENDED', 'NEVER_LOGGED', 'CANCEL_UNANSWERED', 'AMEND_UNANSWERED',
         'EXPIRY_UNANSWERED', 'NEVER_RESTS', 'LOTS_NOT_TAKEN')),
    since timestamptz NOT NULL,
    state varchar(8) NOT NULL CHECK (state IN ('NOTED', 'ASKED', 'VOIDED', 'CLOSED', 'BROKEN')),
    log_head bigint NOT NULL CHECK (log_head >= 0),
    command_sequence bigint CHECK (command_sequence > log_head),
    hold_asset varchar(16) NOT NULL,
    hold_voided numeric(38,18) NOT NULL DEFAULT 0 CHECK (hold_voided >= 0),
    quantity_voided numeric(38,18) NOT NULL DEFAULT 0 CHECK (quantity_voided >= 0),
    why varchar(500) NOT NULL DEFAULT '',
    trace varchar(28) NOT NULL,
    version integer NOT NULL CHECK (version >= 1),
    noted_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    CONSTRAINT hold_sweeps_void_what_they_say CHECK (state = 'VOIDED' OR (hold_voided = 0 AND quantity_voided = 0)),
    CONSTRAINT hold_sweeps_broken_say_why CHECK ((state = 'BROKEN') = (why <> ''))
);
CREATE INDEX hold_sweeps_unfinished ON hold_sweeps (order_id) WHERE state IN ('NOTED', 'ASKED', 'BROKEN');

-- Empty as long as orders_final_holds_nothing holds; a database that has lost that constraint is looked at all the same.
CREATE INDEX orders_left_behind ON orders (user_id, hold_asset)
    WHERE hold_remaining <> 0 AND status IN ('filled', 'cancelled', 'rejected', 'expired');

-- Finds an order's own command by the moment at which both were written, in a log that only grows.
CREATE INDEX commands_moment ON commands USING brin (created_at) WITH (autosummarize = on);

-- What is left behind is given back by the back office, in whose role the sweeper runs.
INSERT INTO ledger_posting_right (role, kind) VALUES ('exchange_back_office', 'ORDER_UNFREEZE') ON CONFLICT DO NOTHING;
