"""The order books of one shard: Numba loops over structured arrays, and the same in plain Python."""
