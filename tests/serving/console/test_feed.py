"""The feed: every decision once to every watcher, one look for all, and none while nobody watches."""

import asyncio
from datetime import UTC, datetime

from pointsman.serving.console.feed import Feed
from pointsman.serving.key_store import format_time

from ..rows import decision_row


def now():
    return format_time(datetime.now(UTC))


async def collected(feed, after, n, timeout_s=20):
    """Watch until so many came, or the stream ends."""
    ids = []
    watching = feed.watch(after, timeout_s)
    async for rows in watching:
        ids += [row.decision_id for row in rows]
        if len(ids) >= n:
            break
    await watching.aclose()
    return ids


def test_each_watcher_gets_each_decision_once(store):
    async def story():
        feed, start = Feed(store, wait_s=0.02), now()
        watching = [asyncio.create_task(collected(feed, start, 3)) for _ in range(2)]
        await asyncio.sleep(0.1)
        ids = []
        for _ in range(3):
            row = decision_row(created_at=now())
            ids.append(row.decision_id)
            await asyncio.to_thread(store.append, [row], [])
            await asyncio.sleep(0.05)
        assert await asyncio.gather(*watching) == [ids, ids]
        await feed.stop()

    asyncio.run(story())


def test_late_commit_is_not_missed(store):
    async def story():
        feed, start = Feed(store, wait_s=0.02), now()
        late = decision_row(created_at=now())
        watching = asyncio.create_task(collected(feed, start, 2))
        await asyncio.to_thread(store.append, [first := decision_row(created_at=now())], [])
        await asyncio.sleep(0.1)
        await asyncio.to_thread(store.append, [late], [])
        assert set(await watching) == {first.decision_id, late.decision_id}
        await feed.stop()

    asyncio.run(story())


def test_watcher_that_comes_back_goes_on_where_it_was(store):
    async def story():
        feed = Feed(store, wait_s=0.02)
        rows = [decision_row(created_at=now()) for _ in range(3)]
        await asyncio.to_thread(store.append, rows, [])
        assert await collected(feed, rows[0].created_at, 2) == [row.decision_id for row in rows[1:]]
        await feed.stop()

    asyncio.run(story())


def test_nobody_looks_while_nobody_watches(store, monkeypatch):
    looks = []
    monkeypatch.setattr("pointsman.serving.console.feed.decisions_from", lambda *_, **__: looks.append(1) or [])

    async def story():
        feed = Feed(store, wait_s=0.01)
        await asyncio.sleep(0.1)
        assert looks == []
        await collected(feed, "", 1, timeout_s=0.1)
        n_looks = len(looks)
        await asyncio.sleep(0.1)
        assert n_looks
        assert len(looks) <= n_looks + 1
        assert feed.n_watching == 0

    asyncio.run(story())


def test_stream_ends_by_itself(store):
    async def story():
        feed = Feed(store, wait_s=0.01)
        assert await asyncio.wait_for(collected(feed, "", 1, timeout_s=0.05), 20) == []
        await feed.stop()

    asyncio.run(story())
