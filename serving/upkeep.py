"""What the service does beside answering: takes up changed files, and learns from its own records.

Both run off the event loop, replace catalogue and policy as a whole, and change nothing when they fail.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from starlette.concurrency import run_in_threadpool

from pointsman.classifier.catalog import Catalog
from pointsman.classifier.drift import Drift, compare, spans_of
from pointsman.classifier.errors import ConfigError
from pointsman.classifier.evidence import Tallies
from pointsman.classifier.outcomes import learn_loads, tally_outcomes
from pointsman.classifier.policy_file import Policy
from pointsman.classifier.records import utc_now
from pointsman.classifier.router import Router

from .errors import ServingError
from .heap import give_back
from .history import judgements, seen_loads, seen_signals, seen_turns
from .settings import Settings
from .spending import Spending
from .store import Store
from .telemetry import DRIFT_ALERT, DRIFT_SCORE, DRIFT_TURNS, RELOADS, Telemetry

logger = logging.getLogger(__name__)

#: Three half-lives: what is older counts for less than an eighth.
_OUTCOME_DAYS: Final = 180
#: What turns send changes with the clients; a fortnight is enough to see it.
_LOAD_DAYS: Final = 14
#: Drift is a matter of days: the last of them against those before, looked at every hour.
_DRIFT_DAYS: Final = 35
_RECENT_DAYS: Final = 7
_DRIFT_WAIT_S: Final = 3600.0
#: Where nothing is learned, budgets still count what other workers spent.
_SPENDING_WAIT_S: Final = 300.0
_LEVELS: Final = {"alert": 2.0, "watch": 1.0}

_Signature = tuple[tuple[str, int, int], ...]


class Upkeep:
    """Keeps one router's catalogue and policy up to date."""

    def __init__(
        self, router: Router, store: Store, spending: Spending, telemetry: Telemetry, settings: Settings
    ) -> None:
        self._router, self._store, self._spending = router, store, spending
        self._telemetry, self._settings = telemetry, settings
        self._lock = threading.Lock()
        self._seen = _signature(self._files())
        self._state: dict[str, Any] = {"loaded_at": utc_now(), "problem": None}
        self._n_turns = self._n_judged = 0
        self._drift: list[Drift] = []
        self._outcomes: tuple[Mapping[str, Tallies], date] | None = None

    async def run(self) -> None:
        """Look for changes until cancelled."""
        settings = self._settings
        drift_s = max(_DRIFT_WAIT_S, settings.learn_s) if settings.learn_s else 0.0
        looks = [
            (settings.reload_s, self.reload),
            (settings.learn_s or _SPENDING_WAIT_S, self.look_for_spending),
            (settings.learn_s, self.learn),
            (drift_s, self.look_for_drift),
        ]
        await asyncio.gather(*(_repeat(wait_s, look) for wait_s, look in looks if wait_s))

    def describe(self) -> dict[str, Any]:
        """Return when the files were taken up, what is wrong with newer ones, and what was learned."""
        learned = {"n_turns": self._n_turns, "n_judged": self._n_judged}
        drift = {found.signal: {"score": found.score, "level": found.level} for found in self._drift}
        return {"files": self._state, "learned": learned, "drift": drift}

    def reload(self) -> bool:
        """Take up changed files after checking them whole; say whether anything was taken up."""
        found = _signature(self._files())
        if found == self._seen:
            return False
        with self._lock:
            try:
                catalog = Catalog.load(self._router.catalog.path)
                policy = Policy.load(self._router.policy.path)
                self._router.use(catalog=catalog, policy=policy)
            except (ConfigError, OSError) as exc:
                # The old ones go on; the same broken file is said once.
                self._seen = found
                self._state = self._state | {"problem": str(exc)}
                self._telemetry.observe(RELOADS, outcome="refused")
                logger.error("changed files cannot be used, the old ones stay", extra={"problem": str(exc)})
                return False
        self._seen = _signature(self._files())
        self._state = {"loaded_at": utc_now(), "problem": None}
        self._telemetry.observe(RELOADS, outcome="taken_up")
        logger.info("files taken up", extra={"catalog": catalog.version, "policy": policy.version})
        self.look_for_spending()
        if self._settings.learn_s:
            self.learn()
        return True

    def look_for_spending(self) -> None:
        """Count anew what was spent this month, where the policy has budgets."""
        try:
            self._spending.read(self._store)
        except ServingError as exc:
            logger.warning("spending not read, the record store failed", extra={"error": type(exc).__name__})

    def learn(self) -> None:
        """Count outcomes and loads anew."""
        now = datetime.now(UTC)
        try:
            turns = seen_turns(self._store, _since(now, _OUTCOME_DAYS))
            judged = judgements(self._store, _since(now, _OUTCOME_DAYS))
            loads = seen_loads(self._store, _since(now, _LOAD_DAYS))
        except ServingError as exc:
            logger.warning("nothing learned, the record store failed", extra={"error": type(exc).__name__})
            return
        outcomes = tally_outcomes(turns, judged, as_of=now.date())
        with self._lock:
            catalog, policy = self._router.catalog, self._router.policy
            self._outcomes = (outcomes, now.date()) if outcomes else None
            catalog = self.with_outcomes(catalog)
            if loads:
                policy = policy.with_loads(learn_loads(loads, policy))
            self._n_turns, self._n_judged = len(turns), len(judged)
            self._router.use(catalog=catalog, policy=policy)
        del turns, judged, loads
        give_back()

    def with_outcomes(self, catalog: Catalog) -> Catalog:
        """Return a catalogue with the outcomes that were learned last."""
        return catalog if self._outcomes is None else catalog.with_outcomes(*self._outcomes)

    def look_for_drift(self) -> None:
        """Compare the last days' turns with those before, and set the gauges."""
        now = datetime.now(UTC)
        try:
            seen = seen_signals(self._store, _since(now, _DRIFT_DAYS))
        except ServingError as exc:
            logger.warning("no look for drift, the record store failed", extra={"error": type(exc).__name__})
            return
        reference, recent = spans_of(seen, recent_days=_RECENT_DAYS, reference_days=_DRIFT_DAYS - _RECENT_DAYS)
        self._drift = compare(reference, recent)
        self._telemetry.observe(DRIFT_TURNS, len(reference), span="reference")
        self._telemetry.observe(DRIFT_TURNS, len(recent), span="recent")
        for found in self._drift:
            self._telemetry.observe(DRIFT_SCORE, found.score, signal=found.signal)
            self._telemetry.observe(DRIFT_ALERT, _LEVELS.get(found.level, 0.0), signal=found.signal)
            if found.level == "alert":
                logger.warning("turns drift", extra={"signal": found.signal, "score": found.score})

    def _files(self) -> tuple[Path, ...]:
        return (*self._router.catalog.files, *self._router.policy.files)


async def _repeat(wait_s: float, look: Callable[[], Any]) -> None:
    while True:
        try:
            await run_in_threadpool(look)
        except Exception:
            logger.exception("upkeep failed")
        await asyncio.sleep(wait_s)


def _signature(files: tuple[Path, ...]) -> _Signature:
    found = []
    for path in files:
        try:
            stat = path.stat()
        except OSError:
            found.append((str(path), 0, 0))
        else:
            found.append((str(path), stat.st_mtime_ns, stat.st_size))
    return tuple(found)


def _since(now: datetime, days: int) -> str:
    return (now - timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
