"""Signs statements with Ed25519: the only module that holds the private key, in the process that publishes."""

import re

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.conf import settings

from exchange.kernel.errors import DomainError, gettext_noop
from ledger.reserves.tree import FORMAT

KEY_PATTERN = re.compile(r"[0-9a-f]{64}")


class SigningKeyMissingError(DomainError):
    """No key is configured, or what is configured is none."""

    code = 4470
    name = "RESERVES_KEY_MISSING"
    status = 503
    message = gettext_noop("There is no key to sign with: RESERVES_SIGNING_KEY must be 64 hexadecimal digits.")


def sign(statement: str) -> tuple[bytes, bytes]:
    """Return the signature of a statement, 64 bytes, and the public key, 32 bytes.

    What is signed is the format's name, a line end and the text. Source: RFC 8032.

    Raises:
        SigningKeyMissingError: `settings.RESERVES_SIGNING_KEY` is no key.
    """
    text = settings.RESERVES_SIGNING_KEY
    if not KEY_PATTERN.fullmatch(text):
        raise SigningKeyMissingError
    key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(text))
    return key.sign(f"{FORMAT}\n{statement}".encode()), key.public_key().public_bytes_raw()
