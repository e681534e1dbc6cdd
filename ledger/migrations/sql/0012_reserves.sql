-- Proofs of reserves: asked for by anyone's hand, published by the back office alone, never changed.

-- Hashes cannot be compressed; a part of a long value is read without the rest.
ALTER TABLE ledger_publication_chunk ALTER COLUMN leaves SET STORAGE EXTERNAL;

-- Inside a SECURITY DEFINER function `role` still names who asked, as in ledger_check_right.
CREATE FUNCTION ledger_check_publisher() RETURNS void LANGUAGE plpgsql STABLE
SET search_path = public, pg_temp AS $$
DECLARE
    v_role text := current_setting('role');
BEGIN
    IF v_role = 'none' THEN
        v_role := session_user;
    END IF;
    IF NOT pg_has_role(v_role, (SELECT relowner FROM pg_class WHERE oid = 'ledger_publication'::regclass), 'MEMBER')
       AND NOT pg_has_role(v_role, 'exchange_back_office', 'MEMBER') THEN
        RAISE EXCEPTION '% may not publish', v_role
            USING ERRCODE = 'insufficient_privilege', CONSTRAINT = 'ledger_publication_right';
    END IF;
END $$;

CREATE FUNCTION ledger_keep_publication() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.state <> 'REQUESTED' THEN
            PERFORM ledger_refuse('ledger_publication_state', 'a publication begins as a request', NEW.state);
        END IF;
        RETURN NEW;
    END IF;
    PERFORM ledger_check_publisher();
    IF OLD.state <> 'REQUESTED'
       OR (NEW.id, NEW.requested_by_id, NEW.requested_at)
          IS DISTINCT FROM (OLD.id, OLD.requested_by_id, OLD.requested_at) THEN
        PERFORM ledger_refuse('ledger_publication_kept', 'what was asked for and published stays', OLD.id::text);
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER ledger_publication_kept BEFORE INSERT OR UPDATE ON ledger_publication
    FOR EACH ROW EXECUTE FUNCTION ledger_keep_publication();
CREATE TRIGGER ledger_publication_append_only BEFORE DELETE ON ledger_publication
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();

CREATE FUNCTION ledger_check_chunks() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_bad bigint;
BEGIN
    PERFORM ledger_check_publisher();
    SELECT i.publication_id INTO v_bad FROM inserted i
    WHERE NOT EXISTS (SELECT FROM ledger_publication p WHERE p.id = i.publication_id AND p.state = 'REQUESTED')
    LIMIT 1;
    IF FOUND THEN
        PERFORM ledger_refuse('ledger_publication_kept', 'a published tree stays as it is', v_bad::text);
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER ledger_publication_chunk_check AFTER INSERT ON ledger_publication_chunk
    REFERENCING NEW TABLE AS inserted FOR EACH STATEMENT EXECUTE FUNCTION ledger_check_chunks();
CREATE TRIGGER ledger_publication_chunk_append_only BEFORE UPDATE OR DELETE ON ledger_publication_chunk
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();
