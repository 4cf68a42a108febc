"""Does learning from the queue's picks beat learning from as many random turns? Simulated with labels that are known.

`python -m pointsman.training.queue_gain --pool FILE... --held-out FILE... --output FOLDER`. In each round a classifier
is fitted on a few labelled turns of the pool, the rest of it is put in order as `pointsman label` puts it, and the
labels of the first picks are looked up. Heads are fitted anew with these turns, and with as many drawn at random; both
are judged on files that neither saw.

The encoder is the published one, not tuned on any of these turns (`untuned.py`). Novelty and risk bounds are left out:
so few turns carry neither. Decisions are the first of a session, with tokens as expected.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from pointsman.classifier.assessment import Assessment, HeadResult, Turn
from pointsman.classifier.catalog import Catalog
from pointsman.classifier.labels import HEADS, Head
from pointsman.classifier.policy import choose
from pointsman.classifier.policy_file import Policy
from pointsman.classifier.review import MAX_POOL, Candidate, review_queue
from pointsman.classifier.router import DEFAULT_CATALOG, DEFAULT_POLICY

from .calibrate import care_probabilities
from .config import EncoderConfig, HeadsConfig
from .datasets import Example, digest_of, position, read_examples
from .metrics import recall_at_share
from .proof import Belief, Known, Voice
from .untuned import embed_untuned

IntArray = npt.NDArray[np.int64]

FIGURES: Final = (
    "excess cost, USD",
    "log loss",
    "category accuracy",
    "risk accuracy",
    "needs care, missed at 30%",
)
_USUAL_TOKENS: Final = 20_000
_CARE_SHARE: Final = 0.3


@dataclass(frozen=True, slots=True)
class QueueGainConfig:
    """One simulation: `n_rounds` times, `n_known` turns are labelled at first and `n_picks` more are chosen."""

    pool: tuple[Path, ...]
    held_out: tuple[Path, ...]
    output: Path
    n_known: int = 300
    n_picks: int = 200
    n_rounds: int = 20
    calibration_share: float = 0.15
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    heads: HeadsConfig = field(default_factory=lambda: HeadsConfig(inverse_regularisation=(0.003, 0.01, 0.03)))
    n_threads: int = 2


@dataclass(frozen=True, slots=True)
class Round:
    """Figures by name on the held-out turns: before any pick, after the queue's, after random ones."""

    before: dict[str, float]
    queue: dict[str, float]
    random: dict[str, float]


def simulate(config: QueueGainConfig) -> list[Round]:
    """Run every round.

    Raises
    ------
    InputError
        The turns or the encoder cannot be read.
    """
    held_out_rows = read_examples(config.held_out)
    apart = {example.group for example in held_out_rows}
    rows = [example for example in read_examples(config.pool) if example.group not in apart]
    digests = "".join(digest_of(path) for path in (*config.pool, *config.held_out))
    name = sha256(digests.encode()).hexdigest()[:24]
    examples = [*rows, *held_out_rows]
    embedding = embed_untuned(examples, config.output, name, config.encoder, n_threads=config.n_threads)
    known, test = Known(rows, embedding[: len(rows)]), Known(held_out_rows, embedding[len(rows) :])
    in_pool = [position(example.group) >= config.calibration_share for example in rows]
    pool, calibration = known.only(in_pool), known.only(not wanted for wanted in in_pool)
    judge = Judge.of(test)
    seeds = tqdm(range(config.n_rounds), desc="simulate", unit="round", mininterval=5)
    with threadpool_limits(1, user_api="blas"):  # small products many times over
        return [_round(pool, calibration, judge, config, seed) for seed in seeds]


def _round(pool: Known, calibration: Known, judge: "Judge", config: QueueGainConfig, seed: int) -> Round:
    order = np.random.default_rng(seed).permutation(len(pool.examples))
    labelled, open_turns = order[: config.n_known], order[config.n_known :]

    def figures(more: IntArray) -> dict[str, float]:
        train = _rows(pool, np.concatenate([labelled, more]))
        return judge(Voice.fit(train, calibration, config.heads))

    champion = Voice.fit(_rows(pool, labelled), calibration, config.heads)
    # As `pointsman label` does, a sample is put in order; it is drawn at random, so its first turns are random picks.
    sample = _rows(pool, open_turns[:MAX_POOL])
    picked = _queue(champion, sample, _rows(pool, labelled), judge, config.n_picks)
    return Round(
        before=judge(champion),
        queue=figures(open_turns[picked]),
        random=figures(open_turns[: config.n_picks]),
    )


def _queue(champion: Voice, sample: Known, labelled: Known, judge: "Judge", n_picks: int) -> IntArray:
    """Return the places of the first picks, as the labeller would show them."""
    guesses = _assessments(champion.believe(sample.embedding), len(sample.examples))
    candidates = [
        Candidate(str(place), _turn(example), guess, embedding=sample.embedding[place])
        for place, (example, guess) in enumerate(zip(sample.examples, guesses, strict=True))
    ]
    queue = review_queue(candidates, judge.catalog, judge.policy, limit=n_picks, known=list(labelled.embedding))
    return np.array([int(item.id) for item in queue])


@dataclass(frozen=True, slots=True)
class Judge:
    """Judges a classifier on held-out turns; `costs` are what each model is expected to cost with the true labels."""

    test: Known
    catalog: Catalog
    policy: Policy
    costs: Sequence[dict[str, float]]

    @classmethod
    def of(cls, test: Known) -> "Judge":
        catalog, policy = Catalog.load(DEFAULT_CATALOG), Policy.load(DEFAULT_POLICY)
        costs = []
        for example in test.examples:
            found = choose(_turn(example), _certain(example), None, catalog, policy).expected_cost
            costs.append({cost.model: cost.total for cost in found})
        return cls(test, catalog, policy, costs)

    def __call__(self, voice: Voice) -> dict[str, float]:
        belief = voice.believe(self.test.embedding)
        examples = self.test.examples
        truth = {head: np.array([labels.index(e.labels[head]) for e in examples]) for head, labels in HEADS.items()}
        rows = np.arange(len(examples))
        losses = [-np.log(np.maximum(belief[head][rows, truth[head]], 1e-9)).mean() for head in HEADS]
        care = np.array([example.needs_care for example in examples])
        return {
            "excess cost, USD": self._excess(belief),
            "log loss": float(np.mean(losses)),
            "category accuracy": _accuracy(belief["category"], truth["category"]),
            "risk accuracy": _accuracy(belief["risk"], truth["risk"]),
            "needs care, missed at 30%": 1 - recall_at_share(care, care_probabilities(belief), _CARE_SHARE),
        }

    def _excess(self, belief: Belief) -> float:
        """Return what the decisions cost more than the best ones would, on average, by the true labels."""
        excess = []
        guesses = _assessments(belief, len(self.test.examples))
        for example, guess, costs in zip(self.test.examples, guesses, self.costs, strict=True):
            taken = choose(_turn(example), guess, None, self.catalog, self.policy).model
            excess.append(costs[taken] - min(costs.values()))
        return float(np.mean(excess))


def _accuracy(probabilities: npt.NDArray[np.float64], truth: IntArray) -> float:
    return float((probabilities.argmax(axis=1) == truth).mean())


def _rows(known: Known, places: IntArray) -> Known:
    return Known([known.examples[place] for place in places], known.embedding[places])


def _turn(example: Example) -> Turn:
    return Turn(prompt=example.prompt, context=example.context, context_tokens=_USUAL_TOKENS)


def _assessments(belief: Belief, n_turns: int) -> list[Assessment]:
    rows = {head: belief[head].tolist() for head in HEADS}
    return [_assessment({head: tuple(rows[head][turn]) for head in HEADS}) for turn in range(n_turns)]


def _certain(example: Example) -> Assessment:
    return _assessment({h: tuple(float(label == example.labels[h]) for label in labels) for h, labels in HEADS.items()})


def _assessment(given: dict[Head, tuple[float, ...]]) -> Assessment:
    category, risk, scope, turn = (HeadResult(head, given[head]) for head in HEADS)
    return Assessment(category, risk, scope, turn, novelty=0.0, model_version="simulated")


def table(rounds: Sequence[Round], n_picks: int) -> str:
    """Lay the means out as a Markdown table; differences with 95 % intervals over the rounds."""
    lines = [
        f"| | before | {n_picks} random turns | {n_picks} picks of the queue | queue less random |",
        "|---|---|---|---|---|",
    ]
    for name in FIGURES:
        before = np.array([found.before[name] for found in rounds])
        queue = np.array([found.queue[name] for found in rounds])
        random = np.array([found.random[name] for found in rounds])
        difference = queue - random
        error = 1.96 * difference.std(ddof=1) / np.sqrt(len(rounds)) if len(rounds) > 1 else float("nan")
        cells = [f"{values.mean():.4f}" for values in (before, random, queue)]
        cells.append(f"{difference.mean():+.4f} ({difference.mean() - error:+.4f} to {difference.mean() + error:+.4f})")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Simulate from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m pointsman.training.queue_gain", description="Compare the labelling queue with random turns."
    )
    parser.add_argument("--pool", type=Path, nargs="+", required=True, metavar="FILE.jsonl", help="turns to pick from")
    parser.add_argument(
        "--held-out", type=Path, nargs="+", required=True, metavar="FILE.jsonl", help="turns to judge on"
    )
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER", help="where figures and embeddings go")
    parser.add_argument("--known", type=int, default=300, help="turns labelled at first (default: %(default)s)")
    parser.add_argument("--picks", type=int, default=200, help="turns labelled then (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=20, help="times it is done (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="threads for inference (default: %(default)s)")
    args = parser.parse_args(argv)
    config = QueueGainConfig(
        tuple(args.pool),
        tuple(args.held_out),
        args.output,
        n_known=args.known,
        n_picks=args.picks,
        n_rounds=args.rounds,
        n_threads=args.threads,
    )
    rounds = simulate(config)
    figures = [asdict(found) for found in rounds]
    (args.output / "queue_gain.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    sys.stdout.write(table(rounds, config.n_picks) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
