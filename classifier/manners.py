"""How a session tempers the cheapest choice: a table of where a turn stands and which moves it may make from there.

    situation   where the turn stands                       up            level         down
    first       nothing was decided before                  free          free          free
    new         a task begins                               if it pays    if it pays    if it pays
    follow      the task goes on                            past margin   never         never
    correct     the last answer was called wrong            if it pays    never         never
    subagent    the first turn of a session's subagent      if it pays    if it pays    never
    pressed     corrected too often in a row                to a careful model, whatever it costs

"If it pays": the total expected cost is lower, the switch and the lost cache included. Within a turn nothing moves at
all (`policy.keep`). A session whose model does not take the request must leave it, upwards where it can.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from .assessment import CandidateCost
from .catalog import Catalog, Model
from .reasons import Note, usd

Situation = Literal["first", "new", "follow", "correct", "subagent", "pressed"]


@dataclass(frozen=True, slots=True)
class Moves:
    """Which moves a situation allows, and what a move has to save of the cost of staying (0 to 1)."""

    up: bool = True
    level: bool = False
    down: bool = False
    with_margin: bool = False

    def allow(self, step: int) -> bool:
        """Say whether a change of rank by `step` is allowed."""
        return self.up if step > 0 else self.down if step < 0 else self.level


TABLE: Final[Mapping[Situation, Moves]] = {
    "first": Moves(level=True, down=True),
    "new": Moves(level=True, down=True),
    "follow": Moves(with_margin=True),
    "correct": Moves(),
    "subagent": Moves(level=True),
    "pressed": Moves(level=True),
}


#: What a correction of a model says of one of another family and the same tier: the task was hard, yet makers differ.
OTHER_FAMILY: Final = 0.5


def corrections_of(models: Iterable[Model], corrections: Mapping[str, float], catalog: Catalog) -> dict[str, float]:
    """Return, per model, how many of a session's corrections count against it.

    All of its own, of its family's, and of models that are trusted with more: where those were corrected, the task is
    hard. `OTHER_FAMILY` of those in its own tier, and none of those that are trusted with less. So a correction lets no
    relative and nobody below look better than the model that was corrected.
    """
    told = [
        (catalog.rank(name), catalog.by_name[name].family, times)
        for name, times in corrections.items()
        if name in catalog.by_name
    ]
    counted = {}
    for model in models:
        own, total = catalog.rank(model.name), 0.0
        for rank, family, times in told:
            if rank > own or (rank == own and family == model.family):
                total += times
            elif rank == own:
                total += OTHER_FAMILY * times
        counted[model.name] = total
    return counted


def settle(
    costs: Sequence[CandidateCost],
    present: str | None,
    situation: Situation,
    *,
    rank: Callable[[str], int],
    margin: float,
    careful: Collection[str],
    escalate_after: int,
) -> tuple[CandidateCost, Note | None]:
    """Pick a candidate.

    Parameters
    ----------
    costs : sequence of CandidateCost
        At least one, least total first.
    present : str or None
        The session's model, or the parent's for a subagent's first turn.
    situation : Situation
        Where the turn stands.
    rank : callable
        A model's place: higher is more careful.
    margin : float
        Share of its own cost by which the model in use must be beaten inside a task.
    careful : collection of str
        Models that answer once a session is pressed.
    escalate_after : int
        For the sentence.
    """
    if situation == "pressed":
        pool = [cost for cost in costs if cost.model in careful]
        if pool:
            stay = next((cost for cost in pool if cost.model == present), pool[0])
            text = f"Corrected {escalate_after} times in a row: a careful model answers."
            return stay, Note("escalated", text)
    if present is None or situation == "first":
        return costs[0], None
    moves, own = TABLE[situation], rank(present)
    stay_cost = next((cost for cost in costs if cost.model == present), None)
    if stay_cost is None:
        return _leave(costs, present, situation, rank)
    best = next(cost for cost in costs if cost is stay_cost or moves.allow(rank(cost.model) - own))
    least_gain = margin * stay_cost.total if moves.with_margin else 0.0
    if best is stay_cost or stay_cost.total - best.total <= least_gain:
        return stay_cost, _stayed(stay_cost, situation)
    return best, _moved(best, stay_cost, situation, rank(best.model) - own)


def _leave(
    costs: Sequence[CandidateCost], present: str, situation: Situation, rank: Callable[[str], int]
) -> tuple[CandidateCost, Note]:
    """Take the least cost, but inside a task or under a parent never a lower tier while another is there."""
    held = costs if situation == "new" else [cost for cost in costs if rank(cost.model) >= rank(present)]
    text = "" if situation == "subagent" else f"{present}, in use so far, does not take this request."
    return (held or costs)[0], Note("parent_tier" if situation == "subagent" else "session_model_unfit", text)


def _stayed(stay: CandidateCost, situation: Situation) -> Note:
    if situation == "new":
        return Note("new_task_stayed", f"A new task, but leaving {stay.model} would not pay.")
    if situation == "subagent":
        return Note("parent_tier", f"A subagent keeps to its session's model, {stay.model}.")
    return Note("task_goes_on", f"The task goes on: {stay.model} stays.")


def _moved(best: CandidateCost, stay: CandidateCost, situation: Situation, step: int) -> Note:
    if situation == "correct":
        return Note("corrected_up", f"Up to {best.model}: the last answer of {stay.model} was called wrong.")
    if situation == "follow":
        return Note("moved_up", f"Up to {best.model}: staying would cost clearly more.")
    if situation == "subagent":
        code = "moved_up" if step > 0 else "parent_tier"
        return Note(code, f"A subagent's own stakes: {best.model} instead of its session's {stay.model}.")
    saved = usd(stay.total - best.total)
    return Note("new_task_left", f"A new task: leaving {stay.model} saves {saved} USD, the switch included.")
