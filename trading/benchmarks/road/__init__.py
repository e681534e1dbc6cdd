"""Measures the whole road of an order under load: `python -m trading.benchmarks.road`."""
