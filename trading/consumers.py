"""The whole WebSocket feed: the public channels, sign-in, and a trader's own events in order.

Note [Private stream]
    A trader's events are numbered densely over all private channels and stored before they are
    pushed. A connection keeps the number it has passed; a push that jumps ahead is completed from
    the table, one that lags is dropped, and every `CHECK_SECONDS` the table is asked whether a push
    was lost. The user id comes from the token or the session only, never from a request.
"""

import asyncio
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
from exchange.api.errors import NotAuthenticatedError, TokenExpiredError, TokenInvalidError
from exchange.kernel.clock import utc_now
from exchange.kernel.errors import DomainError, gettext_noop
from marketdata import feed, refusals
from marketdata.consumers import PublicFeed, Subscription
from trading import selectors
from trading.models import PrivateChannel

logger = structlog.get_logger(__name__)

CHECK_SECONDS = 30.0
"""How often a signed-in connection's user, and its place in the stream, are checked."""
RESUME_EVENTS_MAX = 10_000
"""A resume further back than this is refused: read orders and balances over REST, then subscribe."""
PAGE = 1_000
TYPES = {"orders": "order", "fills": "fill", "balances": "balance", "positions": "position"}


class ResumeTooOldError(DomainError):
    """The events asked for are further back than the feed keeps."""

    code = 3040
    name = "RESUME_TOO_OLD"
    status = 410
    message = gettext_noop("Events after %(sequence)s are not kept; read over REST and subscribe anew.")


class ResumeAheadError(DomainError):
    """The sequence asked for has not been reached: it belongs to another user or another database."""

    code = 3041
    name = "RESUME_AHEAD"
    status = 409
    message = gettext_noop("Sequence %(sequence)s has not been reached; the last one is %(last)s.")


class ExchangeFeed(PublicFeed):
    """Public and private channels of one connection."""

    actions = {**PublicFeed.actions, "auth": "auth", "resume": "resume"}

    async def connect(self) -> None:
        """Accept; a signed-in page's session counts as sign-in."""
        user = self.scope.get("user")
        self.user_id = user.pk if user is not None and user.is_authenticated else None
        self.token: str | None = None
        self.private: set[str] = set()
        self.position: int | None = None
        """Number of the last private event passed (sent, or not of a channel asked for)."""
        self.expiry: asyncio.TimerHandle | None = None
        self.background: set[asyncio.Task] = set()
        await super().connect()
        self.checker = asyncio.create_task(self._check_regularly())

    async def disconnect(self, code) -> None:
        """Stop everything that belongs to this connection."""
        self.checker.cancel()
        await self._forget_user()
        await super().disconnect(code)

    # --- what clients ask -------------------------------------------------------------------------

    async def auth(self, message, request_id) -> None:
        """Sign in with an access token; another user's private channels must be subscribed anew."""
        token = message.get("token")
        if not isinstance(token, str):
            raise refusals.MessageFormError(reason=refusals.REASON_TOKEN)
        user_id, expires_at = await database_sync_to_async(_signed_in)(token)
        if user_id != self.user_id:
            await self._forget_user()
        self.user_id, self.token = user_id, token
        self._expire_at(expires_at)
        moment = expires_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        self.reply({"type": "authenticated", "user_id": user_id, "expires_at": moment}, request_id)

    async def subscribe(self, message, request_id) -> None:
        """Join channels; private ones start after the last event, or after where `resume` has set them."""
        names = message.get("channels")
        private = [name for name in names if name in TYPES] if isinstance(names, list) else []
        if private and self.user_id is None:
            raise NotAuthenticatedError
        await super().subscribe(message, request_id)

    async def find(self, name: str) -> Subscription:
        """Return the subscription of a private or public channel."""
        return PrivateSubscription(name) if name in TYPES else await super().find(name)

    async def begin(self, subscription: Subscription) -> None:
        """Send what a new subscriber starts from; private channels start where the stream stands."""
        if not isinstance(subscription, PrivateSubscription):
            await super().begin(subscription)

    async def resume(self, message, request_id) -> None:
        """Send again all private events after a sequence, of the channels subscribed, then go on.

        Sent before `subscribe`, it sets where the subscription starts, so that nothing repeats.
        """
        sequence = message.get("sequence")
        if type(sequence) is not int or not 0 <= sequence < 2**53:
            raise refusals.MessageFormError(reason=refusals.REASON_SEQUENCE)
        if self.user_id is None:
            raise NotAuthenticatedError
        last, first = await database_sync_to_async(selectors.private_event_bounds)(self.user_id)
        if sequence > last:
            raise ResumeAheadError(sequence=sequence, last=last)
        if last - sequence > RESUME_EVENTS_MAX or (sequence < last and first > sequence + 1):
            raise ResumeTooOldError(sequence=sequence)
        self.position = sequence
        self.reply({"type": "resumed", "sequence": sequence, "last_sequence": last}, request_id)
        if self.private:
            await self._catch_up()
