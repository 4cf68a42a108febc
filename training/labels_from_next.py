"""Implicit labels: did a turn work out? Judged by what happened next, as noisy votes whose accuracy is estimated.

Each source looks at one sign and votes `failed`, `worked`, or not at all. None is trusted as given: a model of two
classes (Dawid & Skene 1979, "Maximum Likelihood Estimation of Observer Error-Rates", Applied Statistics 28) estimates
from the votes alone how each source votes on failed and on other turns. Staying silent is a vote of its own here: most
sources can only say one thing, and their silence tells a little of the other. Three sources that err independently are
the least that such an estimate needs; signs of the same sentence do not, so the probabilities are somewhat too sure.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

Row = Mapping[str, Any]
Label = Literal["worked", "failed"]
FloatArray = npt.NDArray[np.float64]
VoteArray = npt.NDArray[np.int64]

WORKED: Final = 0
FAILED: Final = 1
SILENT: Final = 2
LABELS: Final[tuple[Label, Label]] = ("worked", "failed")

#: Fewer words in common than this, and the next prompt is about something else.
_NEW_SUBJECT: Final = 0.1
#: More, and it asks for the same thing again.
_SAME_REQUEST: Final = 0.8
#: Each source starts as one that is right three times in four, worth this many turns.
_PRIOR_TURNS: Final = 8.0
_PRIOR_ACCURACY: Final = 0.75
_MAX_STEPS: Final = 500
_TOLERANCE: Final = 1e-7


@dataclass(frozen=True, slots=True)
class SourceReport:
    """What was learnt of one source: how often it voted, and how often it is right when it does."""

    name: str
    n_votes: int
    accuracy: float


@dataclass(frozen=True, slots=True)
class TurnLabel:
    """The label of one turn: `sources` are those that voted for it."""

    id: str
    label: Label
    confidence: float
    sources: tuple[str, ...]


def _next(row: Row, name: str) -> Any:
    following = row.get("next")
    return following.get(name) if isinstance(following, Mapping) else None


def _correction(row: Row) -> int:
    return FAILED if _next(row, "says_wrong") else SILENT


def _undo(row: Row) -> int:
    return FAILED if row.get("is_undone") or _next(row, "asks_undo") else SILENT


def _repeated_error(row: Row) -> int:
    return FAILED if _next(row, "repeats_error") else SILENT


def _repeated_request(row: Row) -> int:
    return FAILED if _next(row, "is_repeat") or (_next(row, "similarity") or 0.0) > _SAME_REQUEST else SILENT


def _abandoned(row: Row) -> int:
    return FAILED if row.get("is_interrupted") and not row.get("next") else SILENT


def _interrupted(row: Row) -> int:
    return FAILED if row.get("is_interrupted") and row.get("next") else SILENT


def _approval(row: Row) -> int:
    return WORKED if _next(row, "approves") else SILENT


def _moved_on(row: Row) -> int:
    similarity = _next(row, "similarity")
    moved = similarity is not None and similarity < _NEW_SUBJECT and not _next(row, "n_errors")
    return WORKED if moved and not row.get("is_interrupted") else SILENT


def _feedback(row: Row) -> int:
    outcome = row.get("outcome")
    if outcome is None:
        return SILENT
    return WORKED if outcome == "success" else FAILED


SOURCES: Final[dict[str, Callable[[Row], int]]] = {
    "correction": _correction,
    "undo": _undo,
    "repeated_error": _repeated_error,
    "repeated_request": _repeated_request,
    "abandoned": _abandoned,
    "interrupted": _interrupted,
    "approval": _approval,
    "moved_on": _moved_on,
    "feedback": _feedback,
}


def votes_of(rows: Iterable[Row]) -> VoteArray:
    """Collect the votes of all sources, shape (n_rows, n_sources), in the order of `SOURCES`."""
    votes = [[vote(row) for vote in SOURCES.values()] for row in rows]
    return np.array(votes, dtype=np.int64).reshape(-1, len(SOURCES))


@dataclass(frozen=True, slots=True)
class LabelModel:
    """How often turns fail, and how each source votes on those that do and those that do not.

    `rates` has shape (n_sources, 2, 3): source, true class, vote.
    """

    failure_rate: float
    rates: FloatArray

    @classmethod
    def fit(cls, votes: VoteArray, *, failure_rate: float = 0.25) -> "LabelModel":
        """Estimate by expectation maximisation, from sources that are better than a coin.

        Parameters
        ----------
        votes : int array, shape (n_rows, n_sources)
            `WORKED`, `FAILED` or `SILENT`.
        failure_rate : float
            Where the estimate starts.
        """
        # The prior keeps the two classes from changing names, and a source with few votes near its start.
        prior = _prior(votes)
        model = cls(failure_rate, prior / prior.sum(axis=2, keepdims=True))
        for _ in range(_MAX_STEPS):
            failed = model.failure_probabilities(votes)
            fitted = cls(*_maximise(votes, failed, prior))
            change = np.abs(fitted.rates - model.rates).max(initial=abs(fitted.failure_rate - model.failure_rate))
            model = fitted
            if change < _TOLERANCE:
                break
        return model

    def failure_probabilities(self, votes: VoteArray) -> FloatArray:
        """Return the probability that each turn failed, shape (n_rows,)."""
        sources = np.arange(votes.shape[1])
        logs = np.log(self.rates)
        worked, failed = (logs[sources, true, votes].sum(axis=1) for true in (WORKED, FAILED))
        odds = failed - worked + np.log(self.failure_rate) - np.log1p(-self.failure_rate)
        return np.asarray(1.0 / (1.0 + np.exp(-np.clip(odds, -500, 500))), dtype=np.float64)

    def accuracies(self) -> FloatArray:
        """Return how often each source is right when it votes, shape (n_sources,)."""
        share = np.array([1 - self.failure_rate, self.failure_rate])
        spoken = (self.rates[:, :, :SILENT] * share[:, None]).sum(axis=(1, 2))
        right = self.rates[:, WORKED, WORKED] * share[WORKED] + self.rates[:, FAILED, FAILED] * share[FAILED]
        return np.asarray(right / spoken, dtype=np.float64)


def _prior(votes: VoteArray) -> FloatArray:
    """Give each source the share of votes that it has, three of four of them on the right class."""
    seen = np.stack(
        [(votes == vote).mean(axis=0) if len(votes) else np.full(votes.shape[1], 1 / 3) for vote in range(3)]
    )
    seen = np.maximum(seen.T, 1e-3)  # (n_sources, 3)
    prior = np.repeat(seen[:, None, :], 2, axis=1)  # (n_sources, 2, 3)
    for true in (WORKED, FAILED):
        prior[:, true, true] *= 2 * _PRIOR_ACCURACY
        prior[:, true, 1 - true] *= 2 * (1 - _PRIOR_ACCURACY)
    return np.asarray(_PRIOR_TURNS * prior / prior.sum(axis=2, keepdims=True), dtype=np.float64)


def _maximise(votes: VoteArray, failed: FloatArray, prior: FloatArray) -> tuple[float, FloatArray]:
    counts = prior.copy()
    for vote in range(3):
        is_vote = (votes == vote).astype(np.float64)  # (n_rows, n_sources)
        counts[:, FAILED, vote] += failed @ is_vote
        counts[:, WORKED, vote] += (1 - failed) @ is_vote
    rate = (failed.sum() + 1.0) / (len(failed) + 4.0)
    return float(rate), counts / counts.sum(axis=2, keepdims=True)


def label_turns(rows: Sequence[Row]) -> tuple[list[TurnLabel], list[SourceReport]]:
    """Label the turns on which any source voted, and report on the sources.

    Parameters
    ----------
    rows : sequence of mapping
        As `pointsman import` writes them.

    Returns
    -------
    labels : list of TurnLabel
        `failed` or `worked` with the probability of that label; turns without a vote are left out.
    sources : list of SourceReport
    """
    votes = votes_of(rows)
    model = LabelModel.fit(votes)
    names = tuple(SOURCES)
    labels = []
    for row, cast, failed in zip(rows, votes, model.failure_probabilities(votes), strict=True):
        if (cast == SILENT).all():
            continue
        label = FAILED if failed >= 0.5 else WORKED
        sources = tuple(name for name, vote in zip(names, cast, strict=True) if vote == label)
        confidence = round(float(failed if label == FAILED else 1 - failed), 4)
        labels.append(TurnLabel(str(row["id"]), LABELS[label], confidence, sources))
    n_votes = (votes != SILENT).sum(axis=0)
    accuracies = model.accuracies()
    reports = [SourceReport(n, int(k), round(float(a), 3)) for n, k, a in zip(names, n_votes, accuracies, strict=True)]
    return labels, reports
