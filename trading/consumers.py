"""The whole WebSocket: the public channels, sign-in, a trader's own events in order, and order entry.

Note [Private stream]
    A trader's events are numbered densely over all private channels and stored before they are
    pushed. A connection keeps the number it has passed; a push that jumps ahead is completed from
    the table, one that lags is dropped, and every `CHECK_SECONDS` the table is asked whether a push
    was lost. The user id comes from the token or the session only, never from a request.
"""

import asyncio
from collections.abc import Coroutine
from datetime import UTC, datetime
from importlib import import_module
from typing import Any

import structlog
from channels.auth import get_user
from channels.db import database_sync_to_async
from django.conf import settings
from django.db import Error as DatabaseError
from rest_framework_simplejwt.tokens import AccessToken

from exchange.api.authentication import read_token, user_of_access_token
from exchange.api.errors import NotAuthenticatedError, TokenExpiredError
from exchange.kernel.clock import utc_now
from exchange.kernel.errors import DomainError, gettext_noop
from marketdata import feed, refusals
from marketdata.consumers import Message, PublicFeed, RequestId, Subscription, Window
from trading import order_entry, private_stream
from trading.services.private_events import group
from trading.wire import moment

logger = structlog.get_logger(__name__)

CHECK_SECONDS = 30.0
"""How often a signed-in connection's user, and its place in the stream, are checked."""
RESUME_EVENTS_MAX = 10_000
"""A resume further back than this is refused: read orders and balances over REST, then subscribe."""
PAGE = 1_000
TYPES = {
    "orders": "order",
    "fills": "fill",
    "balances": "balance",
    "positions": "position",
    "notices": "notice",
}


class ResumeTooOldError(DomainError):
    """The events asked for are further back than the feed sends again."""

    code = 3040
    name = "RESUME_TOO_OLD"
    status = 410
    message = gettext_noop("Events after %(sequence)s are not sent again; read over REST, then subscribe.")


class ResumeAheadError(DomainError):
    """The sequence asked for has not been reached."""

    code = 3041
    name = "RESUME_AHEAD"
    status = 409
    message = gettext_noop("Sequence %(sequence)s has not been reached; the last one is %(last)s.")


class OtherUserError(DomainError):
    """The connection belongs to another user, for good: messages of his may be on their way to it."""

    code = 2030
    name = "CONNECTION_OF_OTHER_USER"
    status = 409
    message = gettext_noop("This connection belongs to another user; open a new one.")


class PrivateSubscription(Subscription):
    """A private channel of this connection's user."""

    def __init__(self, name: str) -> None:
        super().__init__(name, name)


class ExchangeFeed(PublicFeed):
    """Public and private channels of one connection, and order entry: `trading.order_entry`."""

    actions = {
        **PublicFeed.actions,
        "auth": "auth",
        "resume": "resume",
        **dict.fromkeys(order_entry.CALLS, "enter"),
    }

    async def connect(self) -> None:
        """Accept; a signed-in page's session counts as sign-in."""
        user = self.scope.get("user")
        signed_in = user is not None and user.is_authenticated
        self.user_id: int | None = user.pk if user is not None and signed_in else None
        self.owner_id = self.user_id
        self.session_key = self.scope["session"].session_key if signed_in else None
        self.token: str | None = None
        self.position: int | None = None
        """Number of the last private event passed: sent, or of a channel not asked for."""
        self.stream_lock = asyncio.Lock()
        self.expiry: asyncio.TimerHandle | None = None
        self.background: set[asyncio.Task] = set()
        self.in_flight = 0
        self.order_window = Window()
        await super().connect()
        self.checker = asyncio.create_task(self._check_regularly())

    async def disconnect(self, code: int) -> None:
        """Stop everything that belongs to this connection."""
        self.checker.cancel()
        if self.expiry is not None:
            self.expiry.cancel()
        for task in list(self.background):
            task.cancel()
        await super().disconnect(code)

    @property
    def private(self) -> list[str]:
        """The private channels joined."""
        return [name for name in self.subscriptions if name in TYPES]

    # --- what clients ask -------------------------------------------------------------------------

    def count(self, action: Any) -> None:
        """Count a request; order messages have a window of their own, and REST's limits."""
        if not isinstance(action, str) or action not in order_entry.CALLS:
            super().count(action)

    async def auth(self, message: Message, request_id: RequestId) -> None:
        """Sign in with an access token. A connection stays with its first user."""
        token = message.get("token")
        if not isinstance(token, str):
            raise refusals.MessageFormError(reason=refusals.REASON_TOKEN)
        user_id, expires_at = await database_sync_to_async(_signed_in)(token)
        if self.owner_id not in (None, user_id):
            raise OtherUserError
        self.user_id = self.owner_id = user_id
        self.token = token
        if self.expiry is not None:
            self.expiry.cancel()
        seconds = (expires_at - utc_now()).total_seconds()
        self.expiry = asyncio.get_running_loop().call_later(seconds, self._expired)
        self.reply({"type": "authenticated", "user_id": user_id, "expires_at": moment(expires_at)}, request_id)

    async def resume(self, message: Message, request_id: RequestId) -> None:
        """Begin private channels after a sequence, sending again what came since.

        Sent before `subscribe` it sets where that starts, and nothing repeats. Sent afterwards it
        sends again all that came after the sequence, of the channels joined.
        """
        sequence = message.get("sequence")
        if type(sequence) is not int or not 0 <= sequence < 2**53:
            raise refusals.MessageFormError(reason=refusals.REASON_SEQUENCE)
        user_id = self._user()
        bounds = await database_sync_to_async(private_stream.bounds)(user_id)
        if sequence > bounds.last:
            raise ResumeAheadError(sequence=sequence, last=bounds.last)
        is_cut = sequence < bounds.last and sequence + 1 < bounds.first
        if is_cut or bounds.last - sequence > RESUME_EVENTS_MAX:
            raise ResumeTooOldError(sequence=sequence)
        async with self.stream_lock:
            self.position = sequence
            self.reply({"type": "resumed", "sequence": sequence, "last_sequence": bounds.last}, request_id)
            if self.private:
                await self._catch_up()

    async def enter(self, message: Message, request_id: RequestId) -> None:
        """Take an order message; its answer follows when it is there, and the next message need not wait for it."""
        if request_id is None:
            raise refusals.MessageFormError(reason=order_entry.REASON_ID)
        message = {**message, "id": request_id}
        try:
            self.order_window.count(order_entry.MESSAGES_PER_SECOND_MAX)
            caller = order_entry.Caller(self.scope, self._user(), self.token, self.session_key, self.language)
            if self.in_flight >= order_entry.IN_FLIGHT_MAX:
                raise order_entry.TooManyInFlightError(maximum=order_entry.IN_FLIGHT_MAX, retry_after=1)
        except DomainError as refusal:
            self.push(order_entry.refused(message, refusal, self.language))
            return
        self.in_flight += 1
        self._in_background(self._enter(caller, message))

    async def _enter(self, caller: order_entry.Caller, message: Message) -> None:
        """Carry out an order message and answer it."""
        try:
            self.push(await order_entry.carry_out(caller, message))
        finally:
            self.in_flight -= 1

    async def find(self, name: str) -> Subscription:
        """Return the subscription of a private or public channel.

        Raises:
            NotAuthenticatedError: It is private, and nobody is signed in.
        """
        if name not in TYPES:
            return await super().find(name)
        self._user()
        return PrivateSubscription(name)

    async def standing(self, joined: list[Subscription]) -> dict[str, Any]:
        """Return after which event the private channels begin."""
        if not any(isinstance(subscription, PrivateSubscription) for subscription in joined):
            return {}
        if self.position is None:
            self.position = (await database_sync_to_async(private_stream.bounds)(self._user())).last
        return {"sequence": self.position}

    async def begin(self, subscription: Subscription) -> None:
        """Send what a new subscriber starts from: for private channels what came since `resume`."""
        if not isinstance(subscription, PrivateSubscription):
            await super().begin(subscription)
            return
        async with self.stream_lock:
            await self._catch_up()

    # --- the private stream -----------------------------------------------------------------------

    async def private_events(self, message: Message) -> None:
        """Pass on events in order; what a push left out is read from the table."""
        async with self.stream_lock:
            for event in message["events"]:
                if self.position is None or not self.private or event["sequence"] <= self.position:
                    continue
                if event["sequence"] > self.position + 1:
                    await self._catch_up()
                elif event["sequence"] == self.position + 1:
                    self._pass(event["sequence"], event["channel"], event["payload"].decode())

    async def _catch_up(self) -> None:
        """Pass on everything stored after our position; the caller holds the stream's lock."""
        while self.position is not None and self.user_id is not None:
            rows = await database_sync_to_async(private_stream.after)(self.user_id, self.position, PAGE)
            for sequence, channel, payload in rows:
                self._pass(sequence, channel, feed.dumps(payload))
            if len(rows) < PAGE:
                return
            await self.drained()

    def _pass(self, sequence: int, channel: str, payload: str) -> None:
        """Take one event, whose payload is JSON, and send it if its channel was asked for."""
        self.position = sequence
        if channel in self.subscriptions:
            self.push(f'{{"type":"{TYPES[channel]}","sequence":{sequence},"data":{payload}}}')

    async def _join(self, subscription: Subscription) -> None:
        """Join a channel; all private ones share the user's group."""
        if not isinstance(subscription, PrivateSubscription):
            await super()._join(subscription)
            return
        self.subscriptions[subscription.name] = subscription
        await self.channel_layer.group_add(group(self._user()), self.channel_name)

    async def _leave(self, name: str) -> None:
        """Leave a channel, and with the last private one the user's group."""
        if name not in TYPES:
            await super()._leave(name)
        elif self.subscriptions.pop(name, None) is not None and not self.private and self.owner_id is not None:
            self.position = None
            await self.channel_layer.group_discard(group(self.owner_id), self.channel_name)

    # --- sign-in ----------------------------------------------------------------------------------

    def _user(self) -> int:
        """Return who is signed in.

        Raises:
            NotAuthenticatedError: Nobody is, or no longer.
        """
        if self.user_id is None:
            raise NotAuthenticatedError
        return int(self.user_id)

    def _expired(self) -> None:
        """End the sign-in by token; a page's session, if there is one, goes on."""
        self.token = None
        if self.session_key is None:
            self._in_background(self._sign_out(TokenExpiredError()))

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something beside what the client asks next; it ends with the connection at the latest."""
        task = asyncio.create_task(work)
        self.background.add(task)
        task.add_done_callback(self.background.discard)

    async def _sign_out(self, refusal: DomainError) -> None:
        """Stop the private channels and say why; public ones go on."""
        async with self.stream_lock:
            self.user_id = None
            names = self.private
            for name in names:
                await self._leave(name)
        self.refuse(refusal, None)
        if names:
            self.reply({"type": "unsubscribed", "channels": names}, None)

    async def _check_regularly(self) -> None:
        """Check the user and the stream from time to time."""
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            if self.user_id is None:
                continue
            try:
                await self._check()
            except DomainError as refusal:
                await self._sign_out(refusal)
            except DatabaseError:
                logger.exception("feed_check_failed")

    async def _check(self) -> None:
        """See that the user is still signed in, and that no push was lost.

        Raises:
            DomainError: The user was switched off, or has signed out of the page.
        """
        if self.token is not None:
            await database_sync_to_async(_signed_in)(self.token)
        else:
            session = import_module(settings.SESSION_ENGINE).SessionStore(self.session_key)
            user = await get_user({"session": session})
            if user.pk != self.user_id:
                raise NotAuthenticatedError
        async with self.stream_lock:
            if self.private:
                await self._catch_up()


def _signed_in(text: str) -> tuple[int, datetime]:
    """Return whom an access token names, and until when.

    Raises:
        TokenExpiredError, TokenInvalidError: It is not good, or its user is not.
    """
    user = user_of_access_token(text)
    return int(user.pk), datetime.fromtimestamp(read_token(AccessToken, text)["exp"], tz=UTC)
