"""Reconciliation: checks that compare what must agree, continuously and in full, and the breaks they find.

`checks.py` says what a check is and keeps the register, which upper apps extend from their `AppConfig.ready`;
`runner.py` runs them. `ledger/RECONCILIATION.md` lists each check with what it compares and what to do about a break.
"""
