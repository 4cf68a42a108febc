"""Whether turns worked out, of millions: turns with the same votes are labelled once, with how many there are.

What `labels_from_next` makes of the patterns of votes, each as often as it occurs, holds for all turns. There are some
hundred patterns, whatever the number of turns. Nothing but votes is needed of a turn, so nothing else is kept.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import numpy as np

from pointsman.training.labels_from_next import SILENT, SOURCES, SourceReport, TurnLabel, label_votes

Pattern = tuple[int, ...]
#: More turns are scaled down to this many; a pattern keeps one at least.
_MAX_ROWS: Final = 20_000


def label_patterns(counts: Mapping[Pattern, int]) -> tuple[dict[Pattern, TurnLabel], list[SourceReport]]:
    """Label each pattern on which any source voted, and report on the sources.

    Parameters
    ----------
    counts : mapping
        How many turns voted so.
    """
    scale = min(1.0, _MAX_ROWS / max(1, sum(counts.values())))
    patterns = list(counts)
    places = [place for place, pattern in enumerate(patterns) for _ in range(max(1, round(counts[pattern] * scale)))]
    votes = np.array([patterns[place] for place in places], dtype=np.int64).reshape(-1, len(SOURCES))
    found, reports = label_votes([str(place) for place in places], votes)
    labels = {patterns[int(label.id)]: label for label in found}
    return labels, [replace(report, n_votes=_n_votes(report.name, counts)) for report in reports]


def _n_votes(name: str, counts: Mapping[Pattern, int]) -> int:
    source = list(SOURCES).index(name)
    return sum(n for pattern, n in counts.items() if pattern[source] != SILENT)
