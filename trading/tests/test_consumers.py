import asyncio
from datetime import UTC, datetime, timedelta
from http.cookies import SimpleCookie

import pytest
from channels.db import database_sync_to_async
from channels.layers import get_channel_layer
from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import connection
from django.test import Client as Browser
from rest_framework_simplejwt.tokens import AccessToken, RefreshToken

from exchange.kernel.clock import utc_now
from marketdata.tests import factories
from marketdata.tests.feed_client import Client, run
from trading import consumers
from trading.services.private_events import group

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def alice():
    return get_user_model().objects.create_user("alice", password="a-long-secret-1")


@pytest.fixture
def bob():
    return get_user_model().objects.create_user("bob", password="a-long-secret-2")


def token(user, *, lifetime: timedelta | None = None) -> str:
    made = AccessToken.for_user(user)
    if lifetime is not None:
        made.set_exp(lifetime=lifetime)
    return str(made)


SOON_SECONDS = 2.0


@pytest.fixture
def expiring(monkeypatch):
    """Return a function that makes a token that expires soon after it is sent, wherever in its second that is."""

    def make(user) -> str:
        made = AccessToken.for_user(user)
        expires_at = datetime.fromtimestamp(made["exp"], tz=UTC)
        monkeypatch.setattr(consumers, "utc_now", lambda: expires_at - timedelta(seconds=SOON_SECONDS))
        return str(made)

    return make


@pytest.fixture
def lasting(monkeypatch):
    """Return a function that makes a token which expires when it says."""

    def make(user) -> str:
        monkeypatch.setattr(consumers, "utc_now", utc_now)
        return token(user)

    return make


def store(user, *rows: tuple[int, str]) -> list[dict]:
    """Store events (sequence, channel) of a user, as settlement does; return what is pushed for them."""
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO private_messages (user_id, sequence, channels, payloads, created_at)"
            " VALUES (%s, %s, ARRAY[%s], json_build_array(json_build_object('n', %s::int)), %s)",
            [(user.pk, sequence, channel, sequence, utc_now()) for sequence, channel in rows],
        )
    return [{"sequence": n, "channel": channel, "payload": b'{"n":%d}' % n} for n, channel in rows]


async def happen(user, *rows: tuple[int, str], pushed: bool = True) -> None:
    """Let events happen: stored, and pushed unless the push is lost."""
    events = await database_sync_to_async(store)(user, *rows)
    if pushed:
        await push(user, events)


async def push(user, events) -> None:
    await get_channel_layer().group_send(group(user.pk), {"type": "private.events", "events": events})


async def sequences(client, count: int) -> list[int]:
    return [(await client.next())["sequence"] for _ in range(count)]


def session_headers(user) -> list[tuple[bytes, bytes]]:
    browser = Browser()
    browser.force_login(user)
    cookie: SimpleCookie = browser.cookies
    name = settings.SESSION_COOKIE_NAME
    return [(b"cookie", f"{name}={cookie[name].value}".encode())]


def test_after_auth_private_events_come_in_order_with_their_sequences(alice) -> None:
    async def road() -> None:
        async with Client() as client:
            answer = await client.ask(action="auth", token=token(alice), id=1)
            assert (answer["type"], answer["user_id"], answer["id"]) == ("authenticated", alice.pk, 1)
            answer = await client.ask(action="subscribe", channels=["orders", "fills", "balances", "positions"])
            assert (answer["type"], answer["sequence"]) == ("subscribed", 0)

            await happen(alice, (1, "orders"), (2, "fills"), (3, "balances"), (4, "positions"))

            assert [await client.next() for _ in range(4)] == [
                {"type": kind, "sequence": n, "data": {"n": n}}
                for n, kind in enumerate(("order", "fill", "balance", "position"), start=1)
            ]

    run(road())


def test_only_the_channels_asked_for_come(alice) -> None:
    async def road() -> None:
        async with Client() as client:
            await client.ask(action="auth", token=token(alice))
            await client.ask(action="subscribe", channels=["fills"])
            await happen(alice, (1, "orders"), (2, "fills"), (3, "balances"))

            assert (await client.next())["sequence"] == 2
            assert await client.is_silent()

    run(road())


def test_a_lost_push_is_read_from_the_table_and_a_repeated_or_late_one_is_dropped(alice) -> None:
    async def road() -> None:
        async with Client() as client:
            await client.ask(action="auth", token=token(alice))
            await client.ask(action="subscribe", channels=["orders"])
            await happen(alice, (1, "orders"))
            await happen(alice, (2, "orders"), (3, "orders"), pushed=False)
            await happen(alice, (4, "orders"))
            await push(alice, [{"sequence": 2, "channel": "orders", "payload": b'{"n":2}'}])
            await push(alice, [{"sequence": 4, "channel": "orders", "payload": b'{"n":4}'}])
            await happen(alice, (5, "orders"))

            assert await sequences(client, 5) == [1, 2, 3, 4, 5]
            assert await client.is_silent()

    run(road())


def test_a_lost_last_push_is_found_by_the_regular_check(alice, monkeypatch) -> None:
    monkeypatch.setattr(consumers, "CHECK_SECONDS", 0.1)

    async def road() -> None:
        async with Client() as client:
            await client.ask(action="auth", token=token(alice))
            await client.ask(action="subscribe", channels=["orders"])
            await happen(alice, (1, "orders"), pushed=False)

            assert await sequences(client, 1) == [1]

    run(road())


def test_a_client_resumes_after_its_last_sequence_without_gap_or_repeat(alice) -> None:
    store(alice, *((n, "orders") for n in range(1, 21)))

    async def road() -> None:
        async with Client() as client:
            await client.ask(action="auth", token=token(alice))
            answer = await client.ask(action="resume", sequence=17, id="r")
            assert answer == {"type": "resumed", "sequence": 17, "last_sequence": 20, "id": "r"}
            await happen(alice, (21, "orders"))
            assert (await client.ask(action="subscribe", channels=["orders"]))["sequence"] == 17

            await happen(alice, (22, "orders"))

            assert await sequences(client, 5) == [18, 19, 20, 21, 22]
            assert await client.is_silent()

    run(road())


def test_a_resume_after_subscribing_sends_again_what_came_since(alice) -> None:
    store(alice, (1, "orders"), (2, "fills"), (3, "orders"))

    async def road() -> None:
        async with Client() as client:
            await client.ask(action="auth", token=token(alice))
            await client.ask(action="subscribe", channels=["orders"])
            assert (await client.ask(action="resume", sequence=0))["type"] == "resumed"

            assert await sequences(client, 2) == [1, 3]
            await happen(alice, (4, "orders"))
            assert await sequences(client, 1) == [4]

    run(road())


def test_a_long_resume_comes_in_pages_complete_and_in_order(alice, monkeypatch) -> None:
    monkeypatch.setattr(consumers, "PAGE", 7)
    store(alice, *((n, "orders") for n in range(1, 101)))

    async def road() -> None:
        async with Client() as client:
            await client.ask(action="auth", token=token(alice))
            await client.ask(action="resume", sequence=0)
            await client.ask(action="subscribe", channels=["orders"])

            assert await sequences(client, 100) == list(range(1, 101))

    run(road())


def test_a_resume_ahead_of_the_stream_or_too_far_back_is_refused(alice, monkeypatch) -> None:
    monkeypatch.setattr(consumers, "RESUME_EVENTS_MAX", 5)
    store(alice, *((n, "orders") for n in range(11, 21)))

    async def road() -> None:
        async with Client() as client:
            await client.ask(action="auth", token=token(alice))
            assert (await client.ask(action="resume", sequence=21))["code"] == 3041
            assert (await client.ask(action="resume", sequence=14))["code"] == 3040
            assert (await client.ask(action="resume", sequence=15))["type"] == "resumed"
            for bad in (-1, "1", None, 1.5, True, 2**60):
                assert (await client.ask(action="resume", sequence=bad))["code"] == 5033

    run(road())


def test_events_that_were_pruned_cannot_be_resumed_silently(alice) -> None:
    store(alice, (5, "orders"), (6, "orders"))

    async def road() -> None:
        async with Client() as client:
            await client.ask(action="auth", token=token(alice))
            assert (await client.ask(action="resume", sequence=3))["code"] == 3040
            assert (await client.ask(action="resume", sequence=4))["type"] == "resumed"

    run(road())


def test_another_users_events_never_come(alice, bob) -> None:
    store(bob, (1, "orders"))

    async def road() -> None:
        async with Client() as client:
            await client.ask(action="auth", token=token(alice))
            await client.ask(action="resume", sequence=0)
            for name in (f"user.{bob.pk}", f"orders.{bob.pk}", group(bob.pk)):
                assert (await client.ask(action="subscribe", channels=[name]))["code"] == 5030
            answer = await client.ask(action="subscribe", channels=["orders"], user_id=bob.pk, user=bob.pk)
            assert answer["type"] == "subscribed"
            await happen(bob, (2, "orders"))

            assert await client.is_silent()

    run(road())


def test_a_connection_stays_with_its_first_user(alice, bob) -> None:
    async def road() -> None:
        async with Client() as client:
            await client.ask(action="auth", token=token(alice))
            await client.ask(action="subscribe", channels=["orders"])

            assert (await client.ask(action="auth", token=token(bob)))["code"] == 2030
            await happen(bob, (1, "orders"))
            await happen(alice, (1, "orders"))
            assert await sequences(client, 1) == [1]
            assert await client.is_silent()

    run(road())


def test_bad_expired_refresh_and_inactive_tokens_are_refused(alice, bob) -> None:
    good, refresh = token(bob), str(RefreshToken.for_user(alice))
    bob.is_active = False
    bob.save()

    async def road() -> None:
        async with Client() as client:
            for text, code in (
                ("", 2003),
                ("x.y.z", 2003),
                (token(alice)[:-2] + "xx", 2003),
                (refresh, 2003),
                (token(alice, lifetime=timedelta(seconds=-1)), 2002),
                (good, 2003),
            ):
                assert (await client.ask(action="auth", token=text))["code"] == code
            assert (await client.ask(action="subscribe", channels=["orders"]))["code"] == 2001

    run(road())


def test_when_a_token_expires_private_channels_stop_and_public_ones_go_on(alice, expiring, lasting) -> None:
    factories.bitcoin()

    async def road() -> None:
        async with Client() as client:
            await client.ask(action="auth", token=expiring(alice))
            await client.ask(action="subscribe", channels=["orders", "trade.BTCUSDT"])

            refused, stopped = await client.next(), await client.next()
            assert (refused["type"], refused["code"]) == ("error", 2002)
            assert stopped == {"type": "unsubscribed", "channels": ["orders"]}
            await happen(alice, (1, "orders"))
            assert await client.is_silent()
            await get_channel_layer().group_send("trade.BTCUSDT", public_trade())
            assert (await client.next()) == {"n": 1}

            await client.ask(action="auth", token=lasting(alice))
            await client.ask(action="resume", sequence=0)
            await client.ask(action="subscribe", channels=["orders"])
            assert await sequences(client, 1) == [1]

    run(road())


def public_trade() -> dict:
    return {
        "type": "feed.message",
        "channel": "trade.BTCUSDT",
        "epoch": 1,
        "previous": 0,
        "sequence": 1,
        "texts": ['{"n": 1}'],
        "mark": "",
    }


def test_a_new_token_of_the_same_user_goes_on_without_a_break(alice, expiring, lasting) -> None:
    async def road() -> None:
        async with Client() as client:
            await client.ask(action="auth", token=expiring(alice))
            assert (await client.ask(action="subscribe", channels=["orders"]))["type"] == "subscribed"
            await client.ask(action="auth", token=lasting(alice))
            await asyncio.sleep(SOON_SECONDS + 0.1)
            await happen(alice, (1, "orders"))

            assert await sequences(client, 1) == [1]

    run(road())


def test_a_user_switched_off_loses_his_private_channels_at_the_next_check(alice, monkeypatch) -> None:
    monkeypatch.setattr(consumers, "CHECK_SECONDS", 0.1)

    async def road() -> None:
        async with Client() as client:
            await client.ask(action="auth", token=token(alice))
            await client.ask(action="subscribe", channels=["orders"])
            alice.is_active = False
            await database_sync_to_async(alice.save)()

            assert (await client.next())["code"] == 2003
            assert (await client.next())["type"] == "unsubscribed"

    run(road())


def test_a_signed_in_pages_session_counts_and_ends_with_sign_out(alice, monkeypatch) -> None:
    monkeypatch.setattr(consumers, "CHECK_SECONDS", 0.2)
    headers = session_headers(alice)

    async def road() -> None:
        async with Client(headers=headers) as client:
            assert (await client.ask(action="subscribe", channels=["orders"]))["type"] == "subscribed"
            await happen(alice, (1, "orders"))
            assert await sequences(client, 1) == [1]

            await database_sync_to_async(sign_out)(headers)

            assert (await client.next())["code"] == 2001
            assert (await client.next()) == {"type": "unsubscribed", "channels": ["orders"]}

    run(road())


def sign_out(headers) -> None:
    from django.contrib.sessions.models import Session

    Session.objects.filter(pk=headers[0][1].decode().partition("=")[2]).delete()


def test_a_session_and_another_users_token_do_not_mix(alice, bob) -> None:
    headers = session_headers(alice)

    async def road() -> None:
        async with Client(headers=headers) as client:
            assert (await client.ask(action="auth", token=token(bob)))["code"] == 2030

    run(road())


def test_a_session_goes_on_when_a_token_expires(alice, expiring) -> None:
    headers = session_headers(alice)

    async def road() -> None:
        async with Client(headers=headers) as client:
            await client.ask(action="auth", token=expiring(alice))
            await client.ask(action="subscribe", channels=["orders"])
            await asyncio.sleep(SOON_SECONDS + 0.1)
            await happen(alice, (1, "orders"))

            assert await sequences(client, 1) == [1]

    run(road())


def test_after_unsubscribing_from_one_private_channel_the_others_go_on(alice) -> None:
    async def road() -> None:
        async with Client() as client:
            await client.ask(action="auth", token=token(alice))
            await client.ask(action="subscribe", channels=["orders", "fills"])
            await client.ask(action="unsubscribe", channels=["orders"])
            await happen(alice, (1, "orders"), (2, "fills"))

            assert await sequences(client, 1) == [2]
            await client.ask(action="unsubscribe", channels=["fills"])
            await happen(alice, (3, "fills"))
            assert await client.is_silent()

    run(road())


def test_refusals_come_in_the_language_of_the_client() -> None:
    async def road() -> None:
        async with Client(headers=[(b"accept-language", b"en-GB,en;q=0.9")]) as client:
            answer = await client.ask(action="subscribe", channels=["orders"])
            assert answer["message"] == "Sign in first: send a token or a session."
            assert answer["error"] == "NOT_AUTHENTICATED"

    run(road())
