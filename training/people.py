"""How far people agree with each other, on the turns that several of them labelled."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations


@dataclass(frozen=True, slots=True)
class Agreement:
    """Of the pairs of labels that two people gave one turn, the share alike, and what chance leaves of it.

    `beyond_chance` is Scott's pi: 1 is full agreement, 0 as much as labels drawn at their own frequencies would have;
    None where there is no pair, or every label is the same.
    """

    n_turns: int = 0
    n_pairs: int = 0
    share: float = 0.0
    beyond_chance: float | None = None


def is_person(source: str) -> bool:
    """Say whether a source of labels is a person who has a name, by which two of them can be told apart."""
    return source.startswith("person:")


def agreement(given: Iterable[Sequence[str]]) -> Agreement:
    """Measure agreement on one head.

    Parameters
    ----------
    given : iterable of sequence of str
        For each turn, the label of each person who gave it one.
    """
    several = [labels for labels in given if len(labels) > 1]
    pairs = [pair for labels in several for pair in combinations(labels, 2)]
    if not pairs:
        return Agreement()
    share = sum(a == b for a, b in pairs) / len(pairs)
    counts = Counter(label for pair in pairs for label in pair)
    chance = sum((n / (2 * len(pairs))) ** 2 for n in counts.values())
    beyond = (share - chance) / (1 - chance) if chance < 1 else None
    return Agreement(len(several), len(pairs), share, beyond)
