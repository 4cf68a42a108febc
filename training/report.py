"""Everything measured in one run, with what is needed to get it again: figures, rivals, robustness, data, versions."""

import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pointsman.classifier.assessment import Assessment
from pointsman.classifier.assessor import Assessor

from .baselines import baselines
from .contenders import Contender, Skipped, Standing, measure, ranked
from .datasets import Example, digest_of, read_examples
from .evaluate import Draws, Report, assess_examples, plain, report_of, to_json
from .report_peers import PeerSettings, run_peers
from .robustness import FlipReport, robustness, written_pairs


@dataclass(frozen=True, slots=True)
class ReportConfig:
    """What to measure.

    `training` rows fit the baselines and routers that learn; `pairs` holds requests said twice. `command` is printed in
    the report so that the figures can be had again.
    """

    data: tuple[Path, ...]
    bundle: Path | None = None
    training: tuple[Path, ...] = ()
    pairs: tuple[Path, ...] = ()
    peers: PeerSettings = field(default_factory=PeerSettings)
    command: str = ""
    n_threads: int = 1
    n_bootstrap: int = 1000
    seed: int = 0


@dataclass(frozen=True, slots=True)
class DataFile:
    """A measured or fitted file, by name and digest, never by path."""

    name: str
    use: str
    n_rows: int
    n_groups: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """A bundle beside baselines and other routers on the same turns; `standings` are ranked, best first."""

    report: Report
    standings: list[Standing]
    skipped: list[Skipped]


@dataclass(frozen=True, slots=True)
class FullReport:
    """One run of `pointsman report`."""

    created_at: str
    command: str
    comparison: Comparison
    perturbations: list[FlipReport]
    pairs: list[FlipReport]
    files: list[DataFile]
    environment: dict[str, str]

    @property
    def report(self) -> Report:
        return self.comparison.report


def compare(assessor: Assessor, examples: Sequence[Example], config: ReportConfig) -> Comparison:
    """Measure a bundle, the baselines and every installed router on the same turns, with the same draws."""
    training = read_examples(config.training)
    draws = Draws.of(examples, config.n_bootstrap, seed=config.seed)
    assessments = assess_examples(assessor, examples)
    own = [
        _contender(f"Pointsman {assessor.version}", "bundle", "prompt and the messages before it", assessments),
        # Other routers are asked with the prompt alone; this row shows what that takes away.
        _contender(
            f"Pointsman {assessor.version}, prompt alone",
            "ablation",
            "earlier messages withheld, as from other routers",
            assess_examples(assessor, [replace(example, context=()) for example in examples]),
        ),
    ]
    simple, unfitted = baselines(examples, training)
    peers, unasked = run_peers(examples, training, config.peers)
    return Comparison(
        report=report_of(assessor.version, assessments, examples, draws),
        standings=ranked([measure(contender, examples, draws) for contender in (*own, *simple, *peers)]),
        skipped=[*unfitted, *unasked],
    )


def _contender(
    name: str, kind: Literal["bundle", "ablation"], note: str, assessments: Sequence[Assessment]
) -> Contender:
    return Contender(
        name=name,
        kind=kind,
        note=note,
        score=np.array([assessment.care_probability for assessment in assessments]),
        categories=[assessment.category.label for assessment in assessments],
    )


def build_report(config: ReportConfig) -> FullReport:
    """Measure everything.

    Raises
    ------
    InputError
        A data file is missing or a row of it is wrong.
    BundleError
        The bundle cannot be loaded.
    """
    examples = read_examples(config.data)
    assessor = Assessor.load(config.bundle, n_threads=config.n_threads)
    uses = (("measured", config.data), ("fits the rivals that learn", config.training), ("pairs", config.pairs))
    return FullReport(
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        command=config.command,
        comparison=compare(assessor, examples, config),
        perturbations=robustness(assessor, examples, n_bootstrap=config.n_bootstrap),
        pairs=written_pairs(assessor, read_examples(config.pairs), n_bootstrap=config.n_bootstrap),
        files=[_data_file(path, use) for use, paths in uses for path in paths],
        environment=_environment(assessor, config),
    )


def _data_file(path: Path, use: str) -> DataFile:
    rows = read_examples([path])
    return DataFile(path.name, use, len(rows), len({row.group for row in rows}), digest_of(path))


def _environment(assessor: Assessor, config: ReportConfig) -> dict[str, str]:
    packages = ("pointsman", "numpy", "onnxruntime", "tokenizers", "scikit-learn")
    manifest = assessor.bundle.manifest
    return {
        "bundle": f"{manifest.version}, made {manifest.created_at}",
        "bundle digest": assessor.bundle.digest,
        "Python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        **{name: _version(name) for name in packages},
        "bootstrap": f"{config.n_bootstrap} draws, seed {config.seed}",
        "threads": str(config.n_threads),
    }


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def comparison_json(comparison: Comparison) -> dict[str, Any]:
    """Return every figure of a comparison as JSON values; the bundle's own at the top."""
    return to_json(comparison.report, complete=True) | {
        "routers": plain([asdict(standing) for standing in comparison.standings]),
        "not_measured": [asdict(skipped) for skipped in comparison.skipped],
    }


def report_json(full: FullReport) -> dict[str, Any]:
    """Return every figure of a report as JSON values."""
    return comparison_json(full.comparison) | {
        "created_at": full.created_at,
        "command": full.command,
        "perturbations": plain([asdict(flips) for flips in full.perturbations]),
        "pairs": plain([asdict(flips) for flips in full.pairs]),
        "files": [asdict(file) for file in full.files],
        "environment": full.environment,
    }
