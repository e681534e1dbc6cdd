-- Buys by quote amount, the price that a trigger watches, and why the engine refused an amend.

ALTER TABLE orders
    ADD COLUMN quote_quantity numeric(38,18) CHECK (quote_quantity > 0),
    ADD COLUMN trigger_by varchar(4) CHECK (trigger_by IN ('last', 'mark')),
    ADD COLUMN amend_refusal varchar(40) NOT NULL DEFAULT '',
    ALTER COLUMN quantity DROP NOT NULL,
    DROP CONSTRAINT orders_filled_within_quantity,
    ADD CONSTRAINT orders_filled_within_quantity CHECK (
        filled_quantity >= 0 AND (quantity IS NULL OR filled_quantity <= quantity)),
    ADD CONSTRAINT orders_sized_one_way CHECK ((quantity IS NULL) = (quote_quantity IS NOT NULL)),
    ADD CONSTRAINT orders_amounts_buy_at_the_market CHECK (
        quote_quantity IS NULL OR (side = 'buy' AND type = 'market' AND time_in_force = 'ioc')),
    ADD CONSTRAINT orders_spent_within_amount CHECK (filled_notional + fee <= quote_quantity);

UPDATE orders SET trigger_by = 'last'
WHERE type IN ('stop', 'stop_limit', 'take_profit', 'take_profit_limit', 'trailing_stop');

ALTER TABLE orders ADD CONSTRAINT orders_watch_a_price_where_they_wait_for_one CHECK (
    (trigger_by IS NOT NULL) = (type IN ('stop', 'stop_limit', 'take_profit', 'take_profit_limit', 'trailing_stop')));
