"""Whether turns worked out, of millions: turns with the same votes are labelled once, with how many there are.

A part tells one row for each pattern of votes in it; what `labels_from_next` makes of these rows, each as often as its
pattern occurs, holds for all turns. There are some hundred patterns, whatever the number of turns.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from pointsman.training.labels_from_next import SILENT, SOURCES, Row, SourceReport, TurnLabel, label_turns

Pattern = tuple[int, ...]
#: More turns are scaled down to this many; a pattern keeps one at least.
_MAX_ROWS: Final = 20_000
#: What a vote may look at (`rows.py`); words are never kept.
_LEFT_OUT: Final = frozenset({"prompt", "context", "features", "digest"})


def signs_of(row: Row) -> dict[str, object]:
    """Return a row without its words."""
    return {name: value for name, value in row.items() if name not in _LEFT_OUT}


def label_patterns(
    counts: Mapping[Pattern, int], signs: Mapping[Pattern, Row]
) -> tuple[dict[Pattern, TurnLabel], list[SourceReport]]:
    """Label each pattern on which any source voted, and report on the sources.

    Parameters
    ----------
    counts : mapping
        How many turns voted so.
    signs : mapping
        A row of each pattern.
    """
    scale = min(1.0, _MAX_ROWS / max(1, sum(counts.values())))
    patterns = list(counts)
    rows = [
        {**signs[pattern], "id": str(number)}
        for number, pattern in enumerate(patterns)
        for _ in range(max(1, round(counts[pattern] * scale)))
    ]
    found, reports = label_turns(rows)
    labels = {patterns[int(label.id)]: label for label in found}
    return labels, [replace(report, n_votes=_n_votes(report.name, counts)) for report in reports]


def _n_votes(name: str, counts: Mapping[Pattern, int]) -> int:
    source = list(SOURCES).index(name)
    return sum(n for pattern, n in counts.items() if pattern[source] != SILENT)


def first_signs(told: Iterable[Iterable[tuple[Pattern, Row]]]) -> dict[Pattern, Row]:
    """Collect a row of each pattern from what the parts tell; the first part's counts."""
    signs: dict[Pattern, Row] = {}
    for part in told:
        for pattern, row in part:
            signs.setdefault(pattern, row)
    return signs
