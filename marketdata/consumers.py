"""The public WebSocket feed: subscriptions, snapshots, and deltas without a gap.

Note [Nothing missed]
    A consumer joins the group first and reads the snapshot then. Messages that arrive meanwhile wait
    in its queue, since it handles one at a time. Afterwards it drops what the snapshot holds already
    and passes on what follows in one chain (previous_sequence = sequence before). Where the chain
    breaks, or a beat says that the stream stands further on, it sends a fresh snapshot.
"""

import asyncio
import time
from collections import deque
from typing import Any, ClassVar

import redis
import structlog
from channels.consumer import get_handler_name
from channels.db import database_sync_to_async
from channels.exceptions import StopConsumer
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.layers import get_channel_layer
from django.conf import settings
from django.db import Error as DatabaseError
from django.utils import translation
from django.utils.translation import gettext
from django.utils.translation.trans_real import parse_accept_lang_header

from exchange.api import lost_connections, wire
from exchange.api.errors import TooManyRequestsError, UnavailableError
from exchange.kernel.errors import DomainError
from marketdata import books, feed, refusals, selectors
from marketdata.backpressure import Receive, Send
from marketdata.feed import Mark
from marketdata.units import InstrumentSpec

Message = dict[str, Any]
RequestId = int | str | None

logger = structlog.get_logger(__name__)

MESSAGE_BYTES_MAX = 64 * 1024
"""A batch of 50 orders with every field set needs less."""
CHANNELS_MAX = 100
"""Channels of one connection."""
ACTIONS_PER_SECOND_MAX = 50
OUTBOX_MESSAGES_MAX = 5_000
OUTBOX_BYTES_MAX = 8 * 1024 * 1024
"""What waits for a client that reads too slowly; beyond either it is closed."""
DRAIN_SECONDS_MAX = 10.0
CLOSE_TOO_SLOW = 4008
CLOSE_FAULT = 1011
SHOWN_MAX = 64
PUBLIC_KINDS = ("trade", "depth", "delta", "ticker", "auction")
CONFLATED_KINDS = ("depth", "ticker", "kline", "auction")
UNSEEN = -1


class Subscription:
    """One channel of one connection: where its stream stands for this client."""

    def __init__(self, name: str, kind: str, spec: InstrumentSpec | None = None) -> None:
        self.name = name
        self.kind = kind
        self.spec = spec
        self.epoch = 0
        self.position = UNSEEN


class Window:
    """Counts the requests of a connection within a second."""

    def __init__(self) -> None:
        self._start, self._counted = 0.0, 0

    def count(self, maximum: int) -> None:
        """Count one.

        Raises:
            TooManyRequestsError: There were as many as may be.
        """
        now = time.monotonic()
        if now - self._start >= 1:
            self._start, self._counted = now, 0
        self._counted += 1
        if self._counted > maximum:
            raise TooManyRequestsError(retry_after=1)


class PublicFeed(AsyncWebsocketConsumer):
    """Public market data. One instance a connection; `id` in a request comes back in its answer."""

    actions: ClassVar[dict[str, str]] = {
        "subscribe": "subscribe",
        "unsubscribe": "unsubscribe",
        "ping": "pong",
    }

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Serve the connection: the client's events here, the layer's in a task, one at a time.

        The base class waits for both with `asyncio.wait` and visits a thread for each event; with
        hundreds of clients on a busy market that was most of the cost of a message.
        """
        self.scope, self.base_send = scope, send
        self.channel_layer = get_channel_layer(self.channel_layer_alias)
        self.channel_name = await self.channel_layer.new_channel()
        self.turn = asyncio.Lock()
        pump = asyncio.create_task(self._pump())
        try:
            while True:
                await self._handle(await receive())
        except StopConsumer:
            pass
        finally:
            pump.cancel()
            await asyncio.wait({pump})

    async def _pump(self) -> None:
        """Handle what comes through the channel layer; a fault of ours closes the connection."""
        try:
            while True:
                await self._handle(await self.channel_layer.receive(self.channel_name))
        except Exception:
            logger.exception("feed_failed")
            await self.close(CLOSE_FAULT)

    async def _handle(self, event: Message) -> None:
        """Handle one event; the next one waits."""
        async with self.turn:
            await getattr(self, get_handler_name(event))(event)

    async def connect(self) -> None:
        """Accept anyone; what is private needs auth."""
        self.subscriptions: dict[str, Subscription] = {}
        self.outbox: deque[str] = deque()
        self.outbox_bytes = 0
        self.outbox_filled, self.outbox_empty = asyncio.Event(), asyncio.Event()
        self.is_closing = False
        self.window = Window()
        self.language = _language(self.scope)
        await self.accept()
        self.sender = asyncio.create_task(self._send_outbox())

    async def disconnect(self, code: int) -> None:
        """Leave all groups and stop sending."""
        self.is_closing = True
        self.sender.cancel()
        for name in list(self.subscriptions):
            await self._leave(name)

    # --- what clients ask -------------------------------------------------------------------------

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Answer one request; a refusal is an error message, and the connection lives."""
        request_id = None
        try:
            message = self._read(text_data)
            request_id = _id_of(message)
            action = message.get("action")
            self.count(action)
            method = self.actions.get(action) if isinstance(action, str) else None
            if method is None:
                raise refusals.UnknownActionError(action=str(action)[:SHOWN_MAX])
            await getattr(self, method)(message, request_id)
        except DomainError as refusal:
            self.refuse(refusal, request_id)
        except (redis.exceptions.RedisError, OSError):
            self.refuse(books.MarketDataAwayError(), request_id)
        except DatabaseError as error:
            logger.exception("feed_database_error")
            await asyncio.to_thread(lost_connections.renew, error)
            self.refuse(UnavailableError(), request_id)

    async def subscribe(self, message: Message, request_id: RequestId) -> None:
        """Join channels, all or none; then send each one's first message."""
        names = _names(message)
        wanted = [name for name in dict.fromkeys(names) if name not in self.subscriptions]
        if len(self.subscriptions) + len(wanted) > CHANNELS_MAX:
            raise refusals.TooManyChannelsError(maximum=CHANNELS_MAX)
        found = [await self.find(name) for name in wanted]
        for subscription in found:
            await self._join(subscription)
        self.reply({"type": "subscribed", "channels": names, **await self.standing(found)}, request_id)
        for subscription in found:
            await self.begin(subscription)

    async def unsubscribe(self, message: Message, request_id: RequestId) -> None:
        """Leave channels; those not joined are no error."""
        names = _names(message)
        for name in names:
            await self._leave(name)
        self.reply({"type": "unsubscribed", "channels": names}, request_id)

    async def pong(self, message: Message, request_id: RequestId) -> None:
        """Answer a ping."""
        self.reply({"type": "pong"}, request_id)

    async def find(self, name: str) -> Subscription:
        """Return the subscription that a channel's name stands for.

        Raises:
            UnknownChannelError: There is no such channel.
        """
        kind, _, symbol = name.partition(".")
        if kind == "kline":
            symbol, _, interval = symbol.rpartition(".")
            if interval not in feed.INTERVALS:
                raise refusals.UnknownChannelError(channel=name[:SHOWN_MAX])
        elif kind not in PUBLIC_KINDS:
            raise refusals.UnknownChannelError(channel=name[:SHOWN_MAX])
        try:
            spec = await database_sync_to_async(selectors.instrument)(symbol)
        except selectors.UnknownInstrumentError:
            raise refusals.UnknownChannelError(channel=name[:SHOWN_MAX]) from None
        return Subscription(name, kind, spec)

    async def standing(self, joined: list[Subscription]) -> dict[str, Any]:
        """Return what else the answer to `subscribe` says."""
        return {}

    async def begin(self, subscription: Subscription) -> None:
        """Send what a new subscriber starts from: the book, the last ticker, candle or auction; for trades nothing."""
        if subscription.kind == "delta":
            await self._snapshot(subscription)
        elif subscription.kind in CONFLATED_KINDS:
            message = await asyncio.to_thread(books.latest, subscription.name)
            if message is not None:
                await self.feed_message(message)

    # --- what the publisher sends -----------------------------------------------------------------

    async def feed_message(self, message: Message) -> None:
        """Pass on a message of the publisher; older and repeated ones are dropped."""
        subscription = self.subscriptions.get(message["channel"])
        if subscription is None:
            return
        epoch, sequence, mark = message["epoch"], message["sequence"], message["mark"]
        if mark == Mark.START:
            subscription.epoch, subscription.position = epoch, sequence
            if subscription.kind == "delta":
                await self._snapshot_or_refuse(subscription)
            return
        if epoch < subscription.epoch:
            return
        if epoch > subscription.epoch and subscription.kind != "trade":
            # Another writer, perhaps of another shard, whose sequences say nothing of these; trades keep their numbers.
            subscription.position = UNSEEN
        subscription.epoch = epoch
        if subscription.kind == "delta":
            await self._delta(subscription, message)
        elif sequence > subscription.position:
            seen = subscription.position - message["previous"] if subscription.kind == "trade" else 0
            known = max(0, seen) if subscription.position != UNSEEN else 0
            subscription.position = sequence
            for text in message["texts"][known:]:
                self.push(text)

    async def _delta(self, subscription: Subscription, message: Message) -> None:
        """Pass on a delta that continues the chain; otherwise take a new snapshot."""
        sequence = message["sequence"]
        if sequence <= subscription.position:
            return
        if not message["mark"] and message["previous"] == subscription.position:
            subscription.position = sequence
            for text in message["texts"]:
                self.push(text)
            return
        await self._snapshot_or_refuse(subscription)

    async def _snapshot(self, subscription: Subscription) -> None:
        """Send the whole book and continue from it."""
        if subscription.spec is None:  # a private channel has no book
            return
        subscription.position = UNSEEN  # if reading fails, the next beat tries again
        image, text = await asyncio.to_thread(_snapshot_text, subscription.spec)
        subscription.epoch, subscription.position = image.epoch, image.sequence
        self.push(text)

    async def _snapshot_or_refuse(self, subscription: Subscription) -> None:
        """Send a snapshot on our own account."""
        try:
            await self._snapshot(subscription)
        except books.MarketDataAwayError as refusal:
            self.refuse(refusal, None)

    # --- sending ----------------------------------------------------------------------------------

    def reply(self, message: Message, request_id: RequestId) -> None:
        """Answer a request."""
        self.push(feed.dumps(message if request_id is None else {**message, "id": request_id}))

    def refuse(self, refusal: DomainError, request_id: RequestId) -> None:
        """Send a refusal: its permanent code and name, and words."""
        with translation.override(self.language):
            words = gettext(refusal.message) % _translated(refusal.data)
        error = {"type": "error", "code": refusal.code, "error": refusal.name, "message": words}
        self.reply(error, request_id)

    def push(self, text: str) -> None:
        """Queue a text for the client; a client too slow for its queue is closed."""
        if self.is_closing:
            return
        self.outbox.append(text)
        self.outbox_bytes += len(text)
        if len(self.outbox) > OUTBOX_MESSAGES_MAX or self.outbox_bytes > OUTBOX_BYTES_MAX:
            self._close_slow()
            return
        self.outbox_empty.clear()
        self.outbox_filled.set()

    async def drained(self) -> None:
        """Wait until the client has taken what is queued; one that does not is closed."""
        try:
            await asyncio.wait_for(self.outbox_empty.wait(), DRAIN_SECONDS_MAX)
        except TimeoutError:
            self._close_slow()

    def _close_slow(self) -> None:
        """Close a client that does not read as fast as the market moves."""
        self.is_closing = True
        self.outbox.clear()
        self.sender.cancel()
        self.closer = asyncio.create_task(self.close(CLOSE_TOO_SLOW))

    async def _send_outbox(self) -> None:
        """Send queued texts in order; `send` waits while the client does not read."""
        while True:
            await self.outbox_filled.wait()
            while self.outbox:
                text = self.outbox.popleft()
                self.outbox_bytes -= len(text)
                await self.base_send({"type": "websocket.send", "text": text})
            self.outbox_filled.clear()
            self.outbox_empty.set()

    # --- details ----------------------------------------------------------------------------------

    async def _join(self, subscription: Subscription) -> None:
        """Join a channel's group."""
        self.subscriptions[subscription.name] = subscription
        await self.channel_layer.group_add(subscription.name, self.channel_name)

    async def _leave(self, name: str) -> None:
        """Leave a channel's group, if joined."""
        if self.subscriptions.pop(name, None) is not None:
            await self.channel_layer.group_discard(name, self.channel_name)

    def _read(self, text_data: str | None) -> dict[str, Any]:
        """Return a request as a dictionary.

        Raises:
            DomainError: It is binary, too long, broken JSON or no object.
        """
        if text_data is None:
            raise refusals.MessageFormError(reason=refusals.REASON_BINARY)
        body = text_data.encode(errors="surrogatepass")
        if len(body) > MESSAGE_BYTES_MAX:
            raise refusals.MessageTooLargeError(bytes_max=MESSAGE_BYTES_MAX)
        message = wire.loads(body)
        if not isinstance(message, dict):
            raise refusals.MessageFormError(reason=refusals.REASON_OBJECT)
        return message

    def count(self, action: Any) -> None:
        """Count a request, whatever it asks for.

        Raises:
            TooManyRequestsError: The connection asks faster than anyone needs.
        """
        self.window.count(ACTIONS_PER_SECOND_MAX)


def _snapshot_text(spec: InstrumentSpec) -> tuple[books.BookImage, str]:
    """Read a book and write its snapshot message."""
    image = books.read(spec.symbol)
    return image, feed.dumps(image.message("snapshot", spec))


def _names(message: dict[str, Any]) -> list[str]:
    """Return the channels that a request names."""
    names = message.get("channels")
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise refusals.MessageFormError(reason=refusals.REASON_CHANNELS)
    if len(names) > CHANNELS_MAX:
        raise refusals.TooManyChannelsError(maximum=CHANNELS_MAX)
    return names


def _id_of(message: dict[str, Any]) -> int | str | None:
    """Return the request's id, if it is one that we can echo."""
    request_id = message.get("id")
    if isinstance(request_id, str):
        return request_id[:SHOWN_MAX]
    return request_id if type(request_id) is int and abs(request_id) < 2**53 else None


def _translated(data: dict[str, Any]) -> dict[str, Any]:
    """Translate the reasons inside a refusal's data."""
    return {key: gettext(value) if key == "reason" else value for key, value in data.items()}


def _language(scope: dict[str, Any]) -> str:
    """Return the language of this connection: the switch's cookie, else the browser's, else ours."""
    header = dict(scope.get("headers", [])).get(b"accept-language", b"").decode("latin-1")
    cookie = scope.get("cookies", {}).get(settings.LANGUAGE_COOKIE_NAME)
    for code in [cookie, *(code for code, _ in parse_accept_lang_header(header))]:
        try:
            return translation.get_supported_language_variant(code)
        except LookupError:
            continue
    return settings.LANGUAGE_CODE
