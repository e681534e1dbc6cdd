"""Where instruments are matched: what is configured, what the table says, and what is told where they differ."""

import pytest
from django.core.exceptions import ImproperlyConfigured, ValidationError

from exchange.settings import shards as setting
from marketdata import shards
from marketdata.models import Instrument
from marketdata.shards import Disagreement
from marketdata.tests import factories
from matching_worker.protocol import SHARD_MAX


def test_without_configuration_there_is_one_shard() -> None:
    assert setting.read({}) == (1, {})
    assert setting.read({setting.COUNT: "", setting.MAPPING: ""}) == (1, {})


def test_the_configuration_names_shards_by_symbol() -> None:
    read = setting.read({setting.COUNT: "3", setting.MAPPING: "BTCUSDT=2, 2330.TW=0,"})

    assert read == (3, {"BTCUSDT": 2, "2330.TW": 0})


def test_there_are_as_many_shards_as_a_trade_id_has_room_for() -> None:
    assert setting.SHARDS_MAX == SHARD_MAX + 1


@pytest.mark.parametrize(
    ("count", "mapping", "words"),
    [
        ("0", "", "EXCHANGE_SHARDS must be between 1 and 64"),
        ("65", "", "EXCHANGE_SHARDS must be between 1 and 64"),
        ("two", "", "'two' is no whole number"),
        ("2", "BTCUSDT", "'BTCUSDT' is not"),
        ("2", "=1", "'=1' is not"),
        ("2", "BTCUSDT=x", "'x' is no whole number"),
        ("2", "BTCUSDT=0,BTCUSDT=1", "each symbol once"),
        ("2", "BTCUSDT=2", "puts BTCUSDT on shard 2; with EXCHANGE_SHARDS=2 there are shards 0 to 1"),
    ],
)
def test_a_configuration_that_cannot_be_meant_stops_the_start(count: str, mapping: str, words: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=words):
        setting.read({setting.COUNT: count, setting.MAPPING: mapping})


@pytest.mark.django_db
def test_new_instruments_go_where_the_configuration_says_else_to_the_shard_with_the_fewest(settings) -> None:
    settings.SHARDS, settings.INSTRUMENT_SHARDS = 3, {"AAPL": 0}
    Instrument.objects.update_or_create(pk=factories.bitcoin().id, defaults={"shard": 1})

    assert [shards.for_new(symbol) for symbol in ("AAPL", "ETHUSDT")] == [0, 0]
    settings.INSTRUMENT_SHARDS = {"AAPL": 1}
    assert [shards.for_new(symbol) for symbol in ("AAPL", "ETHUSDT")] == [1, 0]
    Instrument.objects.update(shard=0)
    assert shards.for_new("ETHUSDT") == 1


@pytest.mark.django_db
def test_an_instrument_stays_where_it_is_and_the_disagreement_is_told(settings) -> None:
    made = factories.bitcoin()
    settings.SHARDS, settings.INSTRUMENT_SHARDS = 2, {made.symbol: 1, "NOBODY": 1}

    [found] = shards.disagreements()

    assert found == Disagreement(made.symbol, configured=1, actual=0)
    assert f"{made.symbol} is on shard 0; the configuration says 1" in str(found)
    assert shards.by_shard() == {0: [made.symbol]}


@pytest.mark.django_db
def test_the_form_refuses_a_shard_without_worker_and_one_that_is_not_the_configured(settings) -> None:
    settings.SHARDS, settings.INSTRUMENT_SHARDS = 2, {"ETHUSDT": 1}
    made = factories.bitcoin()
    draft = Instrument(symbol="ETHUSDT", base=made.base, quote=made.quote, shard=1)

    draft._require_shard()
    draft.shard = 0
    with pytest.raises(ValidationError, match="puts this instrument on shard 1"):
        draft._require_shard()
    draft.shard = 2
    with pytest.raises(ValidationError, match="There are shards 0 to 1"):
        draft.full_clean()
