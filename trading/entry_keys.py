"""The idempotency keys of journal entries that follow from a command, and not from an order or a trade alone."""


def of_command(shard: int, sequence: int, index: int) -> str:
    """Return the beginning of the keys of what one event gave back.

    Sequences count by shard, so two shards have the same ones. Shard 0's keys do not name it: they are older than other
    shards, and a key never changes.

    Args:
        index: The event's, within its command.
    """
    place = f"{shard}.{sequence}" if shard else str(sequence)
    return f"command:{place}:{index}"


def command_of(key: str) -> tuple[int, int] | None:
    """Return shard and sequence of the command that a key names; None where it names none."""
    kind, _, rest = key.partition(":")
    shard, dot, sequence = rest.partition(":")[0].rpartition(".")
    if kind != "command" or not sequence.isdigit() or not (shard.isdigit() if dot else True):
        return None
    return int(shard or 0), int(sequence)
