"""Invariants of contracts, as SQL over whole tables: positions, their history, orders' parts, trades, and the books.

Part of `trading.audit`, which runs them. Nothing here uses the code that wrote the rows. The equations are those that
an accountant can check on paper: every contract's positions add up to nothing, its clearing account says what they
cost, and the margin wallets say what they have put up.
"""

CHECKS: dict[str, str] = {
    "positions of each contract add up to zero": """
        SELECT symbol || ': ' || trim_scale(sum(quantity)) FROM positions GROUP BY symbol HAVING sum(quantity) <> 0""",
    "clearing accounts equal the positions' signed open cost": """
        SELECT 'contract ' || coalesce(a.sub, p.symbol) || ' has ' || coalesce(a.balance, 0)
               || ' in clearing, open cost ' || coalesce(p.cost, 0)
        FROM (SELECT asset, sub, balance FROM ledger_account WHERE code = '2110' AND sub <> '' AND balance <> 0) a
        FULL JOIN (SELECT p.symbol, i.quote_id, sum(p.open_cost) AS cost
                   FROM positions p JOIN marketdata_instrument i ON i.id = p.instrument_id GROUP BY 1, 2) p
             ON p.symbol = a.sub AND p.quote_id = a.asset
        WHERE coalesce(a.balance, 0) <> coalesce(p.cost, 0)""",
    "realised and unrealised results of each contract add up to zero": """
        SELECT p.symbol || ': realised ' || sum(p.realised_pnl) || ', unrealised '
               || sum(coalesce(s.settled_mark, 0) * i.contract_size * p.quantity - p.open_cost)
        FROM positions p JOIN marketdata_instrument i ON i.id = p.instrument_id
        LEFT JOIN instrument_state s ON s.instrument_id = i.id GROUP BY p.symbol
        HAVING sum(p.realised_pnl + coalesce(s.settled_mark, 0) * i.contract_size * p.quantity - p.open_cost) <> 0""",
    "margin wallets equal the positions' margin": """
        SELECT 'user ' || coalesce(p.user_id, a.owner_id) || ' has ' || coalesce(a.balance, 0)
               || ' in the margin wallet of ' || coalesce(p.symbol, a.sub) || '; the position, less suspended entries, '
               || coalesce(p.margin, 0)
        FROM (SELECT owner_id, asset, sub, balance FROM ledger_account WHERE code = '1040' AND balance <> 0) a
        FULL JOIN (SELECT user_id, symbol, quote_id, sum(margin) AS margin
                   FROM (SELECT p.user_id, p.symbol, i.quote_id, p.margin
                         FROM positions p JOIN marketdata_instrument i ON i.id = p.instrument_id
                         UNION ALL
                         SELECT (l ->> 0)::bigint, l ->> 3, l ->> 2, -(l ->> 4)::numeric
                         FROM suspended_entries s CROSS JOIN LATERAL jsonb_array_elements(s.lines) AS l
                         WHERE s.state = 'OPEN' AND l ->> 1 = '1040') m
                   GROUP BY 1, 2, 3 HAVING sum(margin) <> 0) p
             ON p.user_id = a.owner_id AND p.symbol = a.sub AND p.quote_id = a.asset
        WHERE coalesce(a.balance, 0) <> coalesce(p.margin, 0)""",
    "positions are what their history adds up to": """
        SELECT 'position of user ' || coalesce(p.user_id, h.user_id) || ' in '
               || coalesce(p.instrument_id, h.instrument_id)
               || ' is ' || concat_ws(' ', p.quantity, p.open_cost, p.margin, p.realised_pnl, p.version)
               || '; its steps make ' || concat_ws(' ', h.quantity, h.open_cost, h.margin, h.result, h.steps)
        FROM positions p
        FULL JOIN (SELECT user_id, instrument_id, sum(quantity) AS quantity, sum(open_cost) AS open_cost,
                          sum(margin) AS margin, sum(result) AS result, count(*) AS steps, max(version) AS last,
                          (array_agg(leverage ORDER BY version DESC))[1] AS leverage
                   FROM position_events GROUP BY 1, 2) h
             ON h.user_id = p.user_id AND h.instrument_id = p.instrument_id
        WHERE p.user_id IS NULL
           OR (p.quantity, p.open_cost, p.margin, p.realised_pnl, p.version, p.version, p.leverage) IS DISTINCT FROM
              (coalesce(h.quantity, 0), coalesce(h.open_cost, 0), coalesce(h.margin, 0), coalesce(h.result, 0),
               coalesce(h.steps, 0), coalesce(h.last, 0), coalesce(h.leverage, p.leverage))""",
    "live reservations are the positions' and never exceed them": """
        SELECT 'user ' || coalesce(p.user_id, r.user_id) || ' has reserved ' || coalesce(p.reserved, 0) || ' of '
               || coalesce(p.quantity, 0) || ' in ' || coalesce(p.instrument_id, r.instrument_id) || '; orders '
               || coalesce(r.sells, 0) || ' to sell, ' || coalesce(r.buys, 0) || ' to buy'
        FROM positions p
        FULL JOIN (SELECT t.user_id, t.instrument_id, sum(t.quantity_left) FILTER (WHERE o.side = 'sell') AS sells,
                          sum(t.quantity_left) FILTER (WHERE o.side = 'buy') AS buys
                   FROM order_parts t JOIN orders o ON o.id = t.order_id
                   WHERE t.kind = 'REDUCE' AND t.quantity_left <> 0 GROUP BY 1, 2) r
             ON r.user_id = p.user_id AND r.instrument_id = p.instrument_id
        WHERE coalesce(p.reserved, 0) <> coalesce(r.sells, 0) + coalesce(r.buys, 0)
           OR coalesce(r.sells, 0) > greatest(coalesce(p.quantity, 0), 0)
           OR coalesce(r.buys, 0) > greatest(coalesce(-p.quantity, 0), 0)""",
    "open parts are what their orders have open and hold": """
        SELECT 'order ' || coalesce(o.id, t.order_id) || ' is ' || coalesce(o.status, 'unknown') || ', '
               || coalesce(o.quantity - o.filled_quantity, 0) || ' open, holds '
               || coalesce(o.hold_remaining - o.amend_hold, 0) || '; its parts have ' || coalesce(t.open, 0)
               || ' and hold ' || coalesce(t.funds, 0)
        FROM (SELECT * FROM orders WHERE intent IS NOT NULL) o
        FULL JOIN (SELECT order_id, sum(quantity_left) AS open, sum(funds_left) AS funds FROM order_parts GROUP BY 1) t
             ON t.order_id = o.id
        WHERE o.id IS NULL OR o.hold_remaining - o.amend_hold <> coalesce(t.funds, 0)
           OR coalesce(t.open, 0) <> CASE
                  WHEN o.reduce_only OR o.close_position OR o.status NOT IN
                       ('new', 'partial_filled', 'pending_review', 'untriggered') THEN 0
                  ELSE o.quantity - o.filled_quantity END""",
    "every contract trade moves both positions once": """
        SELECT 'trade ' || coalesce(t.id, p.trade_id) || ', ' || coalesce(t.side, 'no side') || ' of user '
               || coalesce(t.user_id, p.user_id) || ' is ' || concat_ws(' ', t.quantity, t.notional, t.fee)
               || '; the position moved by ' || concat_ws(' ', p.quantity, p.notional, p.fee)
        FROM (SELECT t.id, s.* FROM trades t JOIN marketdata_instrument i ON i.id = t.instrument_id
              CROSS JOIN LATERAL (VALUES
                  ('buy', t.buy_order_id, t.buyer_id, t.quantity, t.notional, t.buyer_fee),
                  ('sell', t.sell_order_id, t.seller_id, -t.quantity, -t.notional, t.seller_fee))
                  AS s (side, order_id, user_id, quantity, notional, fee)
              WHERE i.kind = 'PERP') t
        FULL JOIN (SELECT trade_id, order_id, user_id, sum(quantity) AS quantity, sum(open_cost - result) AS notional,
                          sum(fee) AS fee, count(*) AS steps, count(DISTINCT change) AS changes
                   FROM position_events WHERE trade_id IS NOT NULL GROUP BY 1, 2, 3) p
             ON p.trade_id = t.id AND p.order_id = t.order_id AND p.user_id = t.user_id
        WHERE t.id IS NULL OR p.trade_id IS NULL OR p.steps <> p.changes
           OR (t.quantity, t.notional, t.fee) IS DISTINCT FROM (p.quantity, p.notional, p.fee)""",
    "every step of a position has its entry, and every contract entry its step": """
        WITH step AS (
            SELECT p.*, i.symbol, i.quote_id, 'trade:' || p.trade_id || ':' || o.side || CASE
                       WHEN count(*) OVER (PARTITION BY p.trade_id, p.order_id) = 2 THEN ':FLIP_' || p.change
                       ELSE '' END AS key
            FROM position_events p JOIN marketdata_instrument i ON i.id = p.instrument_id
            JOIN orders o ON o.id = p.order_id WHERE p.trade_id IS NOT NULL
        ), entry AS (
            SELECT j.key, count(DISTINCT j.id) AS entries, min(j.kind) AS kind,
                   array_agg(DISTINCT a.owner_id) FILTER (WHERE a.owner_id IS NOT NULL) AS owners,
                   array_agg(DISTINCT a.sub) FILTER (WHERE a.code IN ('1040', '2110')) AS contracts,
                   array_agg(DISTINCT a.asset) AS assets,
                   coalesce(sum(l.amount) FILTER (WHERE a.code = '1040'), 0) AS margin,
                   coalesce(sum(l.amount) FILTER (WHERE a.code = '2110'), 0) AS result,
                   coalesce(sum(-l.amount) FILTER (WHERE a.code IN ('4010', '5010')), 0) AS realised,
                   coalesce(sum(l.amount) FILTER (WHERE a.code = '5030'), 0) AS fee,
                   coalesce(sum(-l.amount) FILTER (WHERE a.code = '4110'), 0) AS revenue
            FROM ledger_entry j
            LEFT JOIN ledger_line l ON l.entry_id = j.id LEFT JOIN ledger_account a ON a.id = l.account_id
            WHERE j.kind IN ('OPEN_FILL', 'CLOSE_FILL', 'FLIP_OPEN', 'FLIP_CLOSE', 'CLOSE_TO_OPEN', 'OPEN_TO_CLOSE')
            GROUP BY j.key
        )
        SELECT 'step ' || coalesce(s.key, e.key) || ' of user ' || coalesce(s.user_id::text, '-') || ' moves margin '
               || coalesce(s.margin::text, '-') || ', result ' || coalesce(s.result::text, '-') || ', fee '
               || coalesce(s.fee::text, '-') || '; its entry ' || coalesce(e.kind, 'is missing') || ' '
               || concat_ws(' ', e.margin, e.result, e.fee)
        FROM step s FULL JOIN entry e ON e.key = s.key
        WHERE s.key IS NULL OR e.key IS NULL OR e.entries <> 1 OR e.owners <> ARRAY[s.user_id]
           OR e.assets <> ARRAY[s.quote_id]::varchar[] OR e.contracts <> ARRAY[s.symbol]::varchar[]
           OR (e.margin, e.result, e.realised, e.fee, e.revenue)
              IS DISTINCT FROM (s.margin, s.result, s.result, s.fee, s.fee)
           OR (e.kind IN ('OPEN_FILL', 'FLIP_OPEN', 'CLOSE_TO_OPEN')) <> (s.change = 'OPEN')
           OR (s.key LIKE '%:FLIP_%') <> (e.kind LIKE 'FLIP_%')""",
}
