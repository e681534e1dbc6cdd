-- A balance that was damaged may be put right: to what the account's last line says, and to nothing else. All other
-- changes of an account come with lines, as before: Note [Running balances] in 0014_fast_door.sql.
--
-- This opens no way in: the row then says what the lines say, and lines are checked against it when they come.
CREATE OR REPLACE FUNCTION ledger_check_balances() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    v_first bigint;
    v_last  bigint;
    v_bad   bigint;
BEGIN
    SELECT min(last_entry_id), max(last_entry_id) INTO v_first, v_last FROM changed;
    SELECT c.id INTO v_bad
    FROM changed c JOIN unchanged o ON o.id = c.id
    LEFT JOIN (SELECT DISTINCT account_id, entry_id FROM ledger_line WHERE entry_id BETWEEN v_first AND v_last) l
           ON l.account_id = c.id AND l.entry_id = c.last_entry_id
    WHERE (c.last_entry_id <= o.last_entry_id OR c.balance_before <> o.balance OR l.account_id IS NULL)
      AND (c.balance_before <> o.balance_before
           OR (c.balance, c.last_entry_id) = (o.balance, o.last_entry_id)
           OR NOT EXISTS (
               SELECT FROM (
                   SELECT p.entry_id, p.balance_after FROM ledger_line p WHERE p.account_id = c.id
                   ORDER BY p.account_id DESC, p.entry_id DESC, p.n DESC LIMIT 1) q
               WHERE q.entry_id = c.last_entry_id AND q.balance_after = c.balance))
    LIMIT 1;
    IF FOUND THEN
        PERFORM ledger_refuse('ledger_account_balance', 'a balance changes only with lines', v_bad::text);
    END IF;
    RETURN NULL;
END $$;
