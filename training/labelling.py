"""A session of labelling: which turn comes next, what was chosen so far, and the file that remembers.

Each turn is on the disk as soon as its last head is chosen, so a session that is cut off goes on where it ended.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tqdm import tqdm

from pointsman.classifier.assessment import Assessment, Message, Turn
from pointsman.classifier.assessor import Assessor
from pointsman.classifier.catalog import Catalog
from pointsman.classifier.identity import hash_parts
from pointsman.classifier.labels import HEADS, Head
from pointsman.classifier.limits import Limits
from pointsman.classifier.policy_file import Policy
from pointsman.classifier.review import MAX_POOL, Candidate, review_queue
from pointsman.classifier.risk_bound import promises_of
from pointsman.classifier.text import text_of

from .label_files import Judgement, append_judgement, labels_by

_ORDER: Final = tuple(HEADS)
#: What a client sends before anyone has typed much (`classifier/policies/balanced.yaml`).
_USUAL_TOKENS: Final = 20_000


@dataclass(frozen=True, slots=True)
class Item:
    """One turn to label, with the classifier's guess, and what a label is worth."""

    id: str
    prompt: str
    context: tuple[Message, ...] = ()
    guess: Assessment | None = None
    value_usd: float = 0.0
    change_probability: float = 0.0


@dataclass(slots=True)
class Labelling:
    """Where a person stands in a queue.

    `path` takes the labels; `by` is the name they are kept under.
    """

    items: Sequence[Item]
    path: Path
    by: str
    place: int = 0
    chosen: dict[Head, str] = field(default_factory=dict)
    guess_seen: bool = False
    _history: list[bool] = field(default_factory=list)

    @property
    def item(self) -> Item | None:
        """The turn to label now; None at the end."""
        return self.items[self.place] if self.place < len(self.items) else None

    @property
    def head(self) -> Head:
        """The head to choose now."""
        return _ORDER[min(len(self.chosen), len(_ORDER) - 1)]

    @property
    def n_labelled(self) -> int:
        return sum(self._history)

    @property
    def last(self) -> Item | None:
        """The turn before, if it was labelled."""
        return self.items[self.place - 1] if self._history and self._history[-1] else None

    def choose(self, label: str) -> bool:
        """Choose a label of the present head; say whether the turn is done, and so written."""
        item = self.item
        if item is None or label not in HEADS[self.head]:
            return False
        self.chosen[self.head] = label
        if len(self.chosen) < len(_ORDER):
            return False
        append_judgement(self.path, Judgement(item.id, self.by, self.chosen), guess_seen=self.guess_seen)
        self._go(1, was_labelled=True)
        return True

    def back(self) -> None:
        """Take back the last choice of this turn."""
        if self.chosen:
            self.chosen.popitem()

    def skip(self) -> None:
        """Leave this turn; it comes again in another session."""
        if self.item is not None:
            self._go(1, was_labelled=False)

    def undo(self) -> bool:
        """Go back to the turn before, and take back its labels; say whether there was one."""
        if not self._history:
            return False
        was_labelled = self._history.pop()
        self._go(-1)
        if was_labelled and self.item is not None:
            append_judgement(self.path, Judgement(self.item.id, self.by, dict.fromkeys(HEADS, "")))
        return True

    def _go(self, step: int, *, was_labelled: bool | None = None) -> None:
        if was_labelled is not None:
            self._history.append(was_labelled)
        self.place += step
        self.chosen, self.guess_seen = {}, False


def queue_of(
    rows: Iterable[Mapping[str, Any]],
    labels: Sequence[Path],
    assessor: Assessor,
    catalog: Catalog,
    policy: Policy,
    *,
    by: str,
    limit: int,
    pool: int = MAX_POOL,
    shows_progress: bool = False,
) -> list[Item]:
    """Order imported turns for labelling, the most telling first.

    Parameters
    ----------
    rows : iterable of mapping
        As `pointsman import` writes them; those without text cannot be labelled.
    labels : sequence of Path
        Label files: turns that `by` labelled are left out, and turns like them count less.
    assessor, catalog, policy
        What decides now.
    by : str
        Who labels.
    limit : int
        Length of the queue.
    pool : int
        How many turns are looked at: a sample that stays the same while turns are added.
    shows_progress : bool
        Draw a bar while turns are assessed.
    """
    judged = {name for name, found in labels_by([path for path in labels if path.exists()]).items() if found.get(by)}
    with_text = {str(row["id"]): row for row in rows if row.get("prompt")}
    sample = sorted(with_text, key=lambda name: hash_parts("label", name))
    asked = [name for name in sample if name not in judged][:pool]
    known = [name for name in sample if name in judged][:pool]
    guesses: dict[str, Assessment] = {}
    candidates, embeddings = [], []
    limits = Limits().keeping(promises_of(assessor.risk_bounds), policy.max_missed)
    # One at a time, as requests are served: a batch moves the probabilities (`evaluate.assess_examples`).
    for name in tqdm([*asked, *known], desc="assess", unit="turn", disable=not shows_progress):
        row = with_text[name]
        [guess], embedding = assessor.look([text_of(str(row["prompt"]), _context(row))])
        if name in judged:
            embeddings.append(embedding[0])
            continue
        guesses[name] = guess
        turn = Turn(prompt=str(row["prompt"]), context=_context(row), context_tokens=_context_tokens(row))
        candidates.append(Candidate(name, turn, guess, limits, embedding[0]))
    queue = review_queue(candidates, catalog, policy, limit=limit, known=embeddings)
    return [
        Item(
            place.id,
            str(with_text[place.id]["prompt"]),
            _context(with_text[place.id]),
            guesses[place.id],
            place.value_usd,
            place.change_probability,
        )
        for place in queue
    ]


def _context(row: Mapping[str, Any]) -> tuple[Message, ...]:
    return tuple(Message(str(item["role"]), str(item["text"])) for item in row.get("context") or ())


def _context_tokens(row: Mapping[str, Any]) -> int:
    """Return the tokens that one request of the turn sent, on average."""
    usage = row.get("usage") or {}
    read = sum(int(usage.get(name, 0)) for name in ("input_tokens", "cache_read_tokens", "cache_write_tokens"))
    return read // max(int(usage.get("n_messages", 0)), 1) or _USUAL_TOKENS
