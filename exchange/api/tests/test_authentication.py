from typing import Any

import pytest
from rest_framework_simplejwt.tokens import AccessToken, RefreshToken

from exchange.api import authentication
from exchange.api.authentication import client_address, user_of_access_token
from exchange.api.errors import TokenExpiredError, TokenInvalidError


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


@pytest.mark.django_db
def test_a_token_that_was_good_before_ends_when_it_runs_out(customer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    user = customer("alice").user
    token = AccessToken.for_user(user)
    end_ns = token["exp"] * 10**9
    assert user_of_access_token(str(token)) == user

    monkeypatch.setattr(authentication, "now_ns", lambda: end_ns - 1)
    assert user_of_access_token(str(token)) == user
    monkeypatch.setattr(authentication, "now_ns", lambda: end_ns)
    with pytest.raises(TokenExpiredError):
        user_of_access_token(str(token))


@pytest.mark.django_db
@pytest.mark.parametrize("change", [{"is_active": False}, {"password": "another"}])
def test_a_token_that_was_good_before_ends_with_the_account_and_the_password(
    customer: Any, change: dict[str, Any]
) -> None:
    user = customer("alice").user
    token = str(AccessToken.for_user(user))
    assert user_of_access_token(token) == user

    type(user).objects.filter(pk=user.pk).update(**change)

    with pytest.raises(TokenInvalidError):
        user_of_access_token(token)


@pytest.mark.django_db
def test_what_is_no_good_token_is_read_anew_each_time(customer: Any) -> None:
    alice, bob = customer("alice").user, customer("bob").user
    good = str(AccessToken.for_user(alice))
    assert user_of_access_token(good) == alice
    head, _, signature = good.split(".")
    forged = ".".join((head, str(AccessToken.for_user(bob)).split(".")[1], signature))
    known = authentication._proven.cache_info().currsize

    for text in (forged, forged, good + "A", good[:-4], ""):
        with pytest.raises(TokenInvalidError):
            user_of_access_token(text)

    assert authentication._proven.cache_info().currsize == known
