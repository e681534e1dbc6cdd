"""Tells the whole story of one thing: an order, a trade, an entry, a request, a deposit, a withdrawal.

`story.py` finds what a term names and what belongs to it, by asking tellers; the ledger's are in `books.py` and
`transfers.py`, and upper apps register theirs from their `AppConfig.ready`.
"""
