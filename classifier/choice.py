"""What a policy says of one turn, and the form of it where nothing was weighed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .assessment import CandidateCost, Exclusion, Stakes
from .catalog import Model
from .reasons import Note, codes, sentences


@dataclass(frozen=True, slots=True)
class Choice:
    """What the policy says: a model, those that could stand in for it, and why.

    Attributes
    ----------
    expected_cost : tuple of CandidateCost
        Per model, cheapest total first; empty when nothing was weighed.
    sticky : bool
        The session had this model already.
    excluded : tuple of Exclusion
        Models that were no candidates, and why.
    stakes : Stakes or None
        None when nothing was weighed.
    codes : tuple of str
        The reasons for machines, out of `reasons.CODES`.
    """

    model: str
    provider: str
    fallbacks: tuple[str, ...]
    expected_cost: tuple[CandidateCost, ...]
    reasons: tuple[str, ...]
    sticky: bool
    effort: str | None = None
    excluded: tuple[Exclusion, ...] = ()
    stakes: Stakes | None = None
    codes: tuple[str, ...] = ()


def unweighed(first: Model, rest: Sequence[Model], notes: Sequence[Note], excluded: tuple[Exclusion, ...]) -> Choice:
    """Return the choice of the first model, the others behind it in order."""
    fallbacks = tuple(model.name for model in rest)
    return Choice(
        *(first.name, first.provider, fallbacks, (), sentences(notes), False), excluded=excluded, codes=codes(notes)
    )
