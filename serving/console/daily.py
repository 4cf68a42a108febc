"""Savings day by day: each day is counted once and kept, so that a month of traffic is not counted on every look.

A day that is over is counted anew after some hours, since feedback on it may still come; the present one after a
minute. Days are counted one after another in the background, newest first, and pages show what is there. Sessions that
go on after midnight are taken as two.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, NamedTuple

import sqlalchemy as sa
from starlette.concurrency import run_in_threadpool

from pointsman.classifier.records import FeedbackRecord
from pointsman.classifier.replay.case import cases_of
from pointsman.classifier.replay.savings import savings_answer, savings_of
from pointsman.serving.errors import ServingError
from pointsman.serving.history import decisions_between
from pointsman.serving.services import Services
from pointsman.serving.store import DECISIONS, FEEDBACK, Store
from pointsman.serving.turn_log import log_of

from .decisions import fetch

#: Newest requests of one day that are looked at.
MAX_REQUESTS: Final = 20_000
_KEEP_TODAY_S: Final = 60.0
_KEEP_S: Final = 6 * 3600.0
_N_KEPT: Final = 800
#: How long a page waits for days before it shows what is there.
_PATIENCE_S: Final = 0.4

_Key = tuple[str, str, str]


class Counted(NamedTuple):
    """What is known of some days: sums, and how many days are still to be counted."""

    answer: dict[str, Any]
    n_waiting: int


class Daily:
    """The days that were counted for one service."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._kept: OrderedDict[_Key, tuple[float, dict[str, Any]]] = OrderedDict()
        self._wanted: OrderedDict[str, None] = OrderedDict()
        self._counting: asyncio.Task[None] | None = None

    async def between(self, since: str, until: str) -> Counted:
        """Return the savings of days from one on and before another, empty for no end, as far as they are counted."""
        days = await run_in_threadpool(days_with_decisions, self._services.store, since, until)
        missing = [day for day in days if self._is_due(day)]
        if missing:
            self._wanted = OrderedDict.fromkeys((*missing, *self._wanted))
            if self._counting is None or self._counting.done():
                self._counting = asyncio.create_task(self._count())
            # The count goes on when the page does not wait for it.
            await asyncio.wait([self._counting], timeout=_PATIENCE_S)
        known = [answer for day in days if (answer := self._answer(day)) is not None]
        rules = self._services.model.router
        versions = {"catalog": rules.catalog.version, "policy": rules.policy.version}
        return Counted(_summed(known, since) | versions, len(days) - len(known))

    async def stop(self) -> None:
        """Let the day end that is being counted, and count no other."""
        self._wanted.clear()
        if self._counting is not None:
            await asyncio.wait([self._counting])

    async def _count(self) -> None:
        while self._wanted:
            day, _ = self._wanted.popitem(last=False)
            key = self._key(day)
            try:
                answer = await run_in_threadpool(_counted, self._services, day)
            except ServingError:
                self._wanted.clear()  # a page that is open asks again
                return
            self._kept[key] = (time.monotonic(), answer)
            self._kept.move_to_end(key)
            while len(self._kept) > _N_KEPT:
                self._kept.popitem(last=False)

    def _is_due(self, day: str) -> bool:
        found = self._kept.get(self._key(day))
        keep_s = _KEEP_TODAY_S if day == _today() else _KEEP_S
        return found is None or time.monotonic() - found[0] > keep_s

    def _answer(self, day: str) -> dict[str, Any] | None:
        found = self._kept.get(self._key(day))
        return None if found is None else found[1]

    def _key(self, day: str) -> _Key:
        # Without what was learned since the files were read: a day is priced by what was believed when it was counted.
        rules = self._services.model.router
        return day, rules.catalog.version.partition("+")[0], rules.policy.version.partition("+")[0]


def days_with_decisions(store: Store, since: str, until: str) -> list[str]:
    """Return the days that hold decisions, newest first, found one after another in the index of times."""
    found, day = [], min(_before(until), _today()) if until else _today()
    while day >= since:
        query = sa.select(sa.func.max(DECISIONS.c.created_at)).where(DECISIONS.c.created_at < _after(day))
        ((newest,),) = fetch(store, query)
        if newest is None or newest[:10] < since:
            break
        found.append(newest[:10])
        day = _before(newest[:10])
    return found


def _counted(services: Services, day: str) -> dict[str, Any]:
    records = decisions_between(services.store, day, _after(day), newest=MAX_REQUESTS)
    cases = cases_of(records, feedback_on(services.store, day))
    notes: tuple[str, ...] = ()
    if len(cases) == MAX_REQUESTS:
        notes = (f"Of {day} only the newest {MAX_REQUESTS:,} requests are counted; `pointsman savings` reads all.",)
    rules = services.model.router
    return savings_answer(savings_of(log_of(cases, day), rules.catalog, rules.policy, notes=notes)) | {
        "n_requests": len(cases)
    }


def feedback_on(store: Store, day: str) -> list[FeedbackRecord]:
    """Return the feedback on the decisions of a day, whenever it came, oldest first."""
    query = (
        sa.select(FEEDBACK.c.record)
        .join(DECISIONS, DECISIONS.c.decision_id == FEEDBACK.c.decision_id)
        .where(DECISIONS.c.created_at >= day, DECISIONS.c.created_at < _after(day))
        .order_by(FEEDBACK.c.created_at)
        .limit(MAX_REQUESTS)
    )
    return [FeedbackRecord.from_json(record) for (record,) in fetch(store, query)]


def _summed(answers: Iterable[dict[str, Any]], since: str) -> dict[str, Any]:
    """Add up the answers of days, newest first."""
    total: dict[str, float] = {}
    by_day: dict[str, dict[str, float]] = {}
    by_category: dict[str, dict[str, float]] = {}
    reported: dict[str, float] = {"n_turns": 0, "usd": 0.0, "estimated_usd": 0.0}
    assumptions: dict[str, None] = {}
    n_left_out = n_requests = 0
    for answer in answers:
        _add(total, answer["total"])
        _add(reported, answer["reported"])
        for day, spent in answer["by_day"].items():
            _add(by_day.setdefault(day, {}), spent)
        for category, spent in answer["by_category"].items():
            _add(by_category.setdefault(category, {}), spent)
        assumptions |= dict.fromkeys(answer["assumptions"])
        n_left_out += answer["n_left_out"]
        n_requests += answer["n_requests"]
    return {
        "log": f"{total.get('n_turns', 0):,.0f} turns in {n_requests:,} requests since {since}",
        "total": total or {"n_turns": 0},
        "by_day": dict(sorted(by_day.items())),
        "by_category": dict(sorted(by_category.items(), key=lambda item: (-item[1]["premium_usd"], item[0]))),
        "reported": reported,
        "n_left_out": n_left_out,
        "assumptions": list(assumptions),
    }


def _add(to: dict[str, float], more: dict[str, float]) -> None:
    for name, value in more.items():
        to[name] = to.get(name, 0) + value


def _today() -> str:
    return datetime.now(UTC).date().isoformat()


def _after(day: str) -> str:
    return (date.fromisoformat(day) + timedelta(days=1)).isoformat()


def _before(day: str) -> str:
    return (date.fromisoformat(day) - timedelta(days=1)).isoformat()
