"""Refusals of the WebSocket feed; each goes to the client as an error message, and the connection lives."""

from exchange.kernel.errors import DomainError, gettext_noop


class UnknownChannelError(DomainError):
    """A channel that does not exist, or whose symbol or interval does not."""

    code = 5030
    name = "UNKNOWN_CHANNEL"
    status = 404
    message = gettext_noop("There is no channel %(channel)s.")


class TooManyChannelsError(DomainError):
    """More channels than one connection may have."""

    code = 5031
    name = "TOO_MANY_CHANNELS"
    message = gettext_noop("At most %(maximum)s channels on one connection.")


class UnknownActionError(DomainError):
    """An action that does not exist."""

    code = 5032
    name = "UNKNOWN_ACTION"
    status = 400
    message = gettext_noop("There is no action %(action)s.")


class MessageFormError(DomainError):
    """A message that is not a JSON object of the documented form."""

    code = 5033
    name = "MESSAGE_FORM"
    status = 400
    message = gettext_noop("The message is not of the documented form: %(reason)s.")


class MessageTooLargeError(DomainError):
    """A message longer than any of ours needs."""

    code = 5034
    name = "MESSAGE_TOO_LARGE"
    status = 413
    message = gettext_noop("A message may have at most %(bytes_max)s bytes.")


REASON_BINARY = gettext_noop("send text, not binary")
REASON_OBJECT = gettext_noop("send a JSON object")
REASON_CHANNELS = gettext_noop("channels must be a list of names")
REASON_TOKEN = gettext_noop("token must be a string")
REASON_SEQUENCE = gettext_noop("sequence must be an integer from 0 on")
