"""Requests are counted per key; Redis is where workers count together, and nothing that a request waits for."""

import asyncio
import time

import pytest
from starlette.testclient import TestClient

from pointsman.serving.app import create_app
from pointsman.serving.errors import RateLimitedError, SettingsError
from pointsman.serving.key_store import create_key
from pointsman.serving.rates import Rates, parse_rate
from pointsman.serving.settings import load_settings
from pointsman.serving.store import Store
from pointsman.serving.telemetry import SESSION_STORE_FAILURES, Telemetry

from .clients import RACE
from .conftest import wait_until_ready
from .redis_server import RedisServer

ASKED = {"json": {"prompt": RACE}}


@pytest.fixture
def redis_server():
    server = RedisServer().start()
    yield server
    server.remove()


def failures_of(telemetry):
    return telemetry.registry.get_sample_value(SESSION_STORE_FAILURES) or 0


async def n_admitted(rates, who, rate, *, n_sent):
    admitted = 0
    for _ in range(n_sent):
        try:
            await rates.count(who, rate)
        except RateLimitedError:
            continue
        admitted += 1
    return admitted


def test_as_many_as_the_rate_says_are_admitted():
    async def story():
        rates = Rates(Telemetry())
        counts = [await n_admitted(rates, who, "5/day", n_sent=8) for who in ("key:a", "key:b")]
        await rates.close()
        return counts

    assert asyncio.run(story()) == [5, 5]


def test_tightest_of_several_rates_counts():
    async def story():
        rates = Rates(Telemetry())
        admitted = await n_admitted(rates, "key:a", "100/minute; 3/day", n_sent=8)
        await rates.close()
        return admitted

    assert asyncio.run(story()) == 3


def test_refusal_says_when_to_come_back():
    async def story():
        rates = Rates(Telemetry())
        await rates.count("key:a", "1/minute")
        with pytest.raises(RateLimitedError, match=r"More than 1 per 1 minute .* Try again in \d+ s\.") as raised:
            await rates.count("key:a", "1/minute")
        await rates.close()
        return raised.value.retry_after_s

    assert 1 <= asyncio.run(story()) <= 60


def test_workers_count_together_in_redis(redis_server):
    async def story():
        workers = [Rates(Telemetry(), redis_server.url, timeout_s=10) for _ in range(2)]
        admitted = sum([await n_admitted(rates, "key:a", "6/day", n_sent=5) for rates in workers])
        for rates in workers:
            await rates.close()
        return admitted

    assert asyncio.run(story()) == 6


def test_each_worker_counts_for_itself_while_redis_is_away(redis_server):
    telemetry = Telemetry()

    async def story():
        rates = Rates(telemetry, redis_server.url, timeout_s=10)
        await rates.count("key:a", "3/day")
        redis_server.stop()
        admitted = await n_admitted(rates, "key:a", "3/day", n_sent=5)
        await rates.close()
        return admitted

    assert asyncio.run(story()) == 3
    assert failures_of(telemetry) >= 1


def test_redis_that_hangs_is_waited_for_once(redis_server):
    telemetry = Telemetry()

    async def story():
        rates = Rates(telemetry, redis_server.url)
        redis_server.freeze()
        started = time.monotonic()
        admitted = await n_admitted(rates, "key:a", "50/day", n_sent=50)
        took_s = time.monotonic() - started
        redis_server.thaw()
        await rates.close()
        return admitted, took_s

    admitted, took_s = asyncio.run(story())
    assert admitted == 50
    # Fifty waits of the timeout would be longer than the pause after one.
    assert failures_of(telemetry) <= 1 + took_s // 2


@pytest.mark.parametrize("rate", ["", "many", "5", "5/fortnight", "0/minute", "-1/minute"])
def test_what_is_no_rate_is_refused(rate):
    with pytest.raises(ValueError, match="is no rate; expected a count per second"):
        parse_rate(rate)


def test_setting_that_is_no_rate_stops_the_start(monkeypatch):
    monkeypatch.setenv("POINTSMAN_RATE_LIMIT", "many")
    with pytest.raises(SettingsError, match=r"POINTSMAN_RATE_LIMIT: is no rate; .*600/minute \(found 'many'\)"):
        load_settings()


def test_address_is_limited_where_keys_are_off(sqlite_url, router):
    with TestClient(create_app(load_settings(database_url=sqlite_url, rate_limit="2/day"), router)) as client:
        wait_until_ready(client)
        statuses = [client.post("/v1/decide", **ASKED).status_code for _ in range(3)]
        refused = client.post("/v1/decide", **ASKED)
        assert client.get("/healthz").status_code == 200
    assert statuses == [200, 200, 429]
    assert refused.json()["error"]["code"] == "rate_limited"
    assert 1 <= int(refused.headers["retry-after"]) <= 86_400


def test_keys_own_rate_wins_over_the_services(sqlite_url, router):
    store = Store(sqlite_url)
    slow, fast = (create_key(store, rate, ["decide"], actor="t", rate=rate)[0] for rate in ("1/day", "5/day"))
    plain, _ = create_key(store, "plain", ["decide"], actor="t")
    store.close()

    def n_answered(client, key):
        statuses = [client.get("/v1/models", headers={"x-pointsman-key": key}).status_code for _ in range(7)]
        assert set(statuses) == {200, 429}
        return statuses.count(200)

    settings = load_settings(database_url=sqlite_url, keys="on", rate_limit="3/day")
    with TestClient(create_app(settings, router)) as client:
        assert [n_answered(client, key) for key in (slow, fast, plain)] == [1, 5, 3]
