-- Checks that hold whoever writes, the owner of the tables included.

CREATE FUNCTION ledger_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% of % is refused: the books are only ever added to', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation', CONSTRAINT = 'ledger_append_only', TABLE = TG_TABLE_NAME;
END $$;

CREATE TRIGGER ledger_entry_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_entry
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER ledger_line_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_line
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER ledger_account_append_only BEFORE DELETE OR TRUNCATE ON ledger_account
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER ledger_head_append_only BEFORE INSERT OR DELETE OR TRUNCATE ON ledger_head
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();

CREATE FUNCTION ledger_refuse(p_constraint text, p_message text, p_detail text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%', p_message
        USING ERRCODE = 'check_violation', CONSTRAINT = p_constraint, DETAIL = p_detail;
END $$;

-- Called from the place in a query where a running balance has just broken its account's bound.
CREATE FUNCTION ledger_refuse_bound(p_account bigint, p_balance numeric) RETURNS numeric
LANGUAGE plpgsql AS $$
DECLARE
    v_account ledger_account;
BEGIN
    SELECT * INTO v_account FROM ledger_account WHERE id = p_account;
    PERFORM ledger_refuse(
        'ledger_account_bound', 'an account would pass its bound',
        jsonb_build_object('owner_id', v_account.owner_id, 'code', v_account.code, 'asset', v_account.asset,
                           'sub', v_account.sub, 'balance_after', p_balance::text)::text);
    RETURN NULL;
END $$;

-- Every set of lines: known accounts, entries of this transaction, both views balanced, bounds kept after
-- each line, running balances that continue each other and end in the account's balance.
CREATE FUNCTION ledger_check_lines() RETURNS trigger LANGUAGE plpgsql
SET enable_nestloop = on SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off AS $$
DECLARE
    v_bad record;
BEGIN
    SELECT l.entry_id, l.account_id INTO v_bad
    FROM inserted l
    LEFT JOIN ledger_entry e ON e.id = l.entry_id
    WHERE e.transaction_id IS DISTINCT FROM pg_current_xact_id()
    LIMIT 1;
    IF FOUND THEN
        PERFORM ledger_refuse('ledger_line_same_transaction',
            'lines are added only in the transaction that adds their entry', v_bad::text);
    END IF;

    WITH line AS MATERIALIZED (
        SELECT l.entry_id, l.n, l.account_id, l.amount, l.balance_after,
               a.id, a.owner_id, a.asset, a.face, a.bound, a.balance
        FROM inserted l
        LEFT JOIN ledger_account a ON a.id = l.account_id
    ), chained AS (
        SELECT account_id, entry_id, n, balance, balance_after, balance_after - amount AS before,
               lag(balance_after) OVER w AS previous,
               lead(n) OVER w IS NULL AS is_last
        FROM line WINDOW w AS (PARTITION BY account_id ORDER BY entry_id, n)
    ), bad (constraint_name, detail) AS (
        SELECT 'ledger_line_account', jsonb_build_object('entry', entry_id, 'account', account_id)
        FROM line WHERE id IS NULL
        UNION ALL
        SELECT 'ledger_account_bound',
               jsonb_build_object('owner_id', owner_id, 'asset', asset, 'balance_after', balance_after::text)
        FROM line WHERE sign(balance_after) * bound < 0
        UNION ALL
        SELECT 'ledger_entry_user_balance',
               jsonb_build_object('entry', entry_id, 'owner_id', owner_id, 'asset', asset, 'sum', sum(amount)::text)
        FROM line WHERE owner_id IS NOT NULL
        GROUP BY entry_id, owner_id, asset HAVING sum(amount) <> 0
        UNION ALL
        SELECT 'ledger_entry_platform_balance',
               jsonb_build_object('entry', entry_id, 'asset', asset,
                                  'sum', sum(CASE face WHEN 'BOTH' THEN -amount ELSE amount END)::text)
        FROM line WHERE face <> 'USER'
        GROUP BY entry_id, asset HAVING sum(CASE face WHEN 'BOTH' THEN -amount ELSE amount END) <> 0
        UNION ALL
        SELECT 'ledger_line_running_balance', jsonb_build_object('entry', entry_id, 'account', account_id)
        FROM chained
        WHERE before <> coalesce(previous, (
                  SELECT p.balance_after FROM ledger_line p
                  WHERE p.account_id = chained.account_id
                    AND (p.entry_id, p.n) < (chained.entry_id, chained.n)
                  ORDER BY p.entry_id DESC, p.n DESC LIMIT 1), 0)
           OR is_last AND balance <> balance_after
    )
    SELECT * INTO v_bad FROM bad LIMIT 1;
    IF FOUND THEN
        PERFORM ledger_refuse(v_bad.constraint_name, 'refused by ' || v_bad.constraint_name, v_bad.detail::text);
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER ledger_line_check AFTER INSERT ON ledger_line
    REFERENCING NEW TABLE AS inserted FOR EACH STATEMENT EXECUTE FUNCTION ledger_check_lines();

-- Every set of entries: of this transaction, dense, in order of recording, each with lines.
CREATE FUNCTION ledger_check_entries() RETURNS trigger LANGUAGE plpgsql
SET enable_nestloop = on SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off AS $$
DECLARE
    v_bad bigint;
BEGIN
    SELECT id INTO v_bad FROM inserted WHERE transaction_id <> pg_current_xact_id() LIMIT 1;
    IF FOUND THEN
        PERFORM ledger_refuse('ledger_entry_transaction', 'an entry names its own transaction', v_bad::text);
    END IF;
    SELECT i.id INTO v_bad FROM inserted i
    LEFT JOIN ledger_entry p ON p.id = i.id - 1
    WHERE i.id > 1 AND (p.id IS NULL OR p.recorded_at > i.recorded_at) LIMIT 1;
    IF FOUND THEN
        PERFORM ledger_refuse('ledger_entry_dense',
            'entry numbers have no gap and follow the order of recording', v_bad::text);
    END IF;
    SELECT i.id INTO v_bad FROM inserted i
    WHERE NOT EXISTS (SELECT FROM ledger_line l WHERE l.entry_id = i.id) LIMIT 1;
    IF FOUND THEN
        PERFORM ledger_refuse('ledger_entry_lines', 'an entry has lines', v_bad::text);
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER ledger_entry_check AFTER INSERT ON ledger_entry
    REFERENCING NEW TABLE AS inserted FOR EACH STATEMENT EXECUTE FUNCTION ledger_check_entries();

-- Accounts: opened at zero for a known asset; afterwards only the balance changes, and only with lines.
CREATE FUNCTION ledger_check_opened() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    v_bad bigint;
BEGIN
    SELECT i.id INTO v_bad FROM inserted i
    WHERE i.balance <> 0 OR NOT EXISTS (SELECT FROM ledger_asset s WHERE s.code = i.asset) LIMIT 1;
    IF FOUND THEN
        PERFORM ledger_refuse('ledger_account_opening', 'an account opens at zero, for a known asset', v_bad::text);
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION ledger_fill_account() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    SELECT c.face, c.bound INTO NEW.face, NEW.bound FROM ledger_chart c WHERE c.code = NEW.code;
    IF NOT FOUND THEN
        PERFORM ledger_refuse('ledger_account_code', 'the chart has no such account', NEW.code);
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER ledger_account_fill BEFORE INSERT ON ledger_account
    FOR EACH ROW EXECUTE FUNCTION ledger_fill_account();

CREATE TRIGGER ledger_account_opened AFTER INSERT ON ledger_account
    REFERENCING NEW TABLE AS inserted FOR EACH STATEMENT EXECUTE FUNCTION ledger_check_opened();

CREATE FUNCTION ledger_check_balances() RETURNS trigger LANGUAGE plpgsql
SET enable_nestloop = on SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off AS $$
DECLARE
    v_bad bigint;
BEGIN
    SELECT c.id INTO v_bad FROM changed c
    WHERE c.balance <> coalesce((
        SELECT l.balance_after FROM ledger_line l WHERE l.account_id = c.id
        ORDER BY l.entry_id DESC, l.n DESC LIMIT 1), 0)
    LIMIT 1;
    IF FOUND THEN
        PERFORM ledger_refuse('ledger_account_balance', 'a balance changes only with lines', v_bad::text);
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER ledger_account_balance AFTER UPDATE ON ledger_account
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION ledger_check_balances();

CREATE TRIGGER ledger_account_identity BEFORE UPDATE OF id, owner_id, code, asset, sub, face, bound ON ledger_account
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();

-- An asset that has accounts keeps its code and its decimals.
CREATE FUNCTION ledger_keep_asset() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND NEW.code = OLD.code AND NEW.decimals = OLD.decimals THEN
        RETURN NEW;
    END IF;
    IF EXISTS (SELECT FROM ledger_account WHERE asset = OLD.code) THEN
        PERFORM ledger_refuse('ledger_asset_in_use', 'an asset with accounts keeps its code and decimals', OLD.code);
    END IF;
    RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
END $$;

CREATE TRIGGER ledger_asset_kept BEFORE UPDATE OR DELETE ON ledger_asset
    FOR EACH ROW EXECUTE FUNCTION ledger_keep_asset();
