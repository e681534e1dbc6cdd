"""REST calls of the ledger: a user's own account statement."""
