"""Wire shapes of proofs of reserves. A proof's own form is fixed in `README.md`; these describe it."""

from typing import Any

from rest_framework import serializers

from exchange.api.pagination import PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX
from exchange.api.requests import StrictSerializer, TextField
from exchange.api.serializers import DecimalStringField


class ReservesPageQuery(StrictSerializer):
    """Which page of publications."""

    cursor = TextField(required=False, max_length=64, help_text="next_cursor of the page before.")
    limit = serializers.IntegerField(required=False, min_value=1, max_value=PAGE_SIZE_MAX, default=PAGE_SIZE_DEFAULT)


class ReservesCustodyResponse(serializers.Serializer[Any]):
    """A custody account."""

    account = serializers.CharField()
    amount = DecimalStringField()


class ReservesAssetResponse(serializers.Serializer[Any]):
    """What a publication says of an asset."""

    asset = serializers.CharField()
    liabilities = DecimalStringField(help_text="What all users are owed: the sum of their wallets.")
    custody_total = DecimalStringField()
    custody = ReservesCustodyResponse(many=True)
    insurance = DecimalStringField(help_text="The insurance fund, which custody holds besides.")
    ratio = DecimalStringField(allow_null=True, help_text="Custody by liabilities, rounded down; null if none is owed.")
    root_hash = serializers.CharField(help_text="Root hash of the Merkle sum tree, hexadecimal.")
    depth = serializers.IntegerField()


class ReservesResponse(serializers.Serializer[Any]):
    """A publication."""

    id = serializers.IntegerField()
    published_at = serializers.DateTimeField()
    entry_id = serializers.IntegerField(help_text="The last entry of the books that it counts.")
    entry_hash = serializers.CharField(help_text="The end of the hash chain at that entry.")
    public_key = serializers.CharField(help_text="Ed25519, hexadecimal.")
    signature = serializers.CharField(help_text="Of `exchange-reserves-1`, a line end and the statement.")
    assets = ReservesAssetResponse(many=True)


class ReservesDetailResponse(ReservesResponse):
    """A publication with the text that was signed."""

    statement = serializers.CharField(help_text="JSON text, exactly as it was signed.")


class ReservesPageResponse(serializers.Serializer[Any]):
    """A page of publications, newest first."""

    items = ReservesResponse(many=True)
    next_cursor = serializers.CharField(allow_null=True, help_text="null on the last page.")


class ProofStepResponse(serializers.Serializer[Any]):
    """The neighbour at one level of the tree."""

    hash = serializers.CharField()
    sum = serializers.CharField(help_text="Quanta.")


class ProofPartResponse(serializers.Serializer[Any]):
    """A leaf of yours, and its path to the root."""

    position = serializers.IntegerField(help_text="Its bits, from the lowest: 1 where the neighbour is on the left.")
    amount = serializers.CharField(help_text="Quanta.")
    path = ProofStepResponse(many=True)


class ProofAssetResponse(serializers.Serializer[Any]):
    """What you are owed of an asset, and where it is in the tree."""

    asset = serializers.CharField()
    amount = serializers.CharField(help_text="Quanta: the sum of the parts.")
    parts = ProofPartResponse(many=True)


class ProofResponse(serializers.Serializer[Any]):
    """Your own proof: everything that a verifier needs."""

    format = serializers.CharField()
    statement = serializers.CharField(help_text="JSON text, exactly as it was signed.")
    signature = serializers.CharField()
    public_key = serializers.CharField()
    user_id = serializers.IntegerField()
    salt = serializers.CharField(help_text="Yours, of this publication; who knows it can find your leaves.")
    assets = ProofAssetResponse(many=True)
