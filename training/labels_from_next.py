"""Implicit labels: did a turn work out? Judged by what happened next, as noisy votes whose accuracy is estimated.

Each source looks at one sign and votes `failed`, `worked`, or not at all. None is trusted as given: `label_model`
estimates from the votes how often each is right. Signs of the same sentence do not err independently, so the
probabilities are somewhat too sure.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np

from .label_model import LabelModel, Source, VoteArray

Row = Mapping[str, Any]
Label = Literal["worked", "failed"]

WORKED: Final = 0
FAILED: Final = 1
SILENT: Final = 2
LABELS: Final[tuple[Label, Label]] = ("worked", "failed")

#: Fewer words in common than this, and the next prompt is about something else.
_NEW_SUBJECT: Final = 0.1
#: More, and it asks for the same thing again.
_SAME_REQUEST: Final = 0.8
#: What is believed of the shares of turns that work out and that fail, before any is seen.
SHARES: Final = np.array([0.75, 0.25])
#: Words in the names of models that providers sell as smaller, or larger, than their standard one.
_SMALL: Final = re.compile(r"haiku|(?<!ge)mini|nano|flash|lite|small|fast|instant|air\b", re.IGNORECASE)
_LARGE: Final = re.compile(r"opus|ultra|max\b|large|heavy|\bpro\b", re.IGNORECASE)


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


def _tool(row: Row, name: str) -> Any:
    tools = row.get("tools")
    return tools.get(name) if isinstance(tools, Mapping) else None


def _similarity(row: Row) -> float | None:
    value = _next(row, "similarity")
    return float(value) if isinstance(value, int | float) else None


def _is_new_subject(row: Row) -> bool:
    similarity = _similarity(row)
    return similarity is not None and similarity < _NEW_SUBJECT


def _size(model: str) -> int:
    return 0 if _SMALL.search(model) else 2 if _LARGE.search(model) else 1


def _correction(row: Row) -> int:
    return FAILED if _next(row, "says_wrong") else SILENT


def _undo(row: Row) -> int:
    return FAILED if row.get("is_undone") or _next(row, "asks_undo") else SILENT


def _repeated_error(row: Row) -> int:
    return FAILED if _next(row, "repeats_error") else SILENT


def _repeated_request(row: Row) -> int:
    return FAILED if _next(row, "is_repeat") or (_similarity(row) or 0.0) > _SAME_REQUEST else SILENT


def _abandoned(row: Row) -> int:
    return FAILED if row.get("is_interrupted") and not row.get("next") else SILENT


def _interrupted(row: Row) -> int:
    return FAILED if row.get("is_interrupted") and row.get("next") else SILENT


def _revert(row: Row) -> int:
    return FAILED if _next(row, "n_reverts") else SILENT


def _escalation(row: Row) -> int:
    """Notice that the person took a larger model for the same subject."""
    models, following = row.get("models"), _next(row, "model")
    if not isinstance(models, list) or not models or not following or _is_new_subject(row):
        return SILENT
    return FAILED if _size(str(following)) > _size(str(models[-1])) else SILENT


def _tests(row: Row) -> int:
    found = _tool(row, "tests")
    return WORKED if found == "passed" else FAILED if found == "failed" else SILENT


def _commit_kept(row: Row) -> int:
    is_kept = _tool(row, "n_commits") and not _next(row, "n_reverts") and _undo(row) != FAILED
    return WORKED if is_kept else SILENT


def _approval(row: Row) -> int:
    return WORKED if _next(row, "approves") else SILENT


def _moved_on(row: Row) -> int:
    complains = any(_next(row, sign) for sign in ("n_errors", "says_wrong", "asks_undo"))
    moved = _is_new_subject(row) and not complains
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
    "revert": _revert,
    "escalation": _escalation,
    "tests": _tests,
    "commit_kept": _commit_kept,
    "abandoned": _abandoned,
    "interrupted": _interrupted,
    "approval": _approval,
    "moved_on": _moved_on,
    "feedback": _feedback,
}


#: A person's word counts as such; the others are signs.
_BELIEFS: Final = tuple(
    Source(name, 0.9, 30.0, 1.0) if name == "feedback" else Source(name, is_sign=True) for name in SOURCES
)


def votes_of(rows: Iterable[Row]) -> VoteArray:
    """Collect the votes of all sources, shape (n_rows, n_sources), in the order of `SOURCES`."""
    votes = [[vote(row) for vote in SOURCES.values()] for row in rows]
    return np.array(votes, dtype=np.int64).reshape(-1, len(SOURCES))


def fit_outcomes(votes: VoteArray) -> LabelModel:
    """Estimate how often turns fail, and how each source votes on those that do and those that do not."""
    return LabelModel.fit(votes, _BELIEFS, SHARES)


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
    return label_votes([str(row["id"]) for row in rows], votes_of(rows))


def label_votes(ids: Sequence[str], votes: VoteArray) -> tuple[list[TurnLabel], list[SourceReport]]:
    """Do what `label_turns` does from the votes alone, shape (n_ids, n_sources)."""
    model = fit_outcomes(votes)
    names = tuple(SOURCES)
    labels = []
    for name, cast, failed in zip(ids, votes, model.probabilities(votes)[:, FAILED].tolist(), strict=True):
        if (cast == SILENT).all():
            continue
        label = FAILED if failed >= 0.5 else WORKED
        sources = tuple(source for source, vote in zip(names, cast, strict=True) if vote == label)
        confidence = round(float(failed if label == FAILED else 1 - failed), 4)
        labels.append(TurnLabel(name, LABELS[label], confidence, sources))
    n_votes = (votes != SILENT).sum(axis=0)
    accuracies = model.accuracies()
    reports = [SourceReport(n, int(k), round(float(a), 3)) for n, k, a in zip(names, n_votes, accuracies, strict=True)]
    return labels, reports
