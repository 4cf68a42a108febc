"""Tracking: one MLflow run tells the whole story of a training run. The only file of the package that names mlflow.

Kept in the run: settings and data digests, environment, loss curve, figures on held-out turns with confusion matrices
and reliability plots, the scikit-learn heads (joblib; for looking at, never loaded by the runtime), the graph with its
signature as a model, and the whole bundle. The model registry holds bundles as versions of one model.
"""

import logging
import platform
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path
from typing import Any, Final, Protocol

from pointsman.classifier.bundle import MODEL, Bundle
from pointsman.classifier.errors import InputError
from pointsman.classifier.labels import HEADS, Head

from .config import TrainConfig
from .evaluate import Report, to_json
from .heads import LinearHead

logger = logging.getLogger(__name__)

EXPERIMENT: Final = "pointsman"
#: Name in the model registry; its aliases are champion and challenger.
REGISTERED: Final = "pointsman"
#: File of a local store.
_DATABASE: Final = "mlflow.db"
#: Where a run keeps its bundle.
BUNDLE: Final = "bundle"
#: Packages whose version can change what a run gives.
_ENVIRONMENT: Final = (
    "pointsman",
    "torch",
    "transformers",
    "tokenizers",
    "scikit-learn",
    "numpy",
    "onnx",
    "onnxruntime",
)


class Run(Protocol):
    """What the training story tells about itself."""

    @property
    def run_id(self) -> str | None:
        """Name of the run in the tracking store; `None` when nothing is kept."""
        ...

    def progress(self, step: int, figures: Mapping[str, float]) -> None:
        """Add one point to the curves."""
        ...

    def heads(self, heads: Mapping[Head, LinearHead]) -> None:
        """Keep the fitted estimators."""
        ...

    def finish(self, bundle: Bundle, report: Report | None) -> None:
        """Keep the bundle and what was measured."""
        ...

    def keep(self, name: str, content: str) -> None:
        """Keep a text file of this name."""
        ...

    def register(self, bundle: Bundle, alias: str, tags: Mapping[str, str]) -> str | None:
        """Enter the kept bundle into the model registry under an alias, and return its version there."""
        ...


class Untracked:
    """Keeps nothing."""

    run_id: str | None = None

    def progress(self, step: int, figures: Mapping[str, float]) -> None:
        pass

    def heads(self, heads: Mapping[Head, LinearHead]) -> None:
        pass

    def finish(self, bundle: Bundle, report: Report | None) -> None:
        pass

    def keep(self, name: str, content: str) -> None:
        pass

    def register(self, bundle: Bundle, alias: str, tags: Mapping[str, str]) -> str | None:
        return None


def local_store(folder: Path) -> str:
    """Return the address of a store in a folder: a SQLite file, with artifacts beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{(folder / _DATABASE).resolve()}"


@contextmanager
def tracked(config: TrainConfig, *, run_id: str | None = None) -> Iterator[Run]:
    """Open a run in the store that `config.tracking` names, or go on with one, and close it as finished or failed.

    Raises
    ------
    InputError
        mlflow is not installed, or the store cannot be reached.
    """
    if config.tracking is None:
        yield Untracked()
        return
    with _open(config.tracking, config, run_id) as run:
        logger.info("tracked as run %s", run.run_id)
        yield run


def set_alias(store: str, alias: str, registered: str | None) -> None:
    """Let an alias of the model registry name a version, or nothing.

    Raises
    ------
    InputError
        mlflow is not installed, or the registry refuses.
    """
    from mlflow.exceptions import MlflowException

    client = _connect(store).MlflowClient()
    try:
        if registered is None:
            client.delete_registered_model_alias(REGISTERED, alias)
        else:
            client.set_registered_model_alias(REGISTERED, alias, registered)
    except MlflowException as error:
        msg = f"the registry does not give version {registered} of {REGISTERED!r} the alias {alias!r}: {error}"
        raise InputError(msg) from error


def alias_of(store: str, alias: str) -> str | None:
    """Return the version that an alias of the model registry names; None when it names none."""
    if _is_empty(store):
        return None
    client = _connect(store).MlflowClient()
    from mlflow.exceptions import MlflowException

    try:
        found = client.get_registered_model(REGISTERED).aliases.get(alias)
    except MlflowException:  # there is no such model
        return None
    return None if found is None else str(found)


def enter(store: str, bundle: Bundle) -> str | None:
    """Enter a bundle that was not trained here into the model registry, in a run of its own; return its version."""
    mlflow = _connect(store)
    _open_experiment(mlflow, store)
    with mlflow.start_run(run_name=bundle.manifest.version) as active:
        mlflow.set_tags({"bundle_digest": bundle.digest, "bundle_version": bundle.manifest.version})
        mlflow.log_artifacts(str(bundle.path), BUNDLE)
        return _MlflowRun(mlflow, active.info.run_id).register(bundle, "champion", {})


def _is_empty(store: str) -> bool:
    return "://" not in store and not (Path(store) / _DATABASE).is_file()


def find_registered(store: str, digest: str) -> str | None:
    """Return the version under which the model registry holds a bundle; None when it holds it not at all."""
    if _is_empty(store):
        return None
    client = _connect(store).MlflowClient()
    found = client.search_model_versions(f"name = '{REGISTERED}' and tags.bundle_digest = '{digest}'")
    return str(found[0].version) if found else None


def _connect(store: str) -> Any:
    """Point mlflow at a store and return it."""
    try:
        import mlflow
    except ModuleNotFoundError as error:
        msg = "tracking needs mlflow, which is not installed. Run: pip install 'pointsman[training]', or --no-track."
        raise InputError(msg) from error
    mlflow.set_tracking_uri(local_store(Path(store)) if "://" not in store else store)
    return mlflow


@contextmanager
def _open(store: str, config: TrainConfig, run_id: str | None) -> Iterator["_MlflowRun"]:
    mlflow = _connect(store)
    _open_experiment(mlflow, store)
    with mlflow.start_run(run_id=run_id, run_name=config.version) as active:
        mlflow.log_params(_flat(config.to_json()))
        mlflow.log_dict(config.to_json(), "config.json")
        mlflow.log_dict(_environment(), "environment.json")
        yield _MlflowRun(mlflow, active.info.run_id)


def _open_experiment(mlflow: Any, store: str) -> None:
    if mlflow.get_experiment_by_name(EXPERIMENT) is None:
        where = None if "://" in store else (Path(store) / "artifacts").resolve().as_uri()
        mlflow.create_experiment(EXPERIMENT, artifact_location=where)
    mlflow.set_experiment(EXPERIMENT)


class _MlflowRun:
    """A run of the tracking store."""

    def __init__(self, mlflow: Any, run_id: str) -> None:
        self._mlflow = mlflow
        self._run_id = run_id

    @property
    def run_id(self) -> str | None:
        return self._run_id

    def progress(self, step: int, figures: Mapping[str, float]) -> None:
        self._mlflow.log_metrics(dict(figures), step=step)

    def heads(self, heads: Mapping[Head, LinearHead]) -> None:
        import joblib

        with tempfile.TemporaryDirectory() as folder:
            for head, fitted in heads.items():
                if fitted.estimator is None:
                    continue
                path = Path(folder) / f"{head}.joblib"
                joblib.dump(fitted.estimator, path)
                self._mlflow.log_artifact(str(path), "heads")

    def finish(self, bundle: Bundle, report: Report | None) -> None:
        from .run_plots import confusion_figure, reliability_figure

        manifest = bundle.manifest
        self._mlflow.log_dict(manifest.training_data["digests"], "data.json")
        self._mlflow.set_tags({"bundle_digest": bundle.digest, "bundle_version": manifest.version})
        self._mlflow.log_metrics({f"temperature.{head}": manifest.temperatures[head] for head in HEADS})
        if report is not None:
            self._mlflow.log_dict(to_json(report, complete=True), "evaluation.json")
            self._mlflow.log_metrics(_figures(report))
            for head in HEADS:
                self._mlflow.log_figure(reliability_figure(head, report.heads[head]), f"plots/reliability_{head}.png")
                self._mlflow.log_figure(confusion_figure(head, report.heads[head]), f"plots/confusion_{head}.png")
        self._mlflow.log_artifacts(str(bundle.path), BUNDLE)
        self._log_graph(bundle)

    def _log_graph(self, bundle: Bundle) -> None:
        """Log the graph as a model with its signature, read from the graph itself."""
        import mlflow.onnx
        import numpy as np
        import onnx
        from mlflow.models import ModelSignature
        from mlflow.types.schema import Schema, TensorSpec

        graph = onnx.load(str(bundle.file(MODEL)))

        def schema(values: Any) -> Schema:
            return Schema(
                [
                    TensorSpec(
                        np.dtype(onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)),
                        tuple(size.dim_value or -1 for size in value.type.tensor_type.shape.dim),
                        value.name,
                    )
                    for value in values
                ]
            )

        signature = ModelSignature(schema(graph.graph.input), schema(graph.graph.output))
        mlflow.onnx.log_model(graph, name="graph", signature=signature, pip_requirements=["onnxruntime"])

    def keep(self, name: str, content: str) -> None:
        self._mlflow.log_text(content, name)

    def register(self, bundle: Bundle, alias: str, tags: Mapping[str, str]) -> str | None:
        from mlflow.exceptions import MlflowException

        client = self._mlflow.MlflowClient()
        with suppress(MlflowException):  # it is there already
            client.create_registered_model(REGISTERED, description="Bundles of pointsman, which serves the champion.")
        named = {"bundle_digest": bundle.digest, "bundle_version": bundle.manifest.version, **tags}
        for known in client.search_model_versions(f"name = '{REGISTERED}' and run_id = '{self._run_id}'"):
            if known.tags.get("bundle_digest") == bundle.digest:  # an earlier try came as far as this
                version = known
                break
        else:
            source = f"runs:/{self._run_id}/{BUNDLE}"
            version = client.create_model_version(REGISTERED, source, self._run_id, tags=named)
        client.set_registered_model_alias(REGISTERED, alias, version.version)
        return str(version.version)


def _figures(report: Report) -> dict[str, float]:
    """Return the figures that runs are compared by."""
    figures = {"care.auc": report.care.auc}
    for share, recall in report.care.recall.items():
        figures[f"care.recall_at_{share.rstrip('%')}"] = recall
    for head, result in report.heads.items():
        figures |= {f"{head}.accuracy": result.accuracy, f"{head}.macro_f1": result.macro_f1, f"{head}.ece": result.ece}
    return {name: value for name, value in figures.items() if value == value}  # NaN: a set too small to tell


def _environment() -> dict[str, str]:
    def version(name: str) -> str:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            return "not installed"

    return {"python": platform.python_version(), "machine": platform.machine()} | {
        name: version(name) for name in _ENVIRONMENT
    }


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": str(value)[:500]}
    return flat
