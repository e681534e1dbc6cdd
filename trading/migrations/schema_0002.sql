-- What later order types need: a trigger, a visible part, an end, and what to do about oneself.

ALTER TABLE orders
    ADD COLUMN stop_price numeric(38,18) CHECK (stop_price > 0),
    ADD COLUMN display_quantity numeric(38,18) CHECK (display_quantity > 0),
    ADD COLUMN post_only boolean NOT NULL DEFAULT false,
    ADD COLUMN self_trade_prevention varchar(16) NOT NULL DEFAULT 'none' CHECK (self_trade_prevention IN
        ('none', 'cancel_maker', 'cancel_taker', 'cancel_both', 'decrement')),
    ADD COLUMN expires_at timestamptz,
    ADD COLUMN callback_rate numeric(12,8) CHECK (callback_rate > 0 AND callback_rate <= 0.5),
    ADD COLUMN activation_price numeric(38,18) CHECK (activation_price > 0),
    ADD COLUMN triggered_at timestamptz,
    ADD COLUMN amend_hold numeric(38,18) NOT NULL DEFAULT 0 CHECK (amend_hold >= 0 AND amend_hold <= hold_remaining),
    ADD COLUMN amend_requested_at timestamptz,
    DROP CONSTRAINT orders_type_check,
    DROP CONSTRAINT orders_time_in_force_check,
    DROP CONSTRAINT orders_status_check,
    DROP CONSTRAINT orders_final_holds_nothing,
    ADD CONSTRAINT orders_type_check CHECK (type IN
        ('limit', 'market', 'stop', 'stop_limit', 'take_profit', 'take_profit_limit', 'trailing_stop')),
    ADD CONSTRAINT orders_time_in_force_check CHECK (time_in_force IN ('gtc', 'ioc', 'fok', 'gtd', 'day')),
    ADD CONSTRAINT orders_status_check CHECK (status IN
        ('new', 'partial_filled', 'filled', 'cancelled', 'rejected', 'pending_review', 'untriggered', 'expired')),
    ADD CONSTRAINT orders_final_holds_nothing CHECK (
        hold_remaining = 0 OR status IN ('new', 'partial_filled', 'pending_review', 'untriggered')),
    ADD CONSTRAINT orders_trigger_where_one_is_awaited CHECK (
        (stop_price IS NOT NULL) = (type IN ('stop', 'stop_limit', 'take_profit', 'take_profit_limit'))),
    ADD CONSTRAINT orders_distance_where_one_is_kept CHECK (
        (callback_rate IS NOT NULL) = (type = 'trailing_stop') AND (activation_price IS NULL OR type = 'trailing_stop')),
    ADD CONSTRAINT orders_end_where_one_is_given CHECK ((expires_at IS NOT NULL) = (time_in_force IN ('gtd', 'day')));

DROP INDEX orders_user_open;
CREATE INDEX orders_user_open ON orders (user_id, instrument_id)
    WHERE status IN ('new', 'partial_filled', 'pending_review', 'untriggered');
CREATE INDEX orders_expiring ON orders (expires_at)
    WHERE expires_at IS NOT NULL AND status IN ('new', 'partial_filled', 'untriggered');
