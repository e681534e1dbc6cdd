"""Statements of the books, as of any moment or between any two: figures only, no pages and no files.

`moments` decides which entries count; `balances` and `lines` read them; `sheet`, `trial`, `income`, `cash`, `fees` and
`customer` make statements of them; `titles` says in words what each account is.
"""
