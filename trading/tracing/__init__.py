"""What the road knows of a story (`ledger/tracing`): `road.py` finds and tells, the others say what it is made of."""
