"""The books: assets, accounts, entries, lines, and one gate row a trader."""

from django.db import models


class AssetKind(models.TextChoices):
    """What sort of thing an asset is."""

    FIAT = "FIAT"
    CRYPTO = "CRYPTO"
    STOCK = "STOCK"


class Asset(models.Model):
    """Something that can be owned; amounts are whole multiples of 10^-decimals."""

    code = models.CharField(max_length=16, primary_key=True)
    name = models.CharField(max_length=64)
    decimals = models.PositiveSmallIntegerField()
    kind = models.CharField(max_length=8, choices=AssetKind.choices)

    def __str__(self) -> str:
        return self.code
