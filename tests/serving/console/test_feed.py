"""The feed: every decision once to every watcher, one look for all, and none while nobody watches."""

import asyncio
from datetime import UTC, datetime

import pytest

from pointsman.serving.console.feed import Feed
from pointsman.serving.key_store import format_time

from ..rows import decision_row


def now():
    return format_time(datetime.now(UTC))


async def collected(feed, after, timeout_s=0.5):
    return [row.decision_id async for rows in feed.watch(after, timeout_s) for row in rows]


def test_each_watcher_gets_each_decision_once(store):
    async def story():
        feed, start = Feed(store, wait_s=0.02), now()
        watching = [asyncio.create_task(collected(feed, start)) for _ in range(2)]
        await asyncio.sleep(0.1)
        ids = []
        for _ in range(3):
            row = decision_row(created_at=now())
            ids.append(row.decision_id)
            await asyncio.to_thread(store.append, [row], [])
            await asyncio.sleep(0.05)
        assert await asyncio.gather(*watching) == [ids, ids]

    asyncio.run(story())


def test_late_commit_is_not_missed(store):
    async def story():
        feed, start = Feed(store, wait_s=0.02), now()
        late = decision_row(created_at=now())
        watching = asyncio.create_task(collected(feed, start))
        await asyncio.to_thread(store.append, [first := decision_row(created_at=now())], [])
        await asyncio.sleep(0.1)
        await asyncio.to_thread(store.append, [late], [])
        assert set(await watching) == {first.decision_id, late.decision_id}

    asyncio.run(story())


def test_watcher_that_comes_back_goes_on_where_it_was(store):
    async def story():
        feed = Feed(store, wait_s=0.02)
        rows = [decision_row(created_at=now()) for _ in range(3)]
        await asyncio.to_thread(store.append, rows, [])
        assert await collected(feed, rows[0].created_at) == [row.decision_id for row in rows[1:]]

    asyncio.run(story())


def test_nobody_looks_while_nobody_watches(store, monkeypatch):
    looks = []
    monkeypatch.setattr("pointsman.serving.console.feed.decisions_from", lambda *_, **__: looks.append(1) or [])

    async def story():
        feed = Feed(store, wait_s=0.01)
        await asyncio.sleep(0.1)
        assert looks == []
        await collected(feed, "", timeout_s=0.1)
        n_looks = len(looks)
        await asyncio.sleep(0.1)
        assert n_looks
        assert len(looks) <= n_looks + 1
        assert feed.n_watching == 0

    asyncio.run(story())


@pytest.mark.parametrize("timeout_s", [0.05])
def test_stream_ends_by_itself(store, timeout_s):
    assert asyncio.run(asyncio.wait_for(collected(Feed(store, wait_s=0.01), "", timeout_s), 10)) == []
