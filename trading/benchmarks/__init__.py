"""Benchmarks of the order's road; each prints its workload and its machine."""
