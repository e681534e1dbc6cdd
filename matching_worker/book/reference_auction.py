"""The call auction, readable: which price, how much, and who trades with whom. See README.md for examples."""

from collections.abc import Iterator
from typing import NamedTuple

from matching_worker.book.reference_rows import Book, Order
from matching_worker.protocol import Side


class Uncrossing(NamedTuple):
    """What an auction would do now; all 0 when nothing can trade."""

    price_ticks: int
    qty_lots: int
    surplus_lots: int
    """Lots that would like to buy at the price less lots that would like to sell."""


def uncrossing(book: Book, reference_ticks: int) -> Uncrossing:
    """Return the price of most volume, then least imbalance, then nearest to the reference, then lowest.

    Any price from the best ask to the best bid counts. Demand and supply change only at prices of orders, so
    it is enough to look at those, at their neighbours, and at the reference price.
    """
    bid, ask = book.best_price(Side.BUY), book.best_price(Side.SELL)
    if bid is None or ask is None or bid < ask:
        return Uncrossing(0, 0, 0)
    known = [*book.queues[Side.BUY], *book.queues[Side.SELL], min(max(reference_ticks, ask), bid)]
    candidates = {near for price in known for near in (price - 1, price, price + 1) if ask <= near <= bid}
    ranked = []
    for price in candidates:
        demand = sum(book.total_lots(Side.BUY, at) for at in book.queues[Side.BUY] if at >= price)
        supply = sum(book.total_lots(Side.SELL, at) for at in book.queues[Side.SELL] if at <= price)
        rank = (-min(demand, supply), abs(demand - supply), abs(price - reference_ticks), price)
        ranked.append((rank, Uncrossing(price, min(demand, supply), demand - supply)))
    return min(ranked)[1]


def pairs(book: Book, lots: int) -> Iterator[tuple[Order, Order, int]]:
    """Yield buyer, seller and lots of each trade, best price first, then oldest first.

    The caller takes the lots off both orders before it asks for the next pair.
    """
    while lots > 0:
        buyer, seller = (next(iter(book.queues[side][book.prices(side)[0]].values())) for side in (Side.BUY, Side.SELL))
        traded = min(lots, buyer.open_lots, seller.open_lots)
        lots -= traded
        yield buyer, seller, traded
