"""The refusal of the embedded servers and of their data folder: a sentence for whoever typed the command."""


class EmbeddedServerError(Exception):
    """A server cannot be started, or the data folder cannot be used. `str()` is one line."""
