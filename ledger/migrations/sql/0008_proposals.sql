-- Entries that people make: none without an approved proposal of a maker and another checker, and exactly as
-- proposed. A reversal is the negated entry, dated today, once, never of a reversal.

ALTER TABLE ledger_proposal ADD COLUMN transaction_id xid8 NOT NULL DEFAULT pg_current_xact_id();
ALTER TABLE ledger_proposal ADD CONSTRAINT ledger_proposal_reason CHECK (length(btrim(reason)) >= 3);
COMMENT ON COLUMN ledger_proposal.transaction_id IS 'Lines are added in this transaction only.';

-- SECURITY DEFINER: it fires for the processes' roles, which may not call ledger_refuse.
CREATE FUNCTION ledger_keep_proposal() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.state <> 'PROPOSED' OR NEW.transaction_id <> pg_current_xact_id() THEN
            PERFORM ledger_refuse('ledger_proposal_state', 'a proposal begins as one', NEW.state);
        END IF;
        RETURN NEW;
    END IF;
    IF (NEW.id, NEW.kind, NEW.reason, NEW.maker_id, NEW.made_at, NEW.transaction_id)
       IS DISTINCT FROM (OLD.id, OLD.kind, OLD.reason, OLD.maker_id, OLD.made_at, OLD.transaction_id)
       OR NEW.effective_at IS DISTINCT FROM OLD.effective_at OR NEW.reverses_id IS DISTINCT FROM OLD.reverses_id
       OR OLD.checker_id IS NOT NULL
          AND (NEW.checker_id, NEW.checked_at, NEW.remark) IS DISTINCT FROM (OLD.checker_id, OLD.checked_at, OLD.remark)
    THEN
        PERFORM ledger_refuse('ledger_proposal_kept', 'what was proposed and decided stays', OLD.id::text);
    END IF;
    IF NEW.state <> OLD.state AND (OLD.state, NEW.state) NOT IN (
        ('PROPOSED', 'APPROVED'), ('PROPOSED', 'REJECTED'), ('PROPOSED', 'WITHDRAWN'),
        ('APPROVED', 'POSTED'), ('APPROVED', 'REFUSED'))
    THEN
        PERFORM ledger_refuse('ledger_proposal_state', 'no such step', OLD.state || ' to ' || NEW.state);
    END IF;
    IF NEW.state = 'POSTED' AND NOT EXISTS (
        SELECT FROM ledger_entry e WHERE e.id = NEW.entry_id AND e.key = 'proposal:' || NEW.id)
    THEN
        PERFORM ledger_refuse('ledger_proposal_entry', 'it is posted when its entry is', NEW.id::text);
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER ledger_proposal_kept BEFORE INSERT OR UPDATE ON ledger_proposal
    FOR EACH ROW EXECUTE FUNCTION ledger_keep_proposal();
CREATE TRIGGER ledger_proposal_append_only BEFORE DELETE ON ledger_proposal
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();

CREATE FUNCTION ledger_check_proposed_line() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM ledger_proposal p
        WHERE p.id = NEW.proposal_id AND p.kind <> 'REVERSAL' AND p.state = 'PROPOSED'
          AND p.transaction_id = pg_current_xact_id())
    THEN
        PERFORM ledger_refuse('ledger_proposalline_together', 'lines are proposed together with their entry',
                              NEW.proposal_id::text);
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER ledger_proposalline_check BEFORE INSERT ON ledger_proposalline
    FOR EACH ROW EXECUTE FUNCTION ledger_check_proposed_line();
CREATE TRIGGER ledger_proposalline_append_only BEFORE UPDATE OR DELETE ON ledger_proposalline
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER ledger_entrycomment_append_only BEFORE UPDATE OR DELETE ON ledger_entrycomment
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER ledger_entryattachment_append_only BEFORE UPDATE OR DELETE ON ledger_entryattachment
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();

-- An entry that people make, against the proposal that its key names. Its lines are checked one by one.
CREATE FUNCTION ledger_check_by_people(p_entry ledger_entry) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v_proposal ledger_proposal;
    v_differs  boolean;
BEGIN
    SELECT * INTO v_proposal FROM ledger_proposal
    WHERE id = substring(p_entry.key FROM '^proposal:([0-9]{1,18})$')::bigint
      AND kind = p_entry.kind AND state = 'APPROVED' AND checker_id <> maker_id;
    IF NOT FOUND OR v_proposal.reverses_id IS DISTINCT FROM p_entry.reverses THEN
        PERFORM ledger_refuse('ledger_entry_two_people', 'one person proposes it and another approves it', p_entry.key);
    END IF;
    IF v_proposal.effective_at IS NULL AND p_entry.late OR p_entry.effective_at <> v_proposal.effective_at THEN
        PERFORM ledger_refuse('ledger_entry_effective_today', 'it is effective when it is posted, or as proposed',
                              p_entry.key);
    END IF;
    IF p_entry.reverses IS NOT NULL
       AND NOT EXISTS (SELECT FROM ledger_entry o WHERE o.id = p_entry.reverses AND o.reverses IS NULL) THEN
        PERFORM ledger_refuse('ledger_entry_reverses_original', 'a reversal is not reversed', p_entry.key);
    END IF;
    SELECT true INTO v_differs
    FROM (
        SELECT l.n, a.owner_id, a.code, a.asset, a.sub, l.amount
        FROM ledger_line l JOIN ledger_account a ON a.id = l.account_id WHERE l.entry_id = p_entry.id
    ) posted
    FULL JOIN (
        SELECT l.n, a.owner_id, a.code, a.asset, a.sub, -l.amount AS amount
        FROM ledger_line l JOIN ledger_account a ON a.id = l.account_id WHERE l.entry_id = p_entry.reverses
        UNION ALL
        SELECT n, owner_id, code, asset, sub, amount FROM ledger_proposalline WHERE proposal_id = v_proposal.id
    ) proposed ON proposed.n = posted.n
    WHERE (posted.owner_id, posted.code, posted.asset, posted.sub, posted.amount)
          IS DISTINCT FROM (proposed.owner_id, proposed.code, proposed.asset, proposed.sub, proposed.amount)
    LIMIT 1;
    IF v_differs THEN
        PERFORM ledger_refuse('ledger_entry_as_proposed', 'it has the lines that were proposed', p_entry.key);
    END IF;
END $$;

-- As in 0006_periods.sql; and entries that people make are those that were proposed and approved.
CREATE OR REPLACE FUNCTION ledger_check_entries() RETURNS trigger LANGUAGE plpgsql
SET enable_nestloop = on SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off AS $$
DECLARE
    v_bad    record;
    v_closed timestamptz;
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
    -- Locked: who closes a period waits for this transaction, or this transaction for the close.
    SELECT closed_before INTO STRICT v_closed FROM ledger_head WHERE id = 1 FOR SHARE;
    SELECT i.key, i.effective_at, i.effective_at < v_closed AS is_closed INTO v_bad FROM inserted i
    WHERE i.effective_at < v_closed OR i.effective_at > i.recorded_at + interval '60 seconds' LIMIT 1;
    IF FOUND THEN
        PERFORM ledger_refuse(
            CASE WHEN v_bad.is_closed THEN 'ledger_period_closed' ELSE 'ledger_entry_future' END,
            CASE WHEN v_bad.is_closed THEN 'its period is closed' ELSE 'it lies in the future' END,
            jsonb_build_object('key', v_bad.key, 'effective_at', v_bad.effective_at, 'closed_before', v_closed)::text);
    END IF;
    PERFORM ledger_check_by_people(e) FROM inserted i JOIN ledger_entry e ON e.id = i.id
    WHERE i.reverses IS NOT NULL OR i.kind IN ('REVERSAL', 'MANUAL', 'CORRECTION');
    RETURN NULL;
END $$;
