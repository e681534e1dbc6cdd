"""One of several processes that fight for the same wallet and position: places orders as fast as they are answered.

Run by test_contract_concurrency.py: `python -m trading.tests.contention OWNER SIDE PRICE COUNT`; prints what was
accepted and how long each order took.
"""

import sys
import time
from decimal import Decimal

import django


def main(owner_id: int, side: str, price: Decimal, count: int) -> None:
    """Place orders of one lot, and print accepted orders and seconds each, as JSON."""
    django.setup()

    import orjson

    from exchange.kernel.clock import utc_now
    from trading.models import Order
    from trading.services import orders
    from trading.services.requests import PlaceOrder
    from trading.tests.contracts import SYMBOL

    accepted, seconds = 0, []
    for _ in range(count):
        began = time.perf_counter()
        [result] = orders.place(owner_id, [PlaceOrder(SYMBOL, side, "limit", Decimal(1), price)], now=utc_now())
        seconds.append(time.perf_counter() - began)
        accepted += isinstance(result, Order)
    sys.stdout.buffer.write(orjson.dumps({"accepted": accepted, "seconds": seconds}) + b"\n")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], Decimal(sys.argv[3]), int(sys.argv[4]))
