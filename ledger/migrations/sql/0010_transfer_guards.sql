-- What deposits and withdrawals may become, whoever writes: terms that never change, states in their order, and
-- no ended state without the journal entry that ended it. Entries take the right of their kind to post, so a role
-- that may not post a settlement cannot write one down either.

-- A withdrawal's number is part of its entries' keys, so it is taken before the row is written.
CREATE SEQUENCE ledger_withdrawal_number MAXVALUE 9007199254740991;

UPDATE ledger_depositnotice SET state = 'CREDITED' WHERE entry_id IS NOT NULL;

CREATE TRIGGER ledger_upload_append_only BEFORE UPDATE OR DELETE ON ledger_statementupload
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER ledger_statement_append_only BEFORE UPDATE OR DELETE ON ledger_custodystatement
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER ledger_statement_line_append_only BEFORE UPDATE OR DELETE ON ledger_statementline
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER ledger_transfer_event_append_only BEFORE UPDATE OR DELETE ON ledger_transferevent
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER ledger_delivery_append_only BEFORE UPDATE OR DELETE ON ledger_webhookdelivery
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER ledger_withdrawal_kept BEFORE DELETE ON ledger_withdrawal
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER ledger_deposit_kept BEFORE DELETE ON ledger_depositnotice
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER ledger_stop_kept BEFORE DELETE ON ledger_withdrawalstop
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();

CREATE FUNCTION ledger_withdrawal_guard() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.state <> 'REQUESTED' OR NEW.version <> 1 OR NEW.final_entry_id IS NOT NULL
           OR NEW.reviewed_by_id IS NOT NULL OR NEW.approved_by_id IS NOT NULL THEN
            PERFORM ledger_refuse('ledger_withdrawal_state', 'a withdrawal begins as a request', NEW.id::text);
        END IF;
        IF NOT EXISTS (
            SELECT FROM ledger_entry e
            JOIN ledger_line l ON l.entry_id = e.id
            JOIN ledger_account a ON a.id = l.account_id
            WHERE e.id = NEW.hold_entry_id AND e.kind = 'WITHDRAWAL_HOLD'
              AND e.key = 'withdrawal:' || NEW.id || ':hold'
              AND a.owner_id = NEW.owner_id AND a.code = '1030' AND a.asset = NEW.asset_id
              AND l.amount = NEW.amount) THEN
            PERFORM ledger_refuse('ledger_withdrawal_entry', 'a request holds its funds', NEW.id::text);
        END IF;
        RETURN NEW;
    END IF;

    IF (NEW.id, NEW.owner_id, NEW.asset_id, NEW.amount, NEW.fee, NEW.saved_address_id, NEW.network, NEW.address,
        NEW.memo, NEW.client_withdrawal_id, NEW.log_heads, NEW.trace, NEW.requested_at, NEW.hold_entry_id)
       IS DISTINCT FROM
       (OLD.id, OLD.owner_id, OLD.asset_id, OLD.amount, OLD.fee, OLD.saved_address_id, OLD.network, OLD.address,
        OLD.memo, OLD.client_withdrawal_id, OLD.log_heads, OLD.trace, OLD.requested_at, OLD.hold_entry_id) THEN
        PERFORM ledger_refuse('ledger_withdrawal_terms', 'the terms of a withdrawal never change', NEW.id::text);
    END IF;
    IF NEW.version <> OLD.version + 1 THEN
        PERFORM ledger_refuse('ledger_withdrawal_version', 'every change counts the version up', NEW.id::text);
    END IF;
    IF NEW.state = OLD.state THEN
        IF OLD.state IN ('SETTLED', 'REJECTED', 'CANCELLED')
           AND (to_jsonb(NEW) - '{line_id,version,updated_at}'::text[])
               IS DISTINCT FROM (to_jsonb(OLD) - '{line_id,version,updated_at}'::text[]) THEN
            PERFORM ledger_refuse('ledger_withdrawal_state', 'what has ended stays', NEW.id::text);
        END IF;
    ELSIF (OLD.state, NEW.state) NOT IN (
        ('REQUESTED', 'REVIEW'), ('REQUESTED', 'REJECTING'), ('REQUESTED', 'CANCELLING'),
        ('REVIEW', 'APPROVAL'), ('REVIEW', 'REJECTING'), ('REVIEW', 'CANCELLING'),
        ('APPROVAL', 'APPROVED'), ('APPROVAL', 'REJECTING'), ('APPROVAL', 'CANCELLING'),
        ('APPROVED', 'SETTLING'), ('APPROVED', 'REJECTING'),
        ('SETTLING', 'SETTLED'), ('SETTLING', 'APPROVED'),
        ('REJECTING', 'REJECTED'), ('CANCELLING', 'CANCELLED')) THEN
        PERFORM ledger_refuse('ledger_withdrawal_state', 'this step does not follow',
                              NEW.id || ': ' || OLD.state || ' to ' || NEW.state);
    END IF;
    IF NEW.reviewed_by_id IS DISTINCT FROM OLD.reviewed_by_id AND (OLD.state, NEW.state) <> ('REVIEW', 'APPROVAL')
       OR NEW.approved_by_id IS DISTINCT FROM OLD.approved_by_id
          AND (OLD.state, NEW.state) <> ('APPROVAL', 'APPROVED') THEN
        PERFORM ledger_refuse('ledger_withdrawal_persons', 'who decided is written with the decision', NEW.id::text);
    END IF;
    IF NEW.state IN ('SETTLED', 'REJECTED', 'CANCELLED') AND OLD.state <> NEW.state AND NOT EXISTS (
        SELECT FROM ledger_entry e WHERE e.id = NEW.final_entry_id
          AND e.kind = CASE NEW.state WHEN 'SETTLED' THEN 'WITHDRAWAL_SETTLE' ELSE 'WITHDRAWAL_REJECT' END
          AND e.key = 'withdrawal:' || NEW.id || CASE NEW.state WHEN 'SETTLED' THEN ':settle' ELSE ':release' END) THEN
        PERFORM ledger_refuse('ledger_withdrawal_entry', 'an end needs its own entry', NEW.id::text);
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER ledger_withdrawal_guard BEFORE INSERT OR UPDATE ON ledger_withdrawal
    FOR EACH ROW EXECUTE FUNCTION ledger_withdrawal_guard();

CREATE FUNCTION ledger_deposit_guard() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF (NEW.id, NEW.key, NEW.amount, NEW.amount_currency, NEW.custody_id, NEW.reference, NEW.source,
            NEW.second_person, NEW.created_at)
           IS DISTINCT FROM
           (OLD.id, OLD.key, OLD.amount, OLD.amount_currency, OLD.custody_id, OLD.reference, OLD.source,
            OLD.second_person, OLD.created_at) THEN
            PERFORM ledger_refuse('ledger_deposit_terms', 'the terms of a deposit never change', NEW.key);
        END IF;
        IF NEW.version <> OLD.version + 1 THEN
            PERFORM ledger_refuse('ledger_deposit_version', 'every change counts the version up', NEW.key);
        END IF;
        IF NEW.state = OLD.state THEN
            IF OLD.state IN ('CREDITED', 'REFUSED')
               AND (to_jsonb(NEW) - '{line_id,confirmations,version}'::text[])
                   IS DISTINCT FROM (to_jsonb(OLD) - '{line_id,confirmations,version}'::text[]) THEN
                PERFORM ledger_refuse('ledger_deposit_state', 'what has ended stays', NEW.key);
            END IF;
        ELSIF (OLD.state, NEW.state) NOT IN (
            ('ANNOUNCED', 'CONFIRMED'), ('ANNOUNCED', 'REFUSED'),
            ('CONFIRMED', 'CREDITED'), ('CONFIRMED', 'REFUSED')) THEN
            PERFORM ledger_refuse('ledger_deposit_state', 'this step does not follow',
                                  NEW.key || ': ' || OLD.state || ' to ' || NEW.state);
        END IF;
        IF NEW.owner_id IS DISTINCT FROM OLD.owner_id AND NEW.approved_by_id IS NOT NULL THEN
            PERFORM ledger_refuse('ledger_deposit_persons', 'an approval belongs to one owner', NEW.key);
        END IF;
        IF NEW.state = 'REFUSED' AND NEW.receipt_entry_id IS NOT NULL THEN
            PERFORM ledger_refuse('ledger_deposit_state', 'what is in suspense is not refused', NEW.key);
        END IF;
    END IF;
    IF NEW.state = 'CREDITED' AND NOT EXISTS (
        SELECT FROM ledger_entry e WHERE e.id = NEW.entry_id
          AND (e.kind, e.key) IN (('DEPOSIT', NEW.key), ('SUSPENSE_CREDIT', NEW.key || ':credit'))) THEN
        PERFORM ledger_refuse('ledger_deposit_entry', 'a credit needs its own entry', NEW.key);
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER ledger_deposit_guard BEFORE INSERT OR UPDATE ON ledger_depositnotice
    FOR EACH ROW EXECUTE FUNCTION ledger_deposit_guard();
