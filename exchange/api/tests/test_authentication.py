from typing import Any

import pytest
from rest_framework_simplejwt.tokens import AccessToken, RefreshToken

from exchange.api.authentication import client_address, user_of_access_token
from exchange.api.errors import TokenInvalidError


@pytest.mark.parametrize(
    ("hops", "told", "address"),
    [
        (0, "198.51.100.7", "10.0.0.1"),
        (1, "198.51.100.7", "198.51.100.7"),
        (1, "192.0.2.66, 198.51.100.7", "198.51.100.7"),
        (2, "192.0.2.66, 198.51.100.7, 10.0.0.2", "198.51.100.7"),
        (2, "198.51.100.7", "10.0.0.1"),
        (1, "", "10.0.0.1"),
    ],
)
def test_what_a_caller_says_of_their_address_counts_only_as_far_as_our_proxies_vouch(
    settings: Any, hops: int, told: str, address: str
) -> None:
    settings.TRUSTED_PROXY_COUNT = hops

    assert client_address({"REMOTE_ADDR": "10.0.0.1", "HTTP_X_FORWARDED_FOR": told}) == address


@pytest.mark.django_db
def test_the_websocket_reads_the_same_tokens(customer: Any) -> None:
    user = customer("alice").user

    assert user_of_access_token(str(AccessToken.for_user(user))) == user
    with pytest.raises(TokenInvalidError):
        user_of_access_token(str(RefreshToken.for_user(user)))


@pytest.mark.django_db
def test_the_token_of_a_user_who_is_gone_is_no_token(customer: Any) -> None:
    token = AccessToken.for_user(customer("alice").user)
    token["user_id"] = "999999"

    with pytest.raises(TokenInvalidError):
        user_of_access_token(str(token))
