"""Which turns a person should label first: those whose labels would change most of what is decided.

The value of a label is how far the decision's expected cost would move if the label were known. Turns that resemble
each other teach the classifier much the same, so a turn counts for its neighbours too, and once one of them is in the
queue the others count less: the queue is picked greedily, each time the turn that adds most (facility location).

    from pointsman.classifier.review import Candidate, review_queue

    queue = review_queue((Candidate.of(record) for record in records), router.catalog, router.policy, limit=50)
    [(item.id, item.value_usd, item.change_probability) for item in queue]
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from .assessment import Assessment, Kind, Turn
from .catalog import Catalog
from .labels import CATEGORIES, RISKS, SCOPES, needs_care
from .limits import UNLIMITED, Limits
from .policy import choose
from .policy_file import Policy
from .records import DecisionRecord

FloatArray = npt.NDArray[np.float64]

#: Beyond this many the turns of least value are not looked at: similarities are compared in pairs.
MAX_POOL: Final = 2_000
#: Cosine from which on one turn tells something of another; at 1 it tells all. Of 300 turns of `data/turns`, pairs have
#: a median of 0.25 and reach 0.61 at the 99th percentile; nearest neighbours have 0.69 (minilm-2, 2026-11-22).
_ALIKE: Final = 0.5

#: Whether a turn needs care, by (category and scope, risk); shape (n_categories * n_scopes, n_risks).
_CARE: Final = np.array([[needs_care(c, r, s) for r in RISKS] for c in CATEGORIES for s in SCOPES])


@dataclass(frozen=True, slots=True)
class Candidate:
    """One turn that could be labelled.

    Attributes
    ----------
    id : str
        Of the decision, or of the row.
    turn : Turn
        Its sizes and needs count; its text need not be there.
    assessment : Assessment
        What the classifier thinks of it.
    limits : Limits
        What narrowed its decision, the bundle's care threshold among it.
    embedding : float array or None
        Unit vector of its text; without one it stands for itself alone.
    """

    id: str
    turn: Turn
    assessment: Assessment
    limits: Limits = UNLIMITED
    embedding: npt.NDArray[np.floating] | None = None

    @classmethod
    def of(cls, record: DecisionRecord, embedding: npt.NDArray[np.floating] | None = None) -> Candidate | None:
        """Return the turn that a record begins; None where nothing was assessed or weighed."""
        if record.assessment is None or record.kind is Kind.BACKGROUND or not record.expected_cost:
            return None
        return cls(record.decision_id, record.to_turn(), record.assessment, record.limits, embedding)


class Value(NamedTuple):
    """What knowing a turn's labels would change.

    Attributes
    ----------
    usd : float
        How far the expected cost of the turn would move, either way.
    change_probability : float
        How likely another model would be taken.
    """

    usd: float
    change_probability: float


class QueueItem(NamedTuple):
    """One turn of the queue; `gain_usd` is what it adds to those before it, its neighbours counted."""

    id: str
    value_usd: float
    change_probability: float
    gain_usd: float


def label_value(candidate: Candidate, catalog: Catalog, policy: Policy) -> Value:
    """Weigh what would be decided with the labels against what is decided without.

    The turn is taken as the first of its session, with tokens as expected. Where the policy enforces a risk bound, a
    turn known to need care goes to no cheap model, and one known not to may.

    Parameters
    ----------
    candidate : Candidate
        Assessed by the bundle whose labels are wanted.
    catalog, policy
        `policy.check(catalog)` has passed.
    """
    threshold = candidate.limits.care_threshold if policy.enforce_risk_bound else None
    limits = replace(candidate.limits, care_threshold=None, wanted=None)
    costs = choose(candidate.turn, candidate.assessment, None, catalog, policy, limits=limits).expected_cost
    if len(costs) < 2:
        return Value(0.0, 0.0)
    places, risks = _beliefs(candidate.assessment, policy)
    weights = places[:, None] * risks  # (n_places, n_risks)
    rates = catalog.rates[[catalog.places[cost.model] for cost in costs]]  # (n_models, n_places)
    # Efforts and the like moved a model's rate: by the same factor everywhere.
    rates = rates * (np.array([cost.failure_probability for cost in costs]) / (rates @ places))[:, None]
    fixed = np.array([cost.tokens + cost.switch for cost in costs])
    known = fixed[:, None, None] + rates[:, :, None] * np.array(policy.loss_usd)  # (n_models, n_places, n_risks)
    is_cheap = np.array([catalog.by_name[cost.model].tier == "cheap" for cost in costs])
    barred = np.where(is_cheap & (threshold is not None and not is_cheap.all()), np.inf, 0.0)
    expected = (known * weights).sum(axis=(1, 2))
    if threshold is not None and candidate.assessment.care_probability > threshold:
        expected = expected + barred
    taken = int(expected.argmin())
    best = (known + np.where(_CARE, barred[:, None, None], 0.0)).argmin(axis=0)
    moved = np.abs(known[taken] - np.take_along_axis(known, best[None], axis=0)[0])
    return Value(float((weights * moved).sum()), float((weights * (best != taken)).sum()))


def _beliefs(assessment: Assessment, policy: Policy) -> tuple[FloatArray, FloatArray]:
    """Return P(category, scope) and P(risk), with the doubt that novelty adds, as the policy weighs them."""
    doubt = policy.novelty_weight * assessment.novelty
    categories = (1 - doubt) * np.array(assessment.category.probabilities) + doubt / len(CATEGORIES)
    risks = (1 - doubt) * np.array(assessment.risk.probabilities) + doubt / len(RISKS)
    return np.outer(categories, assessment.scope.probabilities).ravel(), risks


def review_queue(
    candidates: Iterable[Candidate | None],
    catalog: Catalog,
    policy: Policy,
    *,
    limit: int = 50,
    known: Sequence[npt.NDArray[np.floating]] = (),
) -> list[QueueItem]:
    """Order turns for labelling, the most telling first.

    Parameters
    ----------
    candidates : iterable of Candidate or None
        None, as `Candidate.of` returns, is passed over.
    catalog, policy
        What decides; `policy.check(catalog)` has passed.
    limit : int
        Length of the queue.
    known : sequence of float array
        Embeddings of turns that are labelled already: turns like them count less.

    Returns
    -------
    list of QueueItem
        Turns whose label would change nothing come last, in the order given.
    """
    pool = [(label_value(item, catalog, policy), item) for item in candidates if item is not None]
    pool.sort(key=lambda valued: -valued[0].usd)
    del pool[max(MAX_POOL, limit) :]
    if not pool:
        return []
    values = np.array([value.usd for value, _ in pool])
    alike = _similarities([item for _, item in pool], known)
    picked = _pick(values, *alike, limit)
    return [QueueItem(pool[i][1].id, *pool[i][0], gain) for i, gain in picked]


def _similarities(
    items: Sequence[Candidate], known: Sequence[npt.NDArray[np.floating]]
) -> tuple[FloatArray, FloatArray]:
    """Return how much each turn tells of each other one, and how much is known of each, all in [0, 1]."""
    alike = np.eye(len(items))
    covered = np.zeros(len(items))
    found = {i: item.embedding for i, item in enumerate(items) if item.embedding is not None}
    placed = list(found)
    if placed:
        points = np.stack(list(found.values())).astype(np.float64)  # (n_placed, n_dimensions)
        alike[np.ix_(placed, placed)] = np.maximum(_told(points @ points.T), np.eye(len(placed)))
        if known:
            covered[placed] = _told(points @ np.stack(known).astype(np.float64).T).max(axis=1)
    return alike, covered


def _told(cosines: FloatArray) -> FloatArray:
    return np.clip((cosines - _ALIKE) / (1 - _ALIKE), 0.0, 1.0)


def _pick(values: FloatArray, alike: FloatArray, covered: FloatArray, limit: int) -> list[tuple[int, float]]:
    """Pick greedily; a gain never grows, so one that is still the largest when computed anew is the largest."""

    def gain(i: int) -> float:
        return float(values @ np.maximum(alike[i] - covered, 0.0))

    heap = [(-gain(i), i) for i in range(len(values))]
    heapq.heapify(heap)
    picked: list[tuple[int, float]] = []
    while heap and len(picked) < limit:
        _, i = heapq.heappop(heap)
        now = gain(i)
        if heap and (-now, i) > heap[0]:
            heapq.heappush(heap, (-now, i))
            continue
        picked.append((i, now))
        covered = np.maximum(covered, alike[i])
    return picked
