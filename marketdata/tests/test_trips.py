from typing import Any

from marketdata.services import publish, transport


def test_whole_books_go_to_redis_a_few_at_a_time(monkeypatch) -> None:
    monkeypatch.setattr(publish, "WRITES_PER_TRIP_MAX", 3)
    monkeypatch.setattr(publish, "LEVELS_PER_TRIP_MAX", 10)
    writes: list[Any] = [
        (None, transport.Write(transport.Mode.STEP, "BTCUSDT", 0, 1, 0, [(0, 1, 1)] * levels, [], 0))
        for levels in (4, 4, 4, 30, 1, 1, 1, 1)
    ]

    trips = [[len(write.levels) for _, write in trip] for trip in publish._trips(writes)]

    assert trips == [[4, 4], [4], [30], [1, 1, 1], [1]]
