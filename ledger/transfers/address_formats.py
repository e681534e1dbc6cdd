"""Whether a text is an address of a network, by checksum where the network has one. No database, no network.

Base58Check, bech32 and IBAN are checked by python-stdnum, Keccak-256 is pycryptodome's; what stands here is what
neither has: the constant of bech32m and the rule of mixed-case Ethereum addresses.
"""

import hashlib
import re
from collections.abc import Callable
from typing import Any, Final

from Crypto.Hash import keccak
from django.utils.translation import gettext
from stdnum import bitcoin, iban
from stdnum.exceptions import InvalidChecksum, ValidationError

from exchange.kernel.errors import gettext_noop
from ledger.transfers.errors import AddressInvalidError
from ledger.transfers.models.custody import Network

BECH32M: Final = 0x2BC830A3
"""What the checksum of a witness version above 0 leaves. Source: BIP 350, section "Bech32m"."""
_BECH32: Final = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_BASE58: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
TRON_BYTES: Final = 25
TRON_PREFIX: Final = 0x41

REASON_FORM = gettext_noop("it has not the form of one.")
REASON_CHECKSUM = gettext_noop("its checksum does not fit; look for a typing error.")
REASON_TEST_NETWORK = gettext_noop("it belongs to a test network.")

_ETHEREUM = re.compile(r"0x[0-9a-fA-F]{40}")
_ACCOUNT = re.compile(r"[0-9A-Za-z][0-9A-Za-z ./-]{3,62}[0-9A-Za-z]")
_MEMO = re.compile(r"[0-9A-Za-z ._:/-]{1,64}")


def normalised(network: str, text: str) -> str:
    """Return an address in the one spelling in which it is kept.

    Raises:
        AddressInvalidError: It is no address of this network; nothing is guessed.
    """
    text = text.strip()
    if not text.isascii():
        raise _refused(REASON_FORM)
    return str(_RULES[Network(network)](text))


def memo(text: str) -> str:
    """Return the memo or tag that goes with an address.

    Raises:
        AddressInvalidError: It has letters that banks and chains do not carry.
    """
    text = text.strip()
    if text and not _MEMO.fullmatch(text):
        raise AddressInvalidError(field="memo", reason=gettext(REASON_FORM))
    return text


def _refused(reason: str) -> AddressInvalidError:
    return AddressInvalidError(field="address", reason=gettext(reason))


def _bitcoin(text: str) -> str:
    lowered = text.lower()
    if lowered.startswith(("tb1", "bcrt1")) or text[:1] in {"m", "n", "2"}:
        raise _refused(REASON_TEST_NETWORK)
    if not lowered.startswith("bc1"):
        return str(_checked(bitcoin.validate, text))
    if text not in {lowered, text.upper()}:
        raise _refused(REASON_FORM)  # mixed case: BIP 173 forbids it
    if lowered[3:4] == "q":
        return str(_checked(bitcoin.validate, lowered))
    return _later_witness(lowered)


def _later_witness(text: str) -> str:
    """Check a witness version of 1 to 16: 32 bytes for version 1. Source: BIP 350 and BIP 341."""
    values = [_BECH32.find(letter) for letter in text[3:]]
    if not 14 <= len(text) <= 90 or min(values) < 0 or values[0] > 16:  # noqa: PLR2004 -- lengths of BIP 173
        raise _refused(REASON_FORM)
    human = [ord(letter) >> 5 for letter in "bc"] + [0] + [ord(letter) & 31 for letter in "bc"]
    if bitcoin.bech32_checksum(human + values) != BECH32M:
        raise _refused(REASON_CHECKSUM)
    program = _checked(bitcoin.b32decode, values[1:-6])
    if not 2 <= len(program) <= 40 or (values[0] == 1 and len(program) != 32):  # noqa: PLR2004 -- BIP 141, BIP 341
        raise _refused(REASON_FORM)
    return text


def _checked(validate: Callable[[Any], Any], value: Any) -> Any:
    """Run a check of the library and name what it found."""
    try:
        return validate(value)
    except InvalidChecksum:
        raise _refused(REASON_CHECKSUM) from None
    except ValidationError:
        raise _refused(REASON_FORM) from None


def _ethereum(text: str) -> str:
    """Return the address with its checksum; one in a single case carries none. Source: EIP-55."""
    if not _ETHEREUM.fullmatch(text):
        raise _refused(REASON_FORM)
    digits = text[2:].lower()
    hashed = keccak.new(digest_bits=256, data=digits.encode()).hexdigest()
    spelt = "0x" + "".join(
        letter.upper() if int(nibble, 16) >= 8 else letter  # noqa: PLR2004 -- the nibble's highest bit
        for letter, nibble in zip(digits, hashed, strict=False)
    )
    if text[2:] not in {digits, digits.upper()} and text != spelt:
        raise _refused(REASON_CHECKSUM)
    return spelt


def _tron(text: str) -> str:
    """Check a Base58Check address that begins with T. Source: TRON developer documentation, "Account"."""
    if not text.startswith("T") or any(letter not in _BASE58 for letter in text):
        raise _refused(REASON_FORM)
    decoded = bitcoin.b58decode(text)
    if len(decoded) != TRON_BYTES or decoded[0] != TRON_PREFIX:
        raise _refused(REASON_FORM)
    if hashlib.sha256(hashlib.sha256(decoded[:-4]).digest()).digest()[:4] != decoded[-4:]:
        raise _refused(REASON_CHECKSUM)
    return text


def _account(text: str) -> str:
    if not _ACCOUNT.fullmatch(text):
        raise _refused(REASON_FORM)
    return " ".join(text.split())


_RULES: Final = {
    Network.BITCOIN: _bitcoin,
    Network.ETHEREUM: _ethereum,
    Network.TRON: _tron,
    Network.IBAN: lambda text: _checked(iban.validate, text),
    Network.BANK: _account,
    Network.SECURITIES: _account,
}
