-- What is refused may stand in suspense, until somebody pays it back; a receipt names its own entry and stays.

CREATE OR REPLACE FUNCTION ledger_deposit_guard() RETURNS trigger LANGUAGE plpgsql
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
        IF OLD.receipt_entry_id IS NOT NULL AND NEW.receipt_entry_id IS DISTINCT FROM OLD.receipt_entry_id THEN
            PERFORM ledger_refuse('ledger_deposit_entry', 'a receipt in suspense is kept', NEW.key);
        END IF;
    END IF;
    IF NEW.receipt_entry_id IS NOT NULL AND NOT EXISTS (
        SELECT FROM ledger_entry e WHERE e.id = NEW.receipt_entry_id
          AND (e.kind, e.key) = ('SUSPENSE_RECEIPT', NEW.key || ':receipt')) THEN
        PERFORM ledger_refuse('ledger_deposit_entry', 'a receipt needs its own entry', NEW.key);
    END IF;
    IF NEW.state = 'CREDITED' AND NOT EXISTS (
        SELECT FROM ledger_entry e WHERE e.id = NEW.entry_id
          AND (e.kind, e.key) IN (('DEPOSIT', NEW.key), ('SUSPENSE_CREDIT', NEW.key || ':credit'))) THEN
        PERFORM ledger_refuse('ledger_deposit_entry', 'a credit needs its own entry', NEW.key);
    END IF;
    RETURN NEW;
END $$;
