"""Domain events: from the outbox to a Redis stream in commit order, and to consumers exactly once. `EVENTS.md`."""
