"""Orders, trades, the command log and what the worker has settled.

The tables are made by SQL in the first migration (partitions, arrays and functions that Django cannot say), so the
models are unmanaged: they are for reading and for the admin. Writing is the services' business.
"""

from django.db import models
from django.utils.translation import gettext_lazy as _

from trading import margin_models, move_models, sweep_models  # noqa: F401 -- models of this app that stand in files of their own
from trading.instances import MadeAtOnce

ID_MAX = 2**53 - 1
"""Ids go out as JSON integers."""


class Side(models.TextChoices):
    """Which way an order trades."""

    BUY = "buy"
    SELL = "sell"


class OrderType(models.TextChoices):
    """How an order's price is bounded."""

    LIMIT = "limit"
    MARKET = "market"
    STOP = "stop"
    STOP_LIMIT = "stop_limit"
    TAKE_PROFIT = "take_profit"
    TAKE_PROFIT_LIMIT = "take_profit_limit"
    TRAILING_STOP = "trailing_stop"


LIMIT_TYPES = (OrderType.LIMIT, OrderType.STOP_LIMIT, OrderType.TAKE_PROFIT_LIMIT)
"""Types with a price of their own; the others take what the market gives, within a bound."""

TRIGGERED_TYPES = (OrderType.STOP, OrderType.STOP_LIMIT, OrderType.TAKE_PROFIT, OrderType.TAKE_PROFIT_LIMIT)
"""Types that wait for a price of their own before they do anything; a trailing stop's follows the market."""

WAITING_TYPES = (*TRIGGERED_TYPES, OrderType.TRAILING_STOP)
"""Types that wait for a price."""


class TimeInForce(models.TextChoices):
    """What happens to the part that does not trade on arrival."""

    GTC = "gtc"
    IOC = "ioc"
    FOK = "fok"
    GTD = "gtd"
    DAY = "day"


RESTING_TIMES = (TimeInForce.GTC, TimeInForce.GTD, TimeInForce.DAY)
"""Times in force of orders that stay in the book."""


class SelfTradePrevention(models.TextChoices):
    """What a taker wants done when it meets an order of its own trader."""

    NONE = "none"
    CANCEL_MAKER = "cancel_maker"
    CANCEL_TAKER = "cancel_taker"
    CANCEL_BOTH = "cancel_both"
    DECREMENT = "decrement"


class TriggerBy(models.TextChoices):
    """The price that an order which waits for one watches."""

    LAST = "last"
    MARK = "mark"


class Intent(models.TextChoices):
    """What a contract order was meant to do to the position, when it was placed; a reversal does both."""

    INCREASE = "increase"
    REDUCE = "reduce"
    REVERSE = "reverse"


class OrderStatus(models.TextChoices):
    """Where an order stands."""

    NEW = "new"
    PARTIAL_FILLED = "partial_filled"
    FILLED = "filled"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    PENDING_REVIEW = "pending_review"
    UNTRIGGERED = "untriggered"
    EXPIRED = "expired"


OPEN_STATUSES = (OrderStatus.NEW, OrderStatus.PARTIAL_FILLED, OrderStatus.UNTRIGGERED)
FINAL_STATUSES = (OrderStatus.FILLED, OrderStatus.CANCELLED, OrderStatus.REJECTED, OrderStatus.EXPIRED)


def _amount(**options: object) -> models.DecimalField:  # type: ignore[type-arg]
    """Return a money column: numeric(38,18)."""
    return models.DecimalField(max_digits=38, decimal_places=18, **options)  # type: ignore[arg-type]


class Order(MadeAtOnce):
    """What a trader asked for, and what has become of it.

    `hold_remaining` is exactly what the trader's order_hold wallet keeps for this order; `amend_hold` is the part of it
    that is there for an amend the engine has not answered yet. `amend_refusal` is why the engine refused the last one.
    The fee is charged on the running sum: `fee` is `fee_accrued` rounded up to the quote asset's quantum.
    A buy by quote amount has a `quote_quantity`, all that it may cost, and no `quantity`.
    A contract order has an intent, the quantities of its two parts as they were meant, and the leverage it opens with;
    one that closes the whole position, whatever it is then, has no `quantity` either.
    """

    repeated = False
    """Whether a retry found this order instead of placing it; set on the instance, not stored."""

    id = models.BigIntegerField(primary_key=True)
    user_id = models.BigIntegerField()
    instrument_id = models.SmallIntegerField()
    symbol = models.CharField(max_length=24)
    side = models.CharField(max_length=4, choices=Side.choices)
    type = models.CharField(max_length=24, choices=OrderType.choices)
    time_in_force = models.CharField(max_length=4, choices=TimeInForce.choices)
    price = _amount(null=True)
    stop_price = _amount(null=True)
    trigger_by = models.CharField(max_length=4, choices=TriggerBy.choices, null=True)  # noqa: DJ001 -- NULL: waits not
    worst_price = _amount()
    display_quantity = _amount(null=True)
    post_only = models.BooleanField()
    self_trade_prevention = models.CharField(max_length=16, choices=SelfTradePrevention.choices)
    callback_rate = models.DecimalField(max_digits=12, decimal_places=8, null=True)
    activation_price = _amount(null=True)
    expires_at = models.DateTimeField(null=True)
    quantity = _amount(null=True)
    quote_quantity = _amount(null=True)
    filled_quantity = _amount()
    filled_notional = _amount()
    fee = _amount()
    fee_accrued = models.DecimalField(max_digits=60, decimal_places=26)
    maker_fee_rate = models.DecimalField(max_digits=12, decimal_places=8)
    taker_fee_rate = models.DecimalField(max_digits=12, decimal_places=8)
    hold_asset = models.CharField(max_length=16)
    hold_remaining = _amount()
    amend_hold = _amount()
    amend_refusal = models.CharField(max_length=40)
    status = models.CharField(max_length=16, choices=OrderStatus.choices)
    reason = models.CharField(max_length=40)
    client_order_id = models.CharField(max_length=64, null=True)  # noqa: DJ001 -- NULL is "none given"
    trace = models.CharField(max_length=28)
    sequence = models.BigIntegerField()
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()
    amend_requested_at = models.DateTimeField(null=True)
    cancel_requested_at = models.DateTimeField(null=True)
    triggered_at = models.DateTimeField(null=True)
    filled_at = models.DateTimeField(null=True)
    cancelled_at = models.DateTimeField(null=True)
    reduce_only = models.BooleanField(default=False)
    close_position = models.BooleanField(default=False)
    leverage = models.SmallIntegerField(null=True)
    intent = models.CharField(max_length=8, choices=Intent.choices, null=True)  # noqa: DJ001 -- NULL: a spot order
    reduce_quantity = _amount(null=True)
    increase_quantity = _amount(null=True)

    class Meta:
        managed = False
        db_table = "orders"

    def __str__(self) -> str:
        return f"{self.id} {self.side} {self.symbol}"

    @property
    def is_open(self) -> bool:
        """Whether it may still trade."""
        return self.status in OPEN_STATUSES


class Trade(models.Model):
    """The public record of one match, with both sides' fees in the quote asset."""

    id = models.BigIntegerField(primary_key=True)
    instrument_id = models.SmallIntegerField()
    symbol = models.CharField(max_length=24)
    number = models.BigIntegerField()
    buy_order_id = models.BigIntegerField()
    sell_order_id = models.BigIntegerField()
    buyer_id = models.BigIntegerField()
    seller_id = models.BigIntegerField()
    price = _amount()
    quantity = _amount()
    notional = _amount()
    buyer_fee = _amount()
    seller_fee = _amount()
    taker_side = models.CharField(max_length=4, choices=Side.choices)
    shard = models.SmallIntegerField()
    sequence = models.BigIntegerField()
    executed_at = models.DateTimeField()

    class Meta:
        managed = False
        db_table = "trades"

    def __str__(self) -> str:
        return f"{self.id} {self.symbol}"


class Command(models.Model):
    """One row of a shard's command log: what the engine reads, in order, without gaps."""

    pk = models.CompositePrimaryKey("shard", "sequence")
    shard = models.SmallIntegerField()
    sequence = models.BigIntegerField()
    payload = models.BinaryField()
    chain_hash = models.BinaryField()
    created_at = models.DateTimeField()

    class Meta:
        managed = False
        db_table = "commands"

    def __str__(self) -> str:
        return f"{self.shard}:{self.sequence}"


class CommandStream(models.Model):
    """Head of a shard's log: the last sequence, and the chain hash up to it."""

    shard = models.SmallIntegerField(primary_key=True)
    epoch = models.IntegerField()
    sequence = models.BigIntegerField()
    chain_hash = models.BinaryField()

    class Meta:
        managed = False
        db_table = "command_stream"

    def __str__(self) -> str:
        return f"shard {self.shard} at {self.sequence}"


class SettlementCursor(models.Model):
    """How far a shard's events are in the books, and the engine's state hash there."""

    shard = models.SmallIntegerField(primary_key=True)
    epoch = models.IntegerField()
    sequence = models.BigIntegerField()
    state_hash = models.DecimalField(max_digits=20, decimal_places=0)
    settled_at = models.DateTimeField(null=True)

    class Meta:
        managed = False
        db_table = "settlement_cursor"

    def __str__(self) -> str:
        return f"shard {self.shard} settled to {self.sequence}"


class WorkerLease(models.Model):
    """Which worker may write for a shard; a taker raises the epoch."""

    shard = models.SmallIntegerField(primary_key=True)
    epoch = models.IntegerField()
    owner = models.CharField(max_length=80)
    expires_at = models.DateTimeField()
    locked_epoch = models.IntegerField()

    class Meta:
        managed = False
        db_table = "worker_lease"

    def __str__(self) -> str:
        return f"shard {self.shard}: {self.owner}"


class Outbox(models.Model):
    """Domain events in the shape that Debezium's outbox router reads."""

    id = models.BigIntegerField(primary_key=True)
    aggregatetype = models.CharField(max_length=32)
    aggregateid = models.CharField(max_length=64)
    type = models.CharField(max_length=64)
    payload = models.JSONField()
    created_at = models.DateTimeField()

    class Meta:
        managed = False
        db_table = "outbox"
        verbose_name_plural = "outbox"

    def __str__(self) -> str:
        return f"{self.id} {self.type}"


class PrivateChannel(models.TextChoices):
    """The private WebSocket channels."""

    ORDERS = "orders"
    FILLS = "fills"
    BALANCES = "balances"
    POSITIONS = "positions"
    NOTICES = "notices"


class PrivateEvent(models.Model):
    """What one trader's WebSocket was, or will be, told: dense per user, so that a client may resume.

    Read from a view of `private_messages`, of which each row is what one transaction told a trader.
    """

    pk = models.CompositePrimaryKey("user_id", "sequence")
    user_id = models.BigIntegerField()
    sequence = models.BigIntegerField()
    channel = models.CharField(max_length=16, choices=PrivateChannel.choices)
    payload = models.JSONField()
    created_at = models.DateTimeField()

    class Meta:
        managed = False
        db_table = "private_events"

    def __str__(self) -> str:
        return f"{self.user_id}:{self.sequence}"


class OrderPart(models.Model):
    """What a contract order reserves of a position, or holds funds for: Note [Flip states] in order_parts.py."""

    pk = models.CompositePrimaryKey("order_id", "kind")
    order_id = models.BigIntegerField()
    kind = models.CharField(max_length=8)
    user_id = models.BigIntegerField()
    instrument_id = models.SmallIntegerField()
    quantity = _amount()
    quantity_left = _amount()
    quantity_going = _amount()
    quantity_stolen = _amount()
    funds_left = _amount()
    state = models.CharField(max_length=9)
    version = models.IntegerField()
    updated_at = models.DateTimeField()

    class Meta:
        managed = False
        db_table = "order_parts"

    def __str__(self) -> str:
        return f"{self.order_id} {self.kind}"


class Position(models.Model):
    """A trader's position in a contract: quantity and open cost are negative when short."""

    pk = models.CompositePrimaryKey("user_id", "instrument_id")
    user_id = models.BigIntegerField()
    instrument_id = models.SmallIntegerField()
    symbol = models.CharField(max_length=24)
    quantity = _amount()
    open_cost = _amount()
    margin = _amount()
    margin_missing = _amount()
    reserved = _amount()
    realised_pnl = _amount()
    leverage = models.SmallIntegerField()
    is_locked = models.BooleanField()
    version = models.BigIntegerField()
    updated_at = models.DateTimeField()

    class Meta:
        managed = False
        db_table = "positions"

    def __str__(self) -> str:
        return f"{self.user_id} {self.symbol} {self.quantity}"


class PositionStep(models.Model):
    """One step of a position's history: what it added to each of the position's numbers."""

    pk = models.CompositePrimaryKey("user_id", "instrument_id", "version")
    user_id = models.BigIntegerField()
    instrument_id = models.SmallIntegerField()
    version = models.BigIntegerField()
    change = models.CharField(max_length=16)
    quantity = _amount()
    open_cost = _amount()
    margin = _amount()
    result = _amount()
    fee = _amount()
    leverage = models.SmallIntegerField()
    trade_id = models.BigIntegerField(null=True)
    order_id = models.BigIntegerField(null=True)
    price = _amount(null=True)
    sequence = models.BigIntegerField()
    happened_at = models.DateTimeField()

    class Meta:
        managed = False
        db_table = "position_events"

    def __str__(self) -> str:
        return f"{self.user_id}:{self.instrument_id}:{self.version}"


class SuspendedState(models.TextChoices):
    """Where an entry that the books refused stands."""

    OPEN = "OPEN", _("open")
    POSTED = "POSTED", _("posted")


class SuspendedEntry(models.Model):
    """An entry that settlement made and the books refused: `services/suspense.py`.

    What happened stands in orders and trades; what the entry would have moved does not stand in the wallets.

    Attributes:
        lines: The refused entry's lines: owner, code, asset, part, amount.
        held: What stays in order_hold wallets because of it: owner, asset, amount.
    """

    key = models.CharField(max_length=128, unique=True)
    kind = models.CharField(max_length=32)
    effective_at = models.DateTimeField()
    trace = models.CharField(max_length=64)
    lines = models.JSONField()
    held = models.JSONField()
    refusal = models.TextField()
    trade_id = models.BigIntegerField(null=True)
    instrument_id = models.SmallIntegerField()
    shard = models.SmallIntegerField()
    sequence = models.BigIntegerField()
    state = models.CharField(max_length=8, choices=SuspendedState.choices, default=SuspendedState.OPEN)
    created_at = models.DateTimeField()
    posted_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "suspended_entries"
        verbose_name = _("suspended entry")
        verbose_name_plural = _("suspended entries")
        default_permissions = ("view",)
        indexes = (models.Index(fields=["id"], condition=models.Q(state="OPEN"), name="suspended_open"),)

    def __str__(self) -> str:
        return self.key
