-- Totals of all accounts of one code, asset and part, after every so many entries: what makes a statement over all users
-- cost the same however many they are. Derived from the lines alone, and kept by one function; `audit.py` compares.

CREATE TABLE ledger_total (
    entry_id bigint NOT NULL,
    code     varchar(4) NOT NULL,
    asset    varchar(16) NOT NULL,
    sub      varchar(64) NOT NULL,
    balance  numeric(38, 18) NOT NULL,
    PRIMARY KEY (entry_id, code, asset, sub)
);
COMMENT ON TABLE ledger_total IS
    'Sums of account balances after an entry, debit positive, in the user''s view where there is one. Derived.';

-- Add the totals that are due: one set after each p_every entries, at most p_sets of them. Returns how many.
CREATE FUNCTION ledger_keep_totals(p_sets integer, p_every bigint) RETURNS integer LANGUAGE plpgsql
SECURITY DEFINER SET search_path = public, pg_temp SET jit = off AS $$
DECLARE
    v_last bigint;
    v_head bigint;
    v_done integer := 0;
BEGIN
    LOCK TABLE ledger_total IN SHARE ROW EXCLUSIVE MODE;
    SELECT coalesce(max(entry_id), 0) INTO v_last FROM ledger_total;
    SELECT entry_id INTO v_head FROM ledger_head;
    WHILE v_done < p_sets AND v_last + greatest(p_every, 1) <= v_head LOOP
        INSERT INTO ledger_total (entry_id, code, asset, sub, balance)
        SELECT v_last + greatest(p_every, 1), code, asset, sub, sum(balance) FROM (
            SELECT code, asset, sub, balance FROM ledger_total WHERE entry_id = v_last
            UNION ALL
            SELECT a.code, a.asset, a.sub, l.amount
            FROM ledger_line l JOIN ledger_account a ON a.id = l.account_id
            WHERE l.entry_id > v_last AND l.entry_id <= v_last + greatest(p_every, 1)
        ) AS part
        GROUP BY code, asset, sub;
        v_last := v_last + greatest(p_every, 1);
        v_done := v_done + 1;
    END LOOP;
    RETURN v_done;
END $$;

INSERT INTO ledger_read_only (name) VALUES ('ledger_total');
INSERT INTO ledger_callable (routine, role) VALUES ('ledger_keep_totals(integer, bigint)', 'exchange_back_office');
