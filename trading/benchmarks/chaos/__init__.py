"""Kills processes of an exchange under load, and looks for what was lost: `python -m trading.benchmarks.chaos`."""
