"""Gathers every label there is of imported turns, and combines them: who said it, how sure it is.

Explicit labels come from feedback and reviews (in rows of our own records), from files of labels by id, and from
labelled rows themselves. Implicit votes come from what happened next (`labels_from_next`) and from where a turn stands
in its session. What a classifier predicted is one more voice, but no turn is labelled by that alone.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pointsman.classifier.errors import InputError
from pointsman.classifier.labels import HEADS, Head

from . import labels_from_next
from .importers.protocol import Problems
from .label_files import labels_by
from .label_model import FloatArray, LabelModel, Source, VoteArray
from .people import Agreement, agreement, is_person

Row = Mapping[str, Any]
JsonDict = dict[str, Any]
BoolArray = npt.NDArray[np.bool_]

#: The heads of the classifier, and whether the turn worked out.
OUTCOME: Final = "outcome"
LABELS: Final[dict[str, tuple[str, ...]]] = {
    **{str(h): ls for h, ls in HEADS.items()},
    OUTCOME: labels_from_next.LABELS,
}
MODEL: Final = "model"

#: By the part of a source's name before the colon. People agree with each other on 0.87 of categories and 0.80 to 0.95
#: of the other heads (`data/README.md`); the classifier with people on about 0.75 of categories.
_BELIEFS: Final = {
    "person": Source("person", 0.92, 40.0, 1.0),
    "feedback": Source("feedback", 0.9, 40.0, 1.0),
    "file": Source("file", 0.92, 40.0, 1.0),
    "llm": Source("llm", 0.8, 20.0),
    MODEL: Source(MODEL, 0.75, 20.0),
}
_POSITION: Final = ("first_turn", "says_wrong", "repeats_error", "approves")

#: Labels what a bundle predicts for a row.
Assess = Callable[[Row], Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class CombinedLabel:
    """One label: `certainty` is its probability, `sources` are those that voted for it."""

    label: str
    certainty: float
    sources: tuple[str, ...]

    def to_json(self) -> JsonDict:
        return {"label": self.label, "certainty": self.certainty, "sources": list(self.sources)}


@dataclass(frozen=True, slots=True)
class SourceReport:
    """One source on one head: on how many turns it voted, and how often it is thought to be right."""

    name: str
    n_votes: int
    coverage: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class HeadReport:
    """One head: its sources, the labels that came out, and how far people agree where several labelled a turn."""

    n_labelled: int
    certainty: float
    labels: dict[str, int]
    sources: list[SourceReport]
    people: Agreement = field(default_factory=Agreement)


@dataclass(slots=True)
class Summary:
    """What was gathered.

    `n_labelled` turns have a label from a reader other than the classifier, `n_complete` of them one on all four heads.
    `n_unknown_ids` ids of the label files belong to no turn.
    """

    n_turns: int = 0
    n_labelled: int = 0
    n_complete: int = 0
    n_unknown_ids: int = 0
    heads: dict[str, HeadReport] = field(default_factory=dict)


@dataclass(slots=True)
class _Votes:
    """Votes on one head as they are met; becomes an array once all sources are known."""

    n_labels: int
    names: dict[str, int] = field(default_factory=dict)
    cast: list[tuple[int, int, int]] = field(default_factory=list)

    def add(self, row: int, name: str, label: int) -> None:
        self.cast.append((row, self.names.setdefault(name, len(self.names)), label))

    def array(self, n_rows: int) -> VoteArray:
        votes = np.full((n_rows, len(self.names)), self.n_labels, dtype=np.int64)
        if self.cast:
            rows, sources, labels = np.array(self.cast).T
            votes[rows, sources] = labels
        return votes


@dataclass(frozen=True, slots=True)
class Labels:
    """Combined labels of a set of turns.

    Attributes
    ----------
    by_id : dict
        Turn id to head (and `outcome`) to label. A head that only the classifier spoke of is labelled where somebody
        labelled another one; turns that nobody else spoke of are left out.
    summary : Summary
    """

    by_id: dict[str, dict[str, CombinedLabel]]
    summary: Summary


def gather(rows: Iterable[Row], files: Sequence[Path] = (), *, assess: Assess | None = None) -> Labels:
    """Combine all labels of turns.

    Parameters
    ----------
    rows : iterable of mapping
        As `pointsman import` writes them; those of a session in their order.
    files : sequence of Path
        Labels by id (`label_files`).
    assess : callable, optional
        Predicts the labels of a row that somebody labelled and that holds no prediction.

    Raises
    ------
    InputError
        A label file cannot be read, or a row has no id.
    """
    judged = labels_by(files)
    votes = {name: _Votes(len(labels)) for name, labels in LABELS.items()}
    before: dict[str, Row] = {}
    ids: list[str] = []
    explicit: list[bool] = []
    for number, row in enumerate(rows):
        if row.get("id") is None:
            msg = f"turn {number + 1} has no id; expected one a turn, by which labels are told apart. Add ids."
            raise InputError(msg)
        ids.append(str(row["id"]))
        session = str(row.get("session") or row.get("group") or "")
        found = list(explicit_labels(row, judged.get(ids[-1], {})))
        explicit.append(bool(found))
        for name, source, label in (*found, *_implicit(row, before.get(session), assess if found else None)):
            votes[name].add(number, source, LABELS[name].index(label))
        before[session] = row
    is_explicit = np.array(explicit, dtype=bool)
    summary = Summary(len(ids), int(is_explicit.sum()), n_unknown_ids=len(judged.keys() - set(ids)))
    combined: dict[str, dict[str, CombinedLabel]] = {}
    for name, cast in votes.items():
        summary.heads[name] = _combine(name, cast, ids, is_explicit, combined)
    summary.n_complete = sum(all(head in labels for head in HEADS) for labels in combined.values())
    return Labels(combined, summary)


def explicit_labels(row: Row, judged: Mapping[str, Mapping[Any, str]]) -> Iterator[tuple[Head, str, str]]:
    """Yield (head, source, label) as people and language models said."""
    explicit = [(by, labels) for by, labels in judged.items() if labels]
    given = row.get("votes")
    if isinstance(given, list):
        explicit += [(str(vote.get("source")), vote) for vote in given if isinstance(vote, dict)]
    elif any(row.get(head) in labels for head, labels in HEADS.items()):
        explicit.append(("file", row))
    for source, labels in explicit:
        yield from ((head, source, str(labels[head])) for head in HEADS if labels.get(head) in HEADS[head])


def _implicit(row: Row, before: Row | None, assess: Assess | None) -> Iterator[tuple[str, str, str]]:
    """Yield (head, source, label) as the classifier predicted and as signs say."""
    predicted = row.get("assessed")
    if predicted is None and assess is not None:
        predicted = assess(row)
    if isinstance(predicted, Mapping):
        yield from ((head, MODEL, str(predicted[head])) for head in HEADS if predicted.get(head) in HEADS[head])
    yield from (("turn", source, label) for source, label in _position(row, before))
    for source, vote in labels_from_next.SOURCES.items():
        if (cast := vote(row)) != labels_from_next.SILENT:
            yield OUTCOME, source, labels_from_next.LABELS[cast]


def _position(row: Row, before: Row | None) -> Iterator[tuple[str, str]]:
    """Yield what a turn's place in its session says of the head `turn`."""
    if before is None or not isinstance(before.get("next"), Mapping):
        features = row.get("features")
        if row.get("position") == 0 and isinstance(features, Mapping) and features.get("n_context") == 0:
            yield "first_turn", "new"
        return
    said = before["next"]
    if said.get("says_wrong"):
        yield "says_wrong", "correct"
    if said.get("repeats_error"):
        yield "repeats_error", "correct"
    if said.get("approves"):
        yield "approves", "follow"


def _source(head: str, name: str) -> Source:
    kind, _, _ = name.partition(":")
    if name in _POSITION or (head == OUTCOME and name != "feedback"):
        belief = Source(name, 0.95, 40.0, 1.0, True) if name == "first_turn" else Source(name, is_sign=True)
    else:
        belief = _BELIEFS.get(kind, _BELIEFS["file"])
    return Source(name, belief.accuracy, belief.n_turns, belief.firmness, belief.is_sign)


def _combine(
    head: str,
    cast: _Votes,
    ids: Sequence[str],
    is_explicit: BoolArray,
    combined: dict[str, dict[str, CombinedLabel]],
) -> HeadReport:
    labels, names = LABELS[head], list(cast.names)
    votes = cast.array(len(ids))
    if not names:
        return HeadReport(0, 0.0, {}, [])
    shares = labels_from_next.SHARES if head == OUTCOME else np.full(len(labels), 1 / len(labels))
    model = LabelModel.fit(votes, [_source(head, name) for name in names], shares)
    spoken = votes != len(labels)
    others = spoken[:, [name != MODEL for name in names]].any(axis=1)
    rows = np.flatnonzero(others | (spoken.any(axis=1) & is_explicit))
    probabilities = model.probabilities(votes[rows])
    best = probabilities.argmax(axis=1)
    sure = probabilities.max(axis=1)
    for row, label, certainty in zip(rows.tolist(), best.tolist(), sure.tolist(), strict=True):
        voters = tuple(name for name, vote in zip(names, votes[row].tolist(), strict=True) if vote == label)
        combined.setdefault(ids[row], {})[head] = CombinedLabel(labels[label], round(certainty, 4), voters)
    return HeadReport(
        n_labelled=len(rows),
        certainty=round(float(sure.mean()), 4) if len(rows) else 0.0,
        labels=dict(Counter(labels[label] for label in best.tolist())),
        sources=_reports(names, spoken, model.accuracies()),
        people=_people(votes, spoken, names, labels),
    )


def _people(votes: VoteArray, spoken: BoolArray, names: Sequence[str], labels: Sequence[str]) -> Agreement:
    columns = [column for column, name in enumerate(names) if is_person(name)]
    several = np.flatnonzero(spoken[:, columns].sum(axis=1) > 1)
    return agreement([labels[votes[row, column]] for column in columns if spoken[row, column]] for row in several)


def _reports(names: Sequence[str], spoken: BoolArray, right: FloatArray) -> list[SourceReport]:
    n_votes = spoken.sum(axis=0).tolist()
    reports = [
        SourceReport(name, n, round(n / len(spoken), 4), round(float(accuracy), 3))
        for name, n, accuracy in zip(names, n_votes, right, strict=True)
    ]
    return sorted(reports, key=lambda report: -report.n_votes)


def read_rows(sources: Iterable[Path | str]) -> Iterator[JsonDict]:
    """Read imported turns from files, or the turns of stores of the service (a URL, an SQLite file).

    A row without an id gets its place, `turns:3` for line 3 of turns.jsonl.

    Raises
    ------
    InputError
        A file is missing, a line holds no object, two texts have one id (names file and line), or a store cannot be
        read.
    """
    texts: dict[str, int] = {}
    for place, row in _placed_rows(sources):
        prompt = row.get("prompt")
        if isinstance(prompt, str) and prompt and texts.setdefault(str(row["id"]), hash(prompt)) != hash(prompt):
            msg = f"{place}: id {str(row['id'])[:60]!r} is also that of an earlier turn with another text; "
            raise InputError(msg + "expected one id a turn. Give each an id of its own.")
        yield row


def _placed_rows(sources: Iterable[Path | str]) -> Iterator[tuple[str, JsonDict]]:
    """Yield rows with where they stand; each has an id."""
    from .recorded_rows import is_store, recorded_rows

    for source in sources:
        if is_store(str(source)):
            for row in recorded_rows(str(source), Problems()):
                yield "record store", row
            continue
        path = Path(source)
        if not path.is_file():
            msg = f"{path}: no such file; expected turns as `pointsman import` writes them. Check the path."
            raise InputError(msg)
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                try:
                    row = json.loads(line)
                except ValueError as error:
                    msg = f"{path}:{number}: not JSON; expected one turn a line. Import the turns again."
                    raise InputError(msg) from error
                if not isinstance(row, dict):
                    msg = f"{path}:{number}: a row is a JSON object, got {type(row).__name__}. Import the turns again."
                    raise InputError(msg)
                if row.get("id") is None:
                    row["id"] = f"{path.stem}:{number}"
                yield f"{path}:{number}", row


def labelled_row(row: Row, labels: Mapping[str, CombinedLabel]) -> JsonDict:
    """Return the row with its labels, and under `labels` how sure each is and where it comes from."""
    heads: JsonDict = {str(head): labels[head].label for head in HEADS if head in labels}
    return {**row, **heads, "labels": {name: label.to_json() for name, label in labels.items()}}
