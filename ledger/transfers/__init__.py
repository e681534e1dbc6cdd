"""Money that enters and leaves: custody accounts, statements, deposits, withdrawals, and the people behind them.

`ledger/TRANSFERS.md` draws the states of both workflows and says who may do what.
"""
