"""Addresses of each network, with the vectors that their standards publish."""

import pytest

from ledger.transfers import address_formats
from ledger.transfers.errors import AddressInvalidError

GOOD = [
    # BIP 173, BIP 350
    ("BITCOIN", "BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4", "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"),
    ("BITCOIN", "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0", None),
    ("BITCOIN", "bc1pw508d6qejxtdg4y5r3zarvary0c5xw7kw508d6qejxtdg4y5r3zarvary0c5xw7kt5nd6y", "refused"),
    ("BITCOIN", "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", None),
    ("BITCOIN", "3P14159f73E4gFr7JterCCQh9QjiTjiZrG", None),
    # EIP-55
    ("ETHEREUM", "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", None),
    ("ETHEREUM", "0xfb6916095ca1df60bb79ce92ce3ea74c37c5d359", "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359"),
    ("ETHEREUM", "0xDBF03B407C01E7CD3CBEA99509D93F8DDDC8C6FB", "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB"),
    ("TRON", "TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t", None),
    ("IBAN", "GB82 WEST 1234 5698 7654 32", "GB82WEST12345698765432"),
    ("BANK", " 004-1234 5678-90 ", "004-1234 5678-90"),
    ("SECURITIES", "9800-1234567", None),
]

BAD = [
    ("BITCOIN", "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t5", "checksum"),
    ("BITCOIN", "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kV8f3t4", "form"),
    # version 1 with the checksum of bech32, and version 0 with that of bech32m: BIP 350, invalid addresses
    ("BITCOIN", "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqh2y7hd", "checksum"),
    ("BITCOIN", "bc1q0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vq5zuyut", "checksum"),
    ("BITCOIN", "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNb", "checksum"),
    ("BITCOIN", "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx", "test network"),
    ("BITCOIN", "mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn", "test network"),
    ("BITCOIN", "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", "form"),
    ("BITCOIN", "", "form"),
    ("ETHEREUM", "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeD", "checksum"),
    ("ETHEREUM", "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAe", "form"),
    ("ETHEREUM", "5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", "form"),
    ("TRON", "TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6u", "checksum"),
    ("TRON", "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", "form"),
    ("IBAN", "GB82 WEST 1234 5698 7654 33", "checksum"),
    ("IBAN", "not an iban!", "form"),
    ("BANK", "台灣銀行 004", "form"),
    ("BANK", "12", "form"),
    ("SECURITIES", "<script>", "form"),
]


@pytest.mark.parametrize(("network", "text", "kept"), [row for row in GOOD if row[2] != "refused"])
def test_an_address_is_kept_in_its_one_spelling(network: str, text: str, kept: str | None) -> None:
    assert address_formats.normalised(network, text) == (kept or text)


@pytest.mark.parametrize(("network", "text", "why"), BAD)
def test_what_is_no_address_is_refused_with_the_reason(network: str, text: str, why: str) -> None:
    with pytest.raises(AddressInvalidError) as refused:
        address_formats.normalised(network, text)

    assert why in refused.value.data["reason"]


def test_a_taproot_program_of_the_wrong_length_is_refused() -> None:
    text = next(row[1] for row in GOOD if row[2] == "refused")  # valid in BIP 350, but 40 bytes: BIP 341 wants 32

    with pytest.raises(AddressInvalidError, match="form"):
        address_formats.normalised("BITCOIN", text)


@pytest.mark.parametrize(("text", "kept"), [("", ""), (" tag 12 ", "tag 12"), ("a" * 64, "a" * 64)])
def test_a_memo_is_trimmed(text: str, kept: str) -> None:
    assert address_formats.memo(text) == kept


@pytest.mark.parametrize("text", ["a" * 65, "x\ny", "備註", "<b>"])
def test_a_memo_that_no_bank_carries_is_refused(text: str) -> None:
    with pytest.raises(AddressInvalidError):
        address_formats.memo(text)
