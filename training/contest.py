"""Champion against challenger: the same turns through both, and gates that the challenger has to pass, with reasons.

Both are measured on fixed gold sets and, where there are any, on the newest labelled turns of the service.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Final, Literal

import numpy as np

from pointsman.classifier import bundle as bundles
from pointsman.classifier.assessor import Assessor
from pointsman.classifier.bundle import Bundle
from pointsman.classifier.risk_bound import promises_of

from .config import ContestConfig, ParityLimits
from .datasets import Example
from .graph import encoder_digest
from .paired import Difference, SetFigures, Side, compare

#: Texts that latency is measured on, and how often each: the fastest of its rounds counts, since machines are shared.
_N_TIMED: Final = 40
_N_ROUNDS: Final = 3
#: The set of the newest turns; no gold set has its name.
RECENT: Final = "recent"


@dataclass(frozen=True, slots=True)
class Measure:
    """What a gate looked at beside what it allows, for a drawing; noise may excuse a value beyond its limit.

    Attributes
    ----------
    unit : str
        `difference` (challenger minus champion), `ratio` (of the champion's) or `share`.
    is_most : bool
        Whether the limit is the most that is allowed, else it is the least.
    about : str
        The label or language that came off worst, where a gate looks at several.
    interval : tuple of float or None
        95 % of the paired bootstrap, where there is one.
    """

    value: float
    limit: float
    unit: Literal["difference", "ratio", "share"] = "difference"
    is_most: bool = True
    about: str = ""
    interval: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Gate:
    """One condition of promotion; `measure` is None where nothing was judged, or nothing is a number."""

    name: str
    passed: bool
    reason: str
    measure: Measure | None = None


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
        sets[RECENT] = recent
    figures = {
        name: compare(
            Side.of(champion, examples),
            Side.of(challenger, examples),
            config,
            days=days if name == RECENT else (),
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
        return Gate(name, passed=False, reason=f"more than {allowed}: {listed}", measure=_drop(worse, config))
    if not found:
        return Gate(name, passed=True, reason=f"none has {config.min_rows} rows, so nothing was judged")
    label, worst = min(found.items(), key=lambda item: item[1].rise)
    reason = f"none has more than {allowed}; the least is {label} {worst.shown()}"
    return Gate(name, passed=True, reason=reason, measure=_drop(found, config))


def _drop(found: Mapping[str, Difference], config: ContestConfig) -> Measure:
    label, worst = min(found.items(), key=lambda item: item[1].rise)
    return Measure(worst.rise, -config.max_recall_drop, is_most=False, about=label, interval=worst.interval)


def _care_gate(name: str, found: Difference, config: ContestConfig) -> Gate:
    """Turns that need care may not be missed more often: a smaller doubt is enough here than elsewhere."""
    if not np.isfinite(found.rise):
        return Gate(name, passed=True, reason="no such turn in this set, so nothing was judged")
    worse = found.rise > config.max_missed_rise or (found.rise > 0 and found.p_rise >= config.care_certainty)
    said = f"{'missed more often' if worse else 'not missed more often'}: {found.shown()}"
    return Gate(name, not worse, said, Measure(found.rise, config.max_missed_rise, interval=found.interval))


def _calibration_gate(name: str, found: Difference, config: ContestConfig) -> Gate:
    worse = found.rise > config.max_ece_rise and found.p_rise >= config.certainty
    said = f"a rise of {config.max_ece_rise:.3f} beyond noise is allowed: {found.shown()}"
    return Gate(name, not worse, said, Measure(found.rise, config.max_ece_rise, interval=found.interval))


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
            Measure(slower, config.max_slowdown, "ratio"),
        ),
        Gate(
            "size",
            larger <= config.max_growth,
            f"{first.size_bytes / 1e6:.1f} -> {second.size_bytes / 1e6:.1f} MB, {larger:.2f} of the champion's; "
            f"{config.max_growth} is allowed",
            Measure(larger, config.max_growth, "ratio"),
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
    # Bundles of before 2026-11-23 kept the drop of accuracy.
    drops = found.get("fp32_to_int8_macro_f1_drop") or found["fp32_to_int8_accuracy_drop"]
    by_chance = found.get("fp32_to_int8_drop_by_chance", {})
    drop = max(drops.values())
    passed = (
        difference <= limits.max_fp32_difference
        and agreement >= limits.min_int8_agreement
        and not any(limits.is_lossy(value, by_chance.get(head, 0.0)) for head, value in drops.items())
    )
    reason = f"fp32 off by {difference:.1e}, int8 agrees on {agreement:.3f}, loses {drop:.3f} of macro-F1"
    origin = challenger.manifest.training_data.get("encoder_of", {}).get("digest")
    if origin == champion.digest:
        kept = encoder_digest(champion.file(bundles.MODEL)) == encoder_digest(challenger.file(bundles.MODEL))
        reason += ", encoder is the champion's" if kept else ", encoder is not the champion's, as its manifest says"
        passed = passed and kept
    return Gate("parity", passed, reason, Measure(agreement, limits.min_int8_agreement, "share", is_most=False))


def _promise_gate(champion: Bundle, challenger: Bundle) -> Gate:
    before, after = (promises_of(bundle.manifest.risk_bounds) for bundle in (champion, challenger))
    lost = sorted({share for share, _ in before} - {share for share, _ in after})
    kept = "; ".join(f"{share:.0%} up to care probability {threshold:.3f}" for share, threshold in after) or "none"
    lacks = f"the champion's promise of {', '.join(f'{share:.0%}' for share in lost)} is lost; " if lost else ""
    return Gate("promise", not lost, f"{lacks}missed shares it can promise: {kept}")


def _gain(figures: Mapping[str, SetFigures], config: ContestConfig) -> Gate:
    """A change for its own sake is none: the log loss over all heads has to fall where most turns were measured."""
    if not figures:
        return Gate("gain", passed=False, reason="nothing was measured; name labelled turns with --gold")
    name = RECENT if RECENT in figures else max(figures, key=lambda known: figures[known].n_rows)
    found = figures[name].figures["log loss"]
    passed = found.rise < 0 and found.p_fall >= config.gain_certainty
    said = f"log loss on {name} has to fall, beyond a coin's doubt: {found.shown()}"
    return Gate("gain", passed, said, Measure(found.rise, 0.0, interval=found.interval))


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
