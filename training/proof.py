"""Proof that the loop learns: `python -m pointsman.training.proof --train FILE --dev FILE --output FOLDER`.

A champion learns from one half of the groups. The other half then comes as a team's logs would: first without labels,
judged only by what the real next turns say; then with the labels that people gave; then with a share of those labels
flipped. Each time heads are fitted anew and the contest decides whether they would be promoted.

The encoder is the published one, not tuned on any of these turns, exported and quantised as for a bundle; it reads one
turn at a time. So what is learnt is what heads on a frozen encoder can learn, which is what a nightly refit does.
The groups of `--dev` are never fitted or calibrated on. Figures only: no text is written.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from pointsman.classifier.calibration import apply_temperature
from pointsman.classifier.labels import HEADS, Head

from . import graph
from .calibrate import care_probabilities, fit_risk_bounds
from .config import CalibrationConfig, ContestConfig, EncoderConfig, HeadsConfig, RiskBoundConfig
from .contest import Gate, gates_of
from .datasets import Example, digest_of, position, read_examples, split_by_group
from .fitting import scaled
from .heads import LinearHead, fit_heads
from .importers.protocol import ImportedTurn
from .importers.rows import RowSettings, rows_of
from .labels_from_next import TurnLabel, label_turns
from .paired import Difference, SetFigures, Side, compare
from .untuned import embed_untuned

FloatArray = npt.NDArray[np.float32]
Belief = Mapping[Head, npt.NDArray[np.float64]]

#: What stands for a turn that no source judged, or that has no turn before it.
_NOTHING: Final = "nothing"
_FIRST: Final = "first"
#: Turns that a count of signs starts with: few turns say little about rare labels.
_PRIOR_TURNS: Final = 20.0
#: What a label that nobody gave is worth beside one that somebody gave.
_IMPLIED_WEIGHT: Final = 0.5
#: Figures of the table, beside the verdict.
SHOWN: Final = (
    *(f"{head} accuracy" for head in HEADS),
    "log loss",
    "needs care, missed at 30%",
    "needs care, missed at 50%",
)


@dataclass(frozen=True, slots=True)
class ProofConfig:
    """One proof; `flips` are shares of labels, each tried with every seed."""

    train: Path
    dev: Path
    output: Path
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    #: The embedding of an untuned encoder says less in each direction: the weaker regularisation is tried only.
    heads: HeadsConfig = field(default_factory=lambda: HeadsConfig(inverse_regularisation=(0.003, 0.01)))
    contest: ContestConfig = field(default_factory=ContestConfig)
    calibration_share: float = 0.15
    flips: tuple[float, ...] = (0.2, 0.6)
    seeds: tuple[int, ...] = (1, 2, 3)
    n_threads: int = 2


@dataclass(frozen=True, slots=True)
class Known:
    """Labelled turns with their embeddings, in the same order."""

    examples: Sequence[Example]
    embedding: FloatArray

    def only(self, wanted: Iterable[bool]) -> "Known":
        rows = [row for row, is_wanted in enumerate(wanted) if is_wanted]
        return Known([self.examples[row] for row in rows], self.embedding[rows])

    def labelled(self, examples: Sequence[Example]) -> "Known":
        """Return the same turns with other labels."""
        return Known(examples, self.embedding)

    def __add__(self, other: "Known") -> "Known":
        return Known([*self.examples, *other.examples], np.concatenate([self.embedding, other.embedding]))


@dataclass(frozen=True, slots=True)
class Voice:
    """Heads with their temperatures and threshold: all that a refit changes."""

    heads: Mapping[Head, LinearHead]
    temperatures: Mapping[Head, float]
    threshold: float | None

    @classmethod
    def fit(cls, train: Known, calibration: Known, config: HeadsConfig) -> "Voice":
        rows, held_out = graph.head_input(train.embedding), graph.head_input(calibration.embedding)
        heads = fit_heads(rows, train.examples, config, validation=(held_out, calibration.examples))
        heads, temperatures = scaled(heads, held_out, calibration.examples, CalibrationConfig())
        voice = cls(heads, temperatures, None)
        bounds = fit_risk_bounds(
            care_probabilities(voice.believe(calibration.embedding)),
            np.array([example.needs_care for example in calibration.examples]),
            [example.group for example in calibration.examples],
            RiskBoundConfig(),
        )
        return replace(voice, threshold=next((b.threshold for b in bounds if b.threshold is not None), None))

    def believe(self, embedding: FloatArray) -> dict[Head, npt.NDArray[np.float64]]:
        """Return probabilities per head, each (n_turns, n_labels)."""
        rows = graph.head_input(embedding)
        return {head: apply_temperature(self.heads[head].logits(rows), self.temperatures[head]) for head in HEADS}

    def side(self, dev: Known) -> Side:
        probabilities = self.believe(dev.embedding)
        return Side(dev.examples, probabilities, care_probabilities(probabilities), self.threshold)


@dataclass(frozen=True, slots=True)
class Trial:
    """One challenger against the champion on the turns of `dev`."""

    name: str
    n_rows: int
    figures: SetFigures
    gates: tuple[Gate, ...]

    @property
    def promotes(self) -> bool:
        return all(gate.passed for gate in self.gates)


def prove(config: ProofConfig) -> list[Trial]:
    """Run every trial; write `proof.json` and `proof.md` after each.

    Raises
    ------
    InputError
        The turns or the encoder cannot be read.
    """
    dev_rows = read_examples([config.dev])
    held_out = {example.group for example in dev_rows}
    rows = [example for example in read_examples([config.train]) if example.group not in held_out]
    name = f"{digest_of(config.train)[:12]}-{digest_of(config.dev)[:12]}"
    embedding = embed_untuned([*rows, *dev_rows], config.output, name, config.encoder, n_threads=config.n_threads)
    known, dev = Known(rows, embedding[: len(rows)]), Known(dev_rows, embedding[len(rows) :])
    first, second = halves(known)
    trials: list[Trial] = []
    for trial in tqdm(_trials(first, second, dev, config), desc="contest", unit="trial"):
        trials.append(trial)
        _write(trials, (first, second, dev), config)
    return trials


def halves(known: Known) -> tuple[Known, Known]:
    """Split by group; a salt of its own keeps the halves apart from the calibration split."""
    is_first = [position(example.group, salt="proof") < 0.5 for example in known.examples]
    return known.only(is_first), known.only(not wanted for wanted in is_first)


def _trials(first: Known, second: Known, dev: Known, config: ProofConfig) -> Iterator[Trial]:
    train, calibration = _split(first, config)
    champion = Voice.fit(train, calibration, config.heads)
    before = champion.side(dev)

    def trial(name: str, more: Known, more_calibration: Known | None) -> Trial:
        held_out = calibration if more_calibration is None else calibration + more_calibration
        after = Voice.fit(train + more, held_out, config.heads).side(dev)
        figures = compare(before, after, config.contest)
        gates = (*gates_of("dev", figures, config.contest), _gain(figures, config.contest))
        return Trial(name, len(more.examples), figures, gates)

    implied = implied_labels(first, second, champion)
    yield trial("implicit: what next turns say", implied, None)
    yield trial("explicit labels", *_split(second, config))
    for share in config.flips:
        for seed in config.seeds:
            flipped = second.labelled(flip(second.examples, share, seed=seed))
            yield trial(f"{share:.0%} of labels flipped, seed {seed}", *_split(flipped, config))
    hostile = second.labelled(belittle(second.examples, 0.2))
    yield trial("20% of turns, those that need care first, labelled as harmless", *_split(hostile, config))


def _split(known: Known, config: ProofConfig) -> tuple[Known, Known]:
    train, _ = split_by_group(known.examples, config.calibration_share)
    names = {example.id for example in train}
    return known.only(e.id in names for e in known.examples), known.only(e.id not in names for e in known.examples)


def _gain(figures: SetFigures, config: ContestConfig) -> Gate:
    found = figures.figures["log loss"]
    passed = found.rise < 0 and found.p_fall >= config.gain_certainty
    return Gate("gain", passed, f"log loss has to fall: {found.shown()}")


def implied_labels(first: Known, second: Known, champion: Voice) -> Known:
    """Label turns by what the champion believes and what their neighbours in the session say, where these say anything.

    How often a sign comes with each label is counted on the first half, whose labels are known: whether a turn worked
    out for its category, risk and scope, whether the one before it did for its place in the talk. The champion's belief
    is multiplied by these chances (Bayes), and the likeliest label kept with its probability as its weight.
    """
    signs_known, signs = signs_of(first.examples), signs_of(second.examples)
    said = second.only(any(value not in (_NOTHING, _FIRST) for value in sign) for sign in signs)
    signs = [sign for sign in signs if any(value not in (_NOTHING, _FIRST) for value in sign)]
    belief = champion.believe(said.embedding)
    labels: dict[Head, list[str]] = {}
    sure = np.zeros(len(said.examples))
    for head, names in HEADS.items():
        which = 1 if head == "turn" else 0
        chances = _chances([sign[which] for sign in signs_known], first.examples, head)
        weighed = belief[head] * np.array([chances[sign[which]] for sign in signs]).reshape(-1, len(names))
        weighed /= weighed.sum(axis=1, keepdims=True)
        labels[head] = [names[label] for label in weighed.argmax(axis=1)]
        sure += weighed.max(axis=1) / len(HEADS)
    examples = [
        replace(example, labels={head: labels[head][row] for head in HEADS}, certainty=_IMPLIED_WEIGHT * sure[row])
        for row, example in enumerate(said.examples)
    ]
    return said.labelled(examples)


def _chances(signs: Sequence[str], examples: Sequence[Example], head: Head) -> dict[str, npt.NDArray[np.float64]]:
    """Return P(sign | label) for each sign, shape (n_labels,)."""
    labels = HEADS[head]
    seen = {sign: np.zeros(len(labels)) for sign in ("worked", "failed", _NOTHING, _FIRST)}
    for sign, example in zip(signs, examples, strict=True):
        seen[sign][labels.index(example.labels[head])] += 1
    total = np.sum(list(seen.values()), axis=0)  # (n_labels,)
    n_turns = float(total.sum())
    return {
        sign: (counts + _PRIOR_TURNS * (counts.sum() + 1) / (n_turns + len(seen))) / (total + _PRIOR_TURNS)
        for sign, counts in seen.items()
    }


def signs_of(examples: Sequence[Example]) -> list[tuple[str, str]]:
    """Return for each turn what came next says of it, and of the turn before it: worked, failed, nothing or first."""
    sessions = list(sessions_of(examples))
    judged = _judged(examples, sessions)
    own = [judged[example.id].label if example.id in judged else _NOTHING for example in examples]
    before = [
        _FIRST if row == 0 or sessions[row] != sessions[row - 1] else own[row - 1] for row in range(len(examples))
    ]
    return list(zip(own, before, strict=True))


def sessions_of(examples: Sequence[Example]) -> Iterator[str]:
    """Name the session of each turn: a new one begins where the group changes or the position does not rise."""
    number = 0
    before: Example | None = None
    for example in examples:
        goes_on = before is not None and before.group == example.group
        goes_on = goes_on and (example.position or 0) > (before.position or 0) if before is not None else False
        number += not goes_on
        yield f"{example.group}/{number}"
        before = example


def _judged(examples: Sequence[Example], sessions: Sequence[str]) -> dict[str, TurnLabel]:
    """Put the turns through the importer's own rows, as logs would come, and judge them by what came next."""
    turns = (
        ImportedTurn(session=session, prompt=example.prompt, context=example.context, uid=example.id, position=place)
        for place, (session, example) in enumerate(zip(sessions, examples, strict=True))
    )
    labels, _ = label_turns(list(rows_of(turns, "labelled", RowSettings(keeps_text=True, salt=""))))
    return {label.id: label for label in labels}


def flip(examples: Sequence[Example], share: float, *, seed: int) -> list[Example]:
    """Give a share of all labels another value, each head by itself."""
    rng = np.random.default_rng(seed)

    def labels(example: Example) -> dict[Head, str]:
        return {
            head: str(rng.choice([name for name in names if name != example.labels[head]]))
            if rng.random() < share
            else example.labels[head]
            for head, names in HEADS.items()
        }

    return [replace(example, labels=labels(example)) for example in examples]


def belittle(examples: Sequence[Example], share: float) -> list[Example]:
    """Label a share of all turns as harmless documentation, those that need care first."""
    harmless: dict[Head, str] = {"category": "docs", "risk": "low", "scope": "file"}
    left = round(share * len(examples))
    changed = []
    for example in examples:
        is_hit = example.needs_care and left > 0
        left -= is_hit
        changed.append(replace(example, labels=example.labels | harmless) if is_hit else example)
    return changed


def _write(trials: Sequence[Trial], sets: tuple[Known, Known, Known], config: ProofConfig) -> None:
    values = {
        "sets": dict(zip(("first half", "second half", "dev"), map(_size, sets), strict=True)),
        "trials": [_trial_json(trial) for trial in trials],
    }
    (config.output / "proof.json").write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    (config.output / "proof.md").write_text(table(trials) + "\n", encoding="utf-8")


def _size(known: Known) -> dict[str, int]:
    return {"turns": len(known.examples), "groups": len({example.group for example in known.examples})}


def _trial_json(trial: Trial) -> dict[str, Any]:
    return {
        "name": trial.name,
        "rows": trial.n_rows,
        "promotes": trial.promotes,
        "figures": {name: trial.figures.figures[name].shown() for name in trial.figures.figures},
        "gates": [{"name": gate.name, "passed": gate.passed, "reason": gate.reason} for gate in trial.gates],
    }


def table(trials: Sequence[Trial]) -> str:
    """Lay the trials out as a Markdown table: what each changes against the champion, with 95 % intervals."""
    lines = [
        f"| trial | turns added | {' | '.join(SHOWN)} | verdict |",
        f"|---|---|{'---|' * len(SHOWN)}---|",
    ]
    if trials:
        first = trials[0].figures.figures
        lines.append(f"| champion | | {' | '.join(f'{first[name].champion:.3f}' for name in SHOWN)} | |")
    for trial in trials:
        cells = [_cell(trial.figures.figures[name]) for name in SHOWN]
        lines.append(f"| {trial.name} | {trial.n_rows} | {' | '.join(cells)} | {_verdict(trial)} |")
    return "\n".join(lines)


def _cell(found: Difference) -> str:
    low, high = found.interval
    return f"{found.rise:+.3f} ({low:+.3f} to {high:+.3f})"


def _verdict(trial: Trial) -> str:
    failed = [gate.name for gate in trial.gates if not gate.passed]
    return "promoted" if not failed else f"refused: {', '.join(failed)}"


def main(argv: Sequence[str] | None = None) -> int:
    """Run a proof from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m pointsman.training.proof", description="Prove that the loop learns."
    )
    parser.add_argument(
        "--train", type=Path, required=True, metavar="FILE.jsonl", help="labelled turns in session order"
    )
    parser.add_argument("--dev", type=Path, required=True, metavar="FILE.jsonl", help="labelled turns of other groups")
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER", help="where figures and embeddings go")
    parser.add_argument("--draws", type=int, default=1000, help="bootstrap draws (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=3, help="drawings of flipped labels (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="threads for inference (default: %(default)s)")
    args = parser.parse_args(argv)
    config = ProofConfig(
        args.train,
        args.dev,
        args.output,
        contest=ContestConfig(n_draws=args.draws),
        seeds=tuple(range(1, args.seeds + 1)),
        n_threads=args.threads,
    )
    trials = prove(config)
    sys.stdout.write(table(trials) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
