"""Champion against challenger: the same turns through both, and gates that the challenger has to pass, with reasons.

Both are measured on fixed gold sets and, where there are any, on the newest labelled turns of the service. Differences
are paired: every bootstrap draw takes the same groups for both bundles, so what is hard for both cancels out.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from time import perf_counter
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pointsman.classifier import bundle as bundles
from pointsman.classifier.assessor import Assessor
from pointsman.classifier.bundle import Bundle
from pointsman.classifier.labels import HEADS, Head

from .config import ContestConfig, ParityLimits
from .datasets import Example
from .evaluate import assess_examples, plain, probabilities_of, truth_of
from .graph import encoder_digest
from .metrics import bootstrap_interval, expected_calibration_error, recall_at_share, resample

logger = logging.getLogger(__name__)

Rows = npt.NDArray[np.int64]
Statistic = Callable[["Side", Rows], float]

#: Texts that latency is measured on, and how often each: the fastest of its rounds counts, since machines are shared.
_N_TIMED: Final = 40
_N_ROUNDS: Final = 3


@dataclass(frozen=True, slots=True)
class Difference:
    """One figure of both bundles. `rise` is challenger minus champion, with the 95 % interval of the paired bootstrap.

    `p_rise` and `p_fall` are the shares of draws in which it rises and falls.
    """

    champion: float
    challenger: float
    interval: tuple[float, float]
    p_rise: float
    p_fall: float
    n_rows: int

    @property
    def rise(self) -> float:
        return self.challenger - self.champion

    def shown(self) -> str:
        """Return the figure for people."""
        low, high = self.interval
        return f"{self.champion:.3f} -> {self.challenger:.3f} ({self.rise:+.3f}; {low:+.3f} to {high:+.3f})"


@dataclass(frozen=True, slots=True)
class Gate:
    """One condition of promotion."""

    name: str
    passed: bool
    reason: str


@dataclass(frozen=True, slots=True)
class SetFigures:
    """Both bundles on one set of turns: figures by name, and per label, language and time."""

    n_rows: int
    n_groups: int
    figures: dict[str, Difference]
    recall: dict[str, Difference]
    languages: dict[str, Difference]
    days: dict[str, Difference]


@dataclass(frozen=True, slots=True)
class Contender:
    """One side of the contest as the verdict names it."""

    version: str
    digest: str
    size_bytes: int
    p50_ms: float

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"version": self.version, "digest": self.digest, "size_bytes": self.size_bytes, "p50_ms": self.p50_ms}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came out, and why."""

    champion: Contender
    challenger: Contender
    sets: dict[str, SetFigures]
    gates: tuple[Gate, ...]

    @property
    def promotes(self) -> bool:
        return all(gate.passed for gate in self.gates)

    @property
    def reason(self) -> str:
        """Return one sentence: what stands against it, or that nothing does."""
        failed = [f"{gate.name}: {gate.reason}" for gate in self.gates if not gate.passed]
        return "every gate is passed" if not failed else "; ".join(failed)


@dataclass(frozen=True)
class Side:
    """What one bundle says of the turns of one set."""

    examples: Sequence[Example]
    probabilities: Mapping[Head, npt.NDArray[np.float64]]
    care: npt.NDArray[np.float64]
    threshold: float | None = None

    @classmethod
    def of(cls, assessor: Assessor, examples: Sequence[Example]) -> "Side":
        assessments = assess_examples(assessor, examples)
        bound = assessor.risk_bound
        return cls(
            examples,
            {head: probabilities_of(head, assessments) for head in HEADS},
            np.array([assessment.care_probability for assessment in assessments]),
            None if bound is None else bound.threshold,
        )

    @cached_property
    def truth(self) -> dict[Head, Rows]:
        return {head: truth_of(head, self.examples) for head in HEADS}

    @cached_property
    def right(self) -> dict[Head, npt.NDArray[np.bool_]]:
        return {head: self.probabilities[head].argmax(axis=1) == self.truth[head] for head in HEADS}

    @cached_property
    def loss(self) -> npt.NDArray[np.float64]:
        """Log loss of each row, mean over the heads."""
        rows = np.arange(len(self.examples))
        true = np.stack([self.probabilities[head][rows, self.truth[head]] for head in HEADS])
        return np.asarray(-np.log(np.maximum(true, 1e-12)).mean(axis=0), dtype=np.float64)

    @cached_property
    def needs_care(self) -> npt.NDArray[np.bool_]:
        return np.array([example.needs_care for example in self.examples], dtype=np.bool_)

    @cached_property
    def is_high_risk(self) -> npt.NDArray[np.bool_]:
        return np.array([example.labels["risk"] == "high" for example in self.examples], dtype=np.bool_)


def contest(
    champion: Assessor,
    challenger: Assessor,
    gold: Mapping[str, Sequence[Example]],
    config: ContestConfig | None = None,
    *,
    recent: Sequence[Example] = (),
    days: Sequence[str] = (),
) -> Verdict:
    """Measure both bundles on the same turns and judge the challenger.

    Parameters
    ----------
    champion, challenger : Assessor
        The bundle that serves, and the one that would.
    gold : mapping of str to examples
        Fixed sets by name; neither bundle was trained on them.
    config : ContestConfig, optional
        Limits of the gates, draws and seed.
    recent : examples
        The newest labelled turns of the service, which the challenger was not trained on.
    days : sequence of str
        The day of each of them, as 2026-11-22.
    """
    config = config or ContestConfig()
    sets = {name: examples for name, examples in gold.items() if examples}
    if len(recent) >= config.min_recent:
        sets["recent"] = recent
    figures = {
        name: compare(
            Side.of(champion, examples),
            Side.of(challenger, examples),
            config,
            days=days if name == "recent" else (),
        )
        for name, examples in sets.items()
    }
    texts = [example.text for examples in sets.values() for example in examples][:_N_TIMED]
    speed = _latency_ms((champion, challenger), texts)
    first, second = (
        Contender(side.version, side.bundle.digest, _size_bytes(side.bundle), p50_ms)
        for side, p50_ms in zip((champion, challenger), speed, strict=True)
    )
    gates = [gate for name, found in figures.items() for gate in gates_of(name, found, config)]
    gates += _bundle_gates(champion.bundle, challenger.bundle, (first, second), config)
    return Verdict(first, second, figures, (*gates, _gain(figures, config)))


def compare(champion: Side, challenger: Side, config: ContestConfig, *, days: Sequence[str] = ()) -> SetFigures:
    """Return every figure of two sides of one set."""
    examples = champion.examples
    groups = [example.group for example in examples]
    draws = resample(groups, config.n_draws, seed=config.seed)

    def differ(statistic: Statistic, within: npt.NDArray[np.bool_] | None = None) -> Difference:
        return difference(champion, challenger, statistic, draws, within)

    def of(select: Callable[[Example], bool]) -> npt.NDArray[np.bool_]:
        return np.array([select(example) for example in examples], dtype=np.bool_)

    figures = {"log loss": differ(lambda side, rows: float(side.loss[rows].mean()))}
    for head in HEADS:
        figures[f"{head} accuracy"] = differ(_accuracy(head))
    for head in ("category", "risk"):
        figures[f"{head} calibration error"] = differ(_calibration_error(head))
    for share in config.care_shares:
        figures[f"needs care, missed at {share:.0%}"] = differ(_missed(share))
    if champion.threshold is not None and challenger.threshold is not None:
        figures["needs care, missed at the risk bound"] = differ(_missed_at_bound, champion.needs_care)
    figures["high risk, missed at 50%"] = differ(_high_risk_missed)
    recall = {
        f"{head} {label}": differ(_accuracy(head), chosen)
        for head in ("category", "risk")
        for label in HEADS[head]
        if (chosen := of(lambda example, h=head, known=label: example.labels[h] == known)).sum() >= config.min_rows  # type: ignore[misc]
    }
    languages = {
        lang: differ(_accuracy("category"), chosen)
        for lang in sorted({example.lang for example in examples})
        if (chosen := of(lambda example, known=lang: example.lang == known)).sum() >= config.min_rows  # type: ignore[misc]
    }
    by_day = {day: differ(_accuracy("category"), np.array(days) == day) for day in sorted(set(days))} if days else {}
    return SetFigures(len(examples), len(set(groups)), figures, recall, languages, by_day)


def difference(
    champion: Side,
    challenger: Side,
    statistic: Statistic,
    draws: Sequence[Rows],
    within: npt.NDArray[np.bool_] | None = None,
) -> Difference:
    """Compare one figure, over all rows or those `within`; every draw takes the same rows for both."""
    chosen = np.ones(len(champion.examples), dtype=np.bool_) if within is None else within
    everything = np.flatnonzero(chosen)
    rises = []
    for drawn in draws:
        rows = drawn[chosen[drawn]]
        if len(rows):
            rises.append(statistic(challenger, rows) - statistic(champion, rows))
    known = np.array([rise for rise in rises if np.isfinite(rise)])
    return Difference(
        champion=statistic(champion, everything),
        challenger=statistic(challenger, everything),
        interval=bootstrap_interval(known),
        p_rise=float((known > 0).mean()) if len(known) else float("nan"),
        p_fall=float((known < 0).mean()) if len(known) else float("nan"),
        n_rows=len(everything),
    )


def _accuracy(head: str) -> Statistic:
    return lambda side, rows: float(side.right[head][rows].mean())  # type: ignore[index]  # a head's name


def _calibration_error(head: str) -> Statistic:
    return lambda side, rows: expected_calibration_error(
        side.truth[head][rows],  # type: ignore[index]
        side.probabilities[head][rows],  # type: ignore[index]
    )


def _missed(share: float) -> Statistic:
    return lambda side, rows: 1 - recall_at_share(side.needs_care[rows], side.care[rows], share)


def _missed_at_bound(side: Side, rows: Rows) -> float:
    return float((side.care[rows] <= (side.threshold or 0.0)).mean())


def _high_risk_missed(side: Side, rows: Rows) -> float:
    return 1 - recall_at_share(side.is_high_risk[rows], side.care[rows], 0.5)


def gates_of(name: str, found: SetFigures, config: ContestConfig) -> list[Gate]:
    """Judge what was measured on one set."""
    return [
        _recall_gate(f"recall on {name}", found.recall, config),
        _recall_gate(f"languages on {name}", found.languages, config),
        *(
            _care_gate(f"{figure} of {name}", found.figures[figure], config)
            for figure in found.figures
            if figure.startswith(("needs care", "high risk"))
        ),
        *(
            _calibration_gate(f"{head} calibration on {name}", found.figures[f"{head} calibration error"], config)
            for head in ("category", "risk")
        ),
    ]


def _recall_gate(name: str, found: Mapping[str, Difference], config: ContestConfig) -> Gate:
    """No label may lose more than it is allowed to, unless chance alone would do that."""
    allowed = f"a drop of {config.max_recall_drop:.0%} beyond noise"
    worse = {
        label: d for label, d in found.items() if -d.rise > config.max_recall_drop and d.p_fall >= config.certainty
    }
    if worse:
        listed = ", ".join(f"{label} {d.shown()} of {d.n_rows}" for label, d in worse.items())
        return Gate(name, passed=False, reason=f"more than {allowed}: {listed}")
    if not found:
        return Gate(name, passed=True, reason=f"none has {config.min_rows} rows, so nothing was judged")
    label, worst = min(found.items(), key=lambda item: item[1].rise)
    return Gate(name, passed=True, reason=f"none has more than {allowed}; the least is {label} {worst.shown()}")


def _care_gate(name: str, found: Difference, config: ContestConfig) -> Gate:
    """Turns that need care may not be missed more often: a smaller doubt is enough here than elsewhere."""
    if not np.isfinite(found.rise):
        return Gate(name, passed=True, reason="no such turn in this set, so nothing was judged")
    worse = found.rise > config.max_missed_rise or (found.rise > 0 and found.p_rise >= config.care_certainty)
    return Gate(name, not worse, f"{'missed more often' if worse else 'not missed more often'}: {found.shown()}")


def _calibration_gate(name: str, found: Difference, config: ContestConfig) -> Gate:
    worse = found.rise > config.max_ece_rise and found.p_rise >= config.certainty
    return Gate(name, not worse, f"a rise of {config.max_ece_rise:.3f} beyond noise is allowed: {found.shown()}")


def _bundle_gates(
    champion: Bundle, challenger: Bundle, sides: tuple[Contender, Contender], config: ContestConfig
) -> list[Gate]:
    first, second = sides
    slower, larger = second.p50_ms / first.p50_ms, second.size_bytes / first.size_bytes
    return [
        Gate(
            "latency",
            slower <= config.max_slowdown,
            f"{first.p50_ms:.2f} -> {second.p50_ms:.2f} ms a turn, {slower:.2f} of the champion's; "
            f"{config.max_slowdown} is allowed",
        ),
        Gate(
            "size",
            larger <= config.max_growth,
            f"{first.size_bytes / 1e6:.1f} -> {second.size_bytes / 1e6:.1f} MB, {larger:.2f} of the champion's; "
            f"{config.max_growth} is allowed",
        ),
        parity_gate(challenger, champion, config.parity),
        _promise_gate(champion, challenger),
    ]


def parity_gate(challenger: Bundle, champion: Bundle, limits: ParityLimits) -> Gate:
    """Judge whether the graph says what was trained: proved at its export, and unchanged since where it was kept."""
    found = challenger.manifest.metrics.get("parity")
    if not isinstance(found, Mapping):
        return Gate("parity", passed=False, reason="its manifest holds no proof of parity; train it again")
    difference = float(found["torch_to_fp32_max_difference"])
    agreement = min(found["fp32_to_int8_argmax_agreement"].values())
    drop = max(found["fp32_to_int8_accuracy_drop"].values())
    passed = (
        difference <= limits.max_fp32_difference
        and agreement >= limits.min_int8_agreement
        and drop <= limits.max_int8_accuracy_drop
    )
    reason = f"fp32 off by {difference:.1e}, int8 agrees on {agreement:.3f}, loses {drop:.3f} of accuracy"
    origin = challenger.manifest.training_data.get("encoder_of", {}).get("digest")
    if origin == champion.digest:
        kept = encoder_digest(champion.file(bundles.MODEL)) == encoder_digest(challenger.file(bundles.MODEL))
        reason += ", encoder is the champion's" if kept else ", encoder is not the champion's, as its manifest says"
        passed = passed and kept
    return Gate("parity", passed, reason)


def _promise_gate(champion: Bundle, challenger: Bundle) -> Gate:
    before, after = champion.manifest.risk_bound, challenger.manifest.risk_bound
    lost = before is not None and before.threshold is not None and (after is None or after.threshold is None)
    reason = "nothing is promised" if after is None else after.describe()
    return Gate("promise", not lost, f"the champion's promise is lost: {reason}" if lost else reason)


def _gain(figures: Mapping[str, SetFigures], config: ContestConfig) -> Gate:
    """A change for its own sake is none: the log loss over all heads has to fall where most turns were measured."""
    if not figures:
        return Gate("gain", passed=False, reason="nothing was measured; name labelled turns with --gold")
    name = "recent" if "recent" in figures else max(figures, key=lambda known: figures[known].n_rows)
    found = figures[name].figures["log loss"]
    passed = found.rise < 0 and found.p_fall >= config.gain_certainty
    return Gate("gain", passed, f"log loss on {name} has to fall, beyond a coin's doubt: {found.shown()}")


def _latency_ms(sides: tuple[Assessor, Assessor], texts: Sequence[Any]) -> tuple[float, float]:
    """Return the median time of one text for both, text by text in turns, so that both meet the same neighbours."""
    best = np.full((2, max(len(texts), 1)), np.inf)
    for _ in range(_N_ROUNDS):
        for column, text in enumerate(texts):
            for row, side in enumerate(sides):
                started = perf_counter()
                side.assess_texts([text])
                best[row, column] = min(best[row, column], (perf_counter() - started) * 1000)
    first, second = np.median(best, axis=1).tolist()
    return first, second


def _size_bytes(bundle: Bundle) -> int:
    return sum(bundle.file(name).stat().st_size for name in bundles.FILES)


def verdict_json(verdict: Verdict) -> dict[str, Any]:
    """Return the verdict as JSON values."""
    return {
        "promotes": verdict.promotes,
        "reason": verdict.reason,
        "champion": verdict.champion.to_json(),
        "challenger": verdict.challenger.to_json(),
        "gates": [{"name": gate.name, "passed": gate.passed, "reason": gate.reason} for gate in verdict.gates],
        "sets": {
            name: {
                "n_rows": found.n_rows,
                "n_groups": found.n_groups,
                **{part: _differences(getattr(found, part)) for part in ("figures", "recall", "languages", "days")},
            }
            for name, found in verdict.sets.items()
        },
    }


def _differences(found: Mapping[str, Difference]) -> Any:
    return plain(
        {
            name: {
                "champion": d.champion,
                "challenger": d.challenger,
                "rise": d.rise,
                "interval": d.interval,
                "p_rise": d.p_rise,
                "p_fall": d.p_fall,
                "n_rows": d.n_rows,
            }
            for name, d in found.items()
        }
    )
