"""Wire shapes of sign-up, sign-in and demo funds."""

from typing import Any

from django.utils.translation import gettext_lazy as _
from rest_framework import serializers

from exchange.api.requests import PatternField, StrictSerializer, TextField
from exchange.api.serializers import DecimalStringField

PASSWORD_LENGTH_MAX = 128
TOKEN_LENGTH_MAX = 2048
USERNAME_PATTERN = r"^[A-Za-z][A-Za-z0-9_.-]{2,29}$"
REQUEST_KEY_PATTERN = r"^[A-Za-z0-9_.:-]{1,64}$"


class UsernameField(PatternField):
    """A new user's name: one that reads the same everywhere and can be typed by anyone."""

    default_error_messages = {
        "invalid": _("Use 3 to 30 letters (a to z), digits, dots, dashes or underscores; begin with a letter.")
    }

    def __init__(self, **options: Any) -> None:
        super().__init__(USERNAME_PATTERN, **options)


class RequestKeyField(PatternField):
    """The client's own name of a request, which makes a retry safe."""

    default_error_messages = {"invalid": _("Use 1 to 64 letters, digits and . _ : -")}

    def __init__(self, **options: Any) -> None:
        super().__init__(REQUEST_KEY_PATTERN, **options)


class StrictEmailField(serializers.EmailField):
    """An address, and only text."""

    def to_internal_value(self, data: Any) -> str:
        """Refuse what is not a JSON string."""
        if not isinstance(data, str):
            self.fail("invalid")
        return str(super().to_internal_value(data))


class RegisterRequest(StrictSerializer):
    """Asks for a new user."""

    username = UsernameField()
    password = TextField(max_length=PASSWORD_LENGTH_MAX, trim_whitespace=False)
    email = StrictEmailField(required=False, allow_blank=True, max_length=254)


class TokenRequest(StrictSerializer):
    """Signs in with name and password."""

    username = TextField(max_length=150)
    password = TextField(max_length=PASSWORD_LENGTH_MAX, trim_whitespace=False)


class RefreshRequest(StrictSerializer):
    """Names the refresh token to exchange, or to take back."""

    refresh = TextField(max_length=TOKEN_LENGTH_MAX)


class FaucetRequest(StrictSerializer):
    """Asks for a helping of demo funds."""

    request_key = RequestKeyField(required=False, help_text="A repeat with the same key gives nothing twice.")


class TokenResponse(serializers.Serializer[Any]):
    """A pair of tokens."""

    access = serializers.CharField(help_text="Send it as Authorization: Bearer.")
    refresh = serializers.CharField(help_text="Works once, for the next pair.")
    access_expires_in = serializers.IntegerField(help_text="Seconds.")


class UserResponse(serializers.Serializer[Any]):
    """A user, as the user sees themself."""

    user_id = serializers.IntegerField(source="pk")
    username = serializers.CharField()
    email = serializers.CharField()
    language = serializers.CharField()
    is_demo = serializers.BooleanField()
    created_at = serializers.DateTimeField(source="date_joined")


class RegisterResponse(UserResponse):
    """The new user, signed in."""

    access = serializers.CharField(source="tokens.access")
    refresh = serializers.CharField(source="tokens.refresh")
    access_expires_in = serializers.IntegerField(source="tokens.access_expires_in")


class FaucetResponse(serializers.Serializer[Any]):
    """What was given."""

    request_key = serializers.CharField()
    amounts = serializers.DictField(child=DecimalStringField(), help_text="By asset.")
    left_today = serializers.IntegerField(help_text="Helpings that the day still has.")
