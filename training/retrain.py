"""Retraining in order: snapshot, train or refit, calibrate, export, measure, contest, register, try in the shadow.

One retraining at a time works in a folder. Each is known by what goes into it (rows, settings, champion, gold sets), so
that one that was cut off goes on where it stood, and one that would give the same again is not started. The folder:

    retrain.lock         held while a retraining runs
    snapshots/DIGEST/    rows
    embeddings/          one file per encoder
    runs/KEY/            state.json, the bundle, the verdict, a checkpoint while the encoder is fine-tuned
"""

import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

from filelock import FileLock, Timeout

from pointsman.classifier.aliases import AliasFolder, Challenger
from pointsman.classifier.assessor import Assessor
from pointsman.classifier.bundle import Bundle, load_bundle
from pointsman.classifier.encoder import OnnxEncoder
from pointsman.classifier.errors import BundleError, InputError
from pointsman.classifier.tokens import TokenBudget

from .config import ContestConfig, TrainConfig
from .contest import Verdict, contest
from .contest_files import gold_by_name, gold_files
from .datasets import Example, digest_of, read_examples
from .embedding_cache import EmbeddingCache
from .evaluate import evaluate
from .fitting import Data, Embedded, finish, split_rows
from .refit import refit_on
from .registry import Run, tracked
from .snapshot import Snapshot, Sources, take_snapshot
from .verdict import JSON_FILE, MARKDOWN_FILE, Judgement, read_judgement, verdict_json, write_verdict

logger = logging.getLogger(__name__)

Mode = Literal["heads", "full"]
#: Why a first champion is there.
_FIRST: Final = "served before anything was promoted"
#: How many retrainings stay in the folder.
_N_KEPT: Final = 5


@dataclass(frozen=True, slots=True)
class RetrainConfig:
    """One retraining.

    Attributes
    ----------
    mode : str
        `heads` keeps the champion's encoder, `full` fine-tunes one anew.
    sources : Sources
        Where rows come from.
    train : TrainConfig
        Settings of the training itself; its data, output, version, readings and traffic are set here.
    work : path
        Folder of this and later retrainings.
    aliases : path
        Alias folder that servers read: its champion is challenged.
    champion : path or None
        Bundle to challenge while the alias folder has no champion; the one in the package when None.
    gold : tuple of path
        Fixed sets of the contest; their groups are kept out of training.
    version : str or None
        Name of the new bundle; made of mode, day and key when None.
    shadow_share : float
        Share of the live turns that a challenger which passed every gate assesses in the shadow; 0 for none.
    again : bool
        Also when the same retraining is done already.
    """

    mode: Mode
    sources: Sources
    train: TrainConfig
    work: Path
    aliases: Path
    champion: Path | None = None
    gold: tuple[Path, ...] = ()
    version: str | None = None
    shadow_share: float = 1.0
    contest: ContestConfig = field(default_factory=ContestConfig)
    again: bool = False


@dataclass(frozen=True, slots=True)
class Retrained:
    """What came out."""

    bundle: Bundle
    judgement: Judgement
    page: Path
    run_id: str | None
    registered: str | None
    is_new: bool
    snapshot: Snapshot


@dataclass(frozen=True, slots=True)
class State:
    """How far one retraining has come; written after each step."""

    version: str
    run_id: str | None = None
    is_fitted: bool = False
    is_done: bool = False
    registered: str | None = None

    @classmethod
    def read(cls, folder: Path) -> "State | None":
        file = folder / "state.json"
        return cls(**json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else None

    def write(self, folder: Path) -> "State":
        folder.mkdir(parents=True, exist_ok=True)
        scratch = folder / ".state.json"
        scratch.write_text(json.dumps(asdict(self)) + "\n", encoding="utf-8")
        os.replace(scratch, folder / "state.json")
        return self


def retrain(config: RetrainConfig) -> Retrained:
    """Train a challenger on everything there is, judge it, and register it.

    Raises
    ------
    InputError
        Another retraining runs, a source cannot be read, or mlflow is missing.
    BundleError
        The champion, or what was trained, is no valid bundle.
    """
    with alone(config.work):
        champion = find_champion(config)
        snapshot = take_snapshot(config.work / "snapshots", config.sources)
        logger.info("snapshot %s: %s", snapshot.digest[:16], snapshot.summary["rows"])
        key = _key(config, snapshot, champion)
        folder = config.work / "runs" / key
        if config.again:
            shutil.rmtree(folder, ignore_errors=True)
        state = State.read(folder) or State(config.version or f"{config.mode}-{_today()}-{key[:6]}").write(folder)
        if state.is_done:
            bundle = load_bundle(folder / "bundle")
            logger.info("nothing is new since %s was trained", state.version)
            return _retrained(bundle, folder, state, snapshot, is_new=False)
        if state.run_id is not None:
            logger.info("goes on with %s, which was cut off", state.version)
        bundle, state = _story(config, champion, snapshot, folder, state)
        return _retrained(bundle, folder, state, snapshot, is_new=True)


@contextmanager
def alone(work: Path) -> Iterator[None]:
    """Hold the folder's lock; the operating system frees it when the process ends, however it ends."""
    work.mkdir(parents=True, exist_ok=True)
    lock, about = FileLock(work / "retrain.lock"), work / "retrain.json"
    try:
        lock.acquire(blocking=False)
    except Timeout as error:
        try:
            held = json.loads(about.read_text(encoding="utf-8"))
            who = f"process {held['pid']} since {held['since']}"
        except (OSError, ValueError, KeyError):
            who = "another process"
        msg = f"{who} retrains in {work}; one at a time may. Wait for it, or name another folder with --work."
        raise InputError(msg) from error
    try:
        values = {"pid": os.getpid(), "since": datetime.now(UTC).isoformat(timespec="seconds")}
        about.write_text(json.dumps(values) + "\n", encoding="utf-8")
        yield
    finally:
        about.unlink(missing_ok=True)
        lock.release()


def find_champion(config: RetrainConfig) -> Bundle:
    """Return the alias folder's champion; a folder without one gets the bundle that served before."""
    folder = AliasFolder(config.aliases)
    with folder.changing():
        if folder.champion() is None:
            folder.promote(folder.add(load_bundle(config.champion).path), reason=_FIRST)
        return load_bundle(config.aliases)


def _story(
    config: RetrainConfig, champion: Bundle, snapshot: Snapshot, folder: Path, state: State
) -> tuple[Bundle, State]:
    started = time.monotonic()
    settings = replace(
        config.train,
        data=(snapshot.train,),
        readings=(),
        traffic=config.sources.traffic,
        output=folder / "bundle",
        version=state.version,
        budget=champion.manifest.budget if config.mode == "heads" else config.train.budget,
    )
    gold = gold_by_name(config.gold)
    data = _data(snapshot, gold, settings)
    with tracked(settings, run_id=state.run_id) as run:
        state = replace(state, run_id=run.run_id).write(folder)
        run.keep("snapshot.json", json.dumps(snapshot.summary, indent=2))
        run.keep("command.json", json.dumps(_about(config, champion), indent=2))
        if not (state.is_fitted and _is_whole(settings.output)):
            bundle = _fit(config, champion, data, settings, run, folder)
            report = evaluate(Assessor.load(bundle.path), data.evaluation) if data.evaluation else None
            bundle = finish(bundle, report, settings, minutes=(time.monotonic() - started) / 60)
            run.finish(bundle, report)
            state = replace(state, is_fitted=True).write(folder)
        bundle = load_bundle(settings.output)
        logger.info("bundle %s after %.0f s; the contest begins", state.version, time.monotonic() - started)
        verdict = _judge(config, champion, bundle, gold, snapshot)
        logger.info("judged after %.0f s", time.monotonic() - started)
        page = write_verdict(folder, verdict)
        AliasFolder(config.aliases).keep_verdict(verdict_json(verdict))
        run.keep(MARKDOWN_FILE, page.read_text(encoding="utf-8"))
        run.keep(JSON_FILE, (folder / JSON_FILE).read_text(encoding="utf-8"))
        tags = {"verdict": "promote" if verdict.promotes else "keep", "snapshot": snapshot.digest}
        state = replace(state, registered=run.register(bundle, "challenger", tags)).write(folder)
    _try_out(config, bundle, state, verdict)
    (folder / "checkpoint.pt").unlink(missing_ok=True)
    _prune(folder)
    return bundle, replace(state, is_done=True).write(folder)


def _data(snapshot: Snapshot, gold: dict[str, list[Example]], settings: TrainConfig) -> Data:
    """Split the snapshot; groups of the gold sets are taken out of it."""
    held_out = [example for examples in gold.values() for example in examples]
    return split_rows(read_examples([snapshot.train]), held_out, snapshot.traffic(), settings)


def _fit(config: RetrainConfig, champion: Bundle, data: Data, settings: TrainConfig, run: Run, folder: Path) -> Bundle:
    # What an interrupted run left may be half a file.
    shutil.rmtree(settings.output, ignore_errors=True)
    embedder = _Cached(config.work / "embeddings", settings.output, settings.budget)
    if config.mode == "heads":
        return refit_on(champion, data, settings, run, embedder=embedder)
    try:
        from .train import train_on
    except ModuleNotFoundError as error:
        msg = f"--full needs {error.name}, which is not installed. Run: pip install 'pointsman[training]'."
        raise InputError(msg) from error
    checkpoint = folder / "checkpoint.pt"
    return train_on(data, settings, run, embedder=embedder, checkpoint=checkpoint, successor_of=champion)


@dataclass(frozen=True, slots=True)
class _Cached:
    """Embeds with the cache of whatever graph lies in a bundle's folder by then."""

    folder: Path
    bundle: Path
    budget: TokenBudget

    def __call__(self, runtime: OnnxEncoder, examples: Any) -> Embedded:
        return EmbeddingCache.of(self.folder, self.bundle, self.budget).embed(runtime, examples)


def _judge(
    config: RetrainConfig, champion: Bundle, bundle: Bundle, gold: dict[str, list[Example]], snapshot: Snapshot
) -> Verdict:
    groups = {example.group for examples in gold.values() for example in examples}
    recent = read_examples([snapshot.recent])
    kept = [
        (example, day)
        for example, day in zip(recent, snapshot.recent_days(), strict=True)
        if example.group not in groups
    ]
    return contest(
        Assessor.load(champion.path),
        Assessor.load(bundle.path),
        gold,
        config.contest,
        recent=[example for example, _ in kept],
        days=[day for _, day in kept],
    )


def _try_out(config: RetrainConfig, bundle: Bundle, state: State, verdict: Verdict) -> None:
    """Put a challenger that passed every gate where servers try it in the shadow."""
    if not verdict.promotes:
        return
    folder = AliasFolder(config.aliases)
    with folder.changing():
        pointer = replace(folder.add(bundle.path), reason=verdict.reason, registered=state.registered)
        folder.challenge(Challenger(pointer, shadow_share=config.shadow_share))


def _retrained(bundle: Bundle, folder: Path, state: State, snapshot: Snapshot, *, is_new: bool) -> Retrained:
    page, judgement = folder / MARKDOWN_FILE, read_judgement(folder)
    return Retrained(bundle, judgement, page, state.run_id, state.registered, is_new, snapshot)


def _prune(folder: Path) -> None:
    """Remove what is left of old retrainings; the registry and the alias folder have bundles of their own."""
    others = [other for other in folder.parent.iterdir() if other != folder]
    for old in sorted(others, key=lambda path: path.stat().st_mtime, reverse=True)[_N_KEPT - 1 :]:
        shutil.rmtree(old, ignore_errors=True)


def _is_whole(folder: Path) -> bool:
    try:
        load_bundle(folder)
    except BundleError:
        return False
    return True


def _key(config: RetrainConfig, snapshot: Snapshot, champion: Bundle) -> str:
    """Name a retraining by everything that its outcome depends on."""
    parts = _about(config, champion) | {"snapshot": snapshot.digest}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def _about(config: RetrainConfig, champion: Bundle) -> dict[str, Any]:
    settings = config.train.to_json()
    for name in ("data", "output", "readings", "version"):
        del settings[name]
    return {
        "mode": config.mode,
        "champion": champion.digest,
        "settings": settings,
        "lexicon": [digest_of(path) for path in config.train.lexicon],
        "gold": {name: digest_of(path) for name, path in gold_files(config.gold).items()},
        "contest": asdict(config.contest),
        "version": config.version,
    }


def _today() -> str:
    return datetime.now(UTC).strftime("%Y%m%d")
