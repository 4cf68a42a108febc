"""Drift of imported or labelled turns: what is compared, and the report of it as Markdown and JSON."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pointsman.classifier.assessment import Message
from pointsman.classifier.assessor import Assessor
from pointsman.classifier.drift import (
    DEFAULTS,
    FAILURE,
    Drift,
    Level,
    SeenSignals,
    Thresholds,
    by_day,
    compare,
    signals_of,
    spans_of,
)
from pointsman.classifier.labels import HEADS
from pointsman.classifier.prompt_form import script_of
from pointsman.classifier.text import text_of

from .label_sources import OUTCOME, gather, read_rows

Row = Mapping[str, Any]
FloatArray = npt.NDArray[np.float64]

_EMBEDDING: Final = "embedding"
_SHOWN_BINS: Final = 3
#: Of the files in `data/turns`, 100 turns each, with minilm-2 on 2026-11-22: halves of one file differ by at most 0.01,
#: everyday sessions from sessions in Chinese by 0.04, from other languages by 0.05, from security work by 0.06.
_SHIFT_WATCH: Final = 0.02
_SHIFT_ALERT: Final = 0.04


@dataclass(frozen=True, slots=True)
class SeenTurn:
    """One turn: its signals and, where a bundle read its text, its embedding."""

    signals: SeenSignals
    embedding: FloatArray | None = None


@dataclass(frozen=True, slots=True)
class DriftReport:
    """Two spans compared, and each day of the later one.

    `days` holds every day with turns, each against the reference.
    """

    about: str
    n_reference: int
    n_recent: int
    thresholds: Thresholds
    signals: list[Drift]
    days: dict[str, list[Drift]] = field(default_factory=dict)

    @property
    def alerts(self) -> list[str]:
        return [found.signal for found in self.signals if found.level == "alert"]


def read_turns(sources: Iterable[str], assessor: Assessor | None = None) -> list[SeenTurn]:
    """Read turns from files of `pointsman import`, labelled files, or record stores by their URL.

    Parameters
    ----------
    sources : iterable of str
        Paths or URLs.
    assessor : Assessor, optional
        Reads the text of turns anew: novelty, predictions and embedding are its own then.

    Raises
    ------
    InputError
        A source cannot be read.
    """
    rows = [row for source in sources for row in _rows(source)]
    # With the labels of people, or without: a turn failed where its signs say so.
    # Each under its place: sources are compared as they are, also where two use one id.
    outcomes = gather({**row, "id": str(place)} for place, row in enumerate(rows)).by_id
    seen = []
    for place, row in enumerate(rows):
        outcome = outcomes.get(str(place), {}).get(OUTCOME)
        failed = None if outcome is None else outcome.label == "failed"
        seen.append(_seen(row, failed, assessor))
    return seen


def _rows(source: str) -> Iterator[Row]:
    if "://" not in source:
        yield from read_rows([Path(source)])
        return
    from .importers.protocol import Location, Problems
    from .importers.records import RecordsImporter
    from .importers.rows import RowSettings, rows_of

    turns = RecordsImporter().turns(Location(source), _Plain(), Problems())
    yield from rows_of(turns, RecordsImporter.kind, RowSettings(keeps_text=True, salt=""))


class _Plain:
    """Cleans nothing: of these turns only counts are kept."""

    def clean(self, text: str) -> str:
        return text

    def learn_path(self, path: object) -> None:
        pass


def _seen(row: Row, failed: bool | None, assessor: Assessor | None) -> SeenTurn:
    prompt = row.get("prompt")
    features = row.get("features") or {}
    predicted = row.get("assessed") or row
    novelty, embedding = row.get("novelty"), None
    labels = {str(head): predicted.get(head) for head in HEADS}
    if assessor is not None and prompt:
        context = tuple(Message(str(item["role"]), str(item["text"])) for item in row.get("context") or ())
        [found], points = assessor.look([text_of(prompt, context)])
        labels = {str(head): getattr(found, head).label for head in HEADS}
        novelty, embedding = found.novelty, points[0].astype(np.float64)
    signals = signals_of(
        str(row.get("at") or "")[:10],
        novelty=novelty,
        n_chars=len(prompt) if prompt else features.get("n_chars"),
        script=script_of(prompt) if prompt else features.get("script"),
        labels=labels,
        failed=failed,
    )
    return SeenTurn(signals, embedding)


def drift_report(
    turns: Sequence[SeenTurn],
    reference: Sequence[SeenTurn] | None = None,
    *,
    recent_days: int = 7,
    reference_days: int = 28,
    thresholds: Thresholds = DEFAULTS,
) -> DriftReport:
    """Compare the last days with those before them, or everything with a reference.

    Parameters
    ----------
    turns : sequence of SeenTurn
        In any order.
    reference : sequence of SeenTurn, optional
        What to compare all of `turns` with, such as the training data.
    recent_days, reference_days : int
        Days with turns, where there is no reference.
    thresholds : Thresholds
        Of the signals; the embedding has its own.
    """
    if reference is None:
        early, late = spans_of([t.signals for t in turns], recent_days=recent_days, reference_days=reference_days)
        early_ids, late_ids = ({id(signals) for signals in span} for span in (early, late))
        reference = [turn for turn in turns if id(turn.signals) in early_ids]
        recent = [turn for turn in turns if id(turn.signals) in late_ids]
        about = f"the last {recent_days} days with turns against up to {reference_days} before them"
    else:
        recent, about = list(turns), "all turns against the reference"
    before, now = [turn.signals for turn in reference], [turn.signals for turn in recent]
    signals = compare(before, now, thresholds)
    moved = _embedding_drift(reference, recent, thresholds)
    signals = [*([moved] if moved is not None else []), *signals]
    days = by_day(before, (signals for signals in now if signals.day), thresholds)
    return DriftReport(about, len(reference), len(recent), thresholds, signals, days)


def embedding_shift(reference: FloatArray, recent: FloatArray) -> float:
    """Return how far the mean text moved, as a share of the spread of the texts; chance is taken off.

    Parameters
    ----------
    reference : float array, shape (n_texts, n_dimensions)
        Embeddings of the earlier texts.
    recent : float array, shape (n_texts, n_dimensions)
        Embeddings of the later ones.
    """
    spread = float(((reference - reference.mean(axis=0)) ** 2).sum(axis=1).mean())
    own = float(((recent - recent.mean(axis=0)) ** 2).sum(axis=1).mean())
    apart = float(((reference.mean(axis=0) - recent.mean(axis=0)) ** 2).sum())
    return max(0.0, apart - spread / len(reference) - own / len(recent)) / max(spread, 1e-12)


def _embedding_drift(reference: Sequence[SeenTurn], recent: Sequence[SeenTurn], thresholds: Thresholds) -> Drift | None:
    before, now = ([t.embedding for t in span if t.embedding is not None] for span in (reference, recent))
    if not before or not now:
        return None
    score = embedding_shift(np.stack(before), np.stack(now))
    level: Level = "alert" if score >= _SHIFT_ALERT else "watch" if score >= _SHIFT_WATCH else "ok"
    if min(len(before), len(now)) < thresholds.min_turns:
        level = "too_few"
    return Drift(_EMBEDDING, round(score, 4), level, len(before), len(now))


def report_json(report: DriftReport) -> str:
    """Return every figure as JSON."""
    return json.dumps(asdict(report) | {"alerts": report.alerts}, indent=2, ensure_ascii=False) + "\n"


def report_markdown(report: DriftReport) -> str:
    """Return the report for people."""
    limits = report.thresholds
    lines = [
        "# Drift",
        "",
        f"{report.n_recent} turns against {report.n_reference}: {report.about}. Scores are population stability "
        f"indices less what chance gives; from {limits.watch} on they are worth a look, from {limits.alert} on an "
        "alert. `failure` is the rise of the failure rate, `embedding` the move of the mean text over the spread of "
        f"texts (a look from {_SHIFT_WATCH}, an alert from {_SHIFT_ALERT}).",
        "",
        f"**Alerts: {', '.join(report.alerts) or 'none'}.**",
        "",
        "| signal | score | level | turns before | turns now | what moved most |",
        "|---|---|---|---|---|---|",
    ]
    for found in report.signals:
        level = found.level.replace("_", " ")
        cells = (found.signal, f"{found.score:.3f}", level, found.n_reference, found.n_recent, _moved(found))
        lines.append(f"| {' | '.join(map(str, cells))} |")
    if report.days:
        names = [found.signal for found in report.signals if found.signal != _EMBEDDING]
        lines += ["", "## By day", "", f"| day | turns | {' | '.join(names)} |", f"|---|---|{'---|' * len(names)}"]
        lines += [_day_line(day, found, names) for day, found in report.days.items()]
        lines += ["", "Bold: alert. In brackets: too few turns to judge."]
    return "\n".join(lines) + "\n"


def _moved(found: Drift) -> str:
    names = {*found.reference, *found.recent}
    rise = {name: found.recent.get(name, 0.0) - found.reference.get(name, 0.0) for name in names}
    most = sorted(rise, key=lambda name: (-abs(rise[name]), name))[:_SHOWN_BINS]
    return ", ".join(f"{name} {found.reference.get(name, 0):.0%} → {found.recent.get(name, 0):.0%}" for name in most)


def _day_line(day: str, signals: Sequence[Drift], names: Sequence[str]) -> str:
    found = {drift.signal: drift for drift in signals}
    n_turns = max((drift.n_recent for drift in signals if drift.signal != FAILURE), default=0)
    return f"| {day} | {n_turns} | {' | '.join(_cell(found.get(name)) for name in names)} |"


def _cell(found: Drift | None) -> str:
    if found is None:
        return ""
    shown = f"{found.score:.2f}"
    return f"**{shown}**" if found.level == "alert" else f"({shown})" if found.level == "too_few" else shown
