"""How often care was missed, told from what came of the turns: outcomes in feedback, and labels of reviewers.

Estimates with their intervals. Neither the turns that get feedback nor those that get reviewed are a random sample:
people speak up when something fails, and the queue asks first about the turns that matter most.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from pointsman.classifier.catalog import Catalog
from pointsman.classifier.evidence import Beta
from pointsman.classifier.labels import needs_care
from pointsman.serving.store import DECISIONS, FEEDBACK, Store

from .decisions import fetch
from .reviews import REVIEWS

_FAILED: Final = frozenset({"failure", "corrected", "escalated"})
#: Turns given up say nothing of the model.
_JUDGED: Final = _FAILED | {"success"}
_BEGINS: Final = sa.and_(DECISIONS.c.kind.in_(("task", "subagent")), DECISIONS.c.category.is_not(None))


@dataclass(frozen=True, slots=True)
class Estimate:
    """So many of so many, with the central 90 % interval of the share (Jeffreys prior, turns taken as independent)."""

    n: int
    of: int

    @property
    def share(self) -> float | None:
        """The share; None of nothing."""
        return self.n / self.of if self.of else None

    @property
    def interval(self) -> tuple[float, float]:
        """Where the share lies."""
        return Beta((self.n + 0.5) / (self.of + 1), self.of + 1.0).interval()


@dataclass(frozen=True, slots=True)
class Missed:
    """What outcomes and labels say.

    Attributes
    ----------
    n_cheap : int
        Turns that cheap models took.
    failed_cheap, failed_other : Estimate
        Of the judged turns on cheap models, and on the others, those that failed.
    care_on_cheap : Estimate
        Of the turns that reviewers' labels say need care, those that a cheap model took.
    """

    n_cheap: int
    failed_cheap: Estimate
    failed_other: Estimate
    care_on_cheap: Estimate

    @property
    def expected(self) -> tuple[float, float] | None:
        """How many turns on cheap models failed, if the unjudged ones are like the judged; None without outcomes."""
        if not self.failed_cheap.of:
            return None
        low, high = self.failed_cheap.interval
        return low * self.n_cheap, high * self.n_cheap


def missed_care(store: Store, catalog: Catalog, since: str, until: str) -> Missed:
    """Return what is known of turns from a day on and before another, empty for no end; blocks."""
    cheap = [model.name for model in catalog.models if model.tier == "cheap"]
    on_cheap = DECISIONS.c.model.in_(cheap)
    days = [DECISIONS.c.created_at >= since, *([DECISIONS.c.created_at < until] if until else [])]
    ((n_cheap,),) = fetch(store, sa.select(sa.func.count()).where(_BEGINS, on_cheap, *days))
    # The last word on each turn counts.
    last = (
        sa.select(FEEDBACK.c.decision_id, sa.func.max(FEEDBACK.c.created_at).label("at"))
        .where(FEEDBACK.c.outcome.in_(_JUDGED))
        .group_by(FEEDBACK.c.decision_id)
        .subquery()
    )
    judged = (
        sa.select(DECISIONS.c.model, FEEDBACK.c.outcome, sa.func.count())
        .join(FEEDBACK, FEEDBACK.c.decision_id == DECISIONS.c.decision_id)
        .join(last, sa.and_(last.c.decision_id == FEEDBACK.c.decision_id, last.c.at == FEEDBACK.c.created_at))
        .where(_BEGINS, FEEDBACK.c.outcome.in_(_JUDGED), *days)
        .group_by(DECISIONS.c.model, FEEDBACK.c.outcome)
    )
    counts = {(model, outcome): n for model, outcome, n in fetch(store, judged)}
    labelled = (
        sa.select(DECISIONS.c.decision_id, DECISIONS.c.model, REVIEWS.c.category, REVIEWS.c.risk, REVIEWS.c.scope)
        .join(REVIEWS, REVIEWS.c.decision_id == DECISIONS.c.decision_id)
        .where(REVIEWS.c.category.is_not(None), *days)
        .order_by(REVIEWS.c.created_at)
    )
    care = {found_id: model for found_id, model, *labels in fetch(store, labelled) if needs_care(*labels)}
    return Missed(
        n_cheap=n_cheap,
        failed_cheap=_failed({key: n for key, n in counts.items() if key[0] in cheap}),
        failed_other=_failed({key: n for key, n in counts.items() if key[0] not in cheap}),
        care_on_cheap=Estimate(sum(model in cheap for model in care.values()), len(care)),
    )


def _failed(counts: dict[tuple[str, str], int]) -> Estimate:
    return Estimate(sum(n for (_, outcome), n in counts.items() if outcome in _FAILED), sum(counts.values()))
