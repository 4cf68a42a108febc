"""A verified bundle at work: turns -> calibrated assessments with a novelty score."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from .assessment import Assessment, HeadResult, Turn
from .bundle import REFERENCE, Bundle, NoveltyScale, load_bundle
from .calibration import apply_temperature, calibrated
from .encoder import Encoded, OnnxEncoder
from .errors import BundleCorruptError
from .labels import HEADS, Head
from .risk_bound import RiskBound
from .text import Text, build_text

FloatArray = npt.NDArray[np.float32]


class Assessor:
    """Assesses turns with one bundle. Safe to share between threads."""

    def __init__(self, bundle: Bundle, encoder: OnnxEncoder, reference: FloatArray) -> None:
        self.bundle = bundle
        self._encoder = encoder
        self._reference = reference

    @classmethod
    def load(cls, path: Path | str | None = None, *, n_threads: int = 1) -> "Assessor":
        """Verify and load a bundle; see `load_bundle` for what is refused."""
        bundle = load_bundle(path)
        try:
            reference = np.load(bundle.file(REFERENCE), allow_pickle=False).astype(np.float32)
        except (ValueError, EOFError, TypeError) as exc:
            msg = f"{REFERENCE} of bundle '{bundle.path.name}' is no array of numbers. Export the bundle again."
            raise BundleCorruptError(msg) from exc
        return cls(bundle, OnnxEncoder.load(bundle, n_threads=n_threads), reference)

    @property
    def version(self) -> str:
        return self.bundle.manifest.version

    @property
    def risk_bounds(self) -> tuple[RiskBound, ...]:
        return self.bundle.manifest.risk_bounds

    def assess(self, turns: Sequence[Turn]) -> list[Assessment]:
        """Assess turns, in order; what one gets does not depend on the others.

        Raises
        ------
        InferenceError
            The runtime failed.
        """
        return self.assess_texts([build_text(turn) for turn in turns])

    def embed(self, turns: Sequence[Turn]) -> FloatArray:
        """Return unit embeddings, shape (n_turns, n_dimensions): their dot products say how alike turns read.

        Raises
        ------
        InferenceError
            The runtime failed.
        """
        return self._encoder.encode([build_text(turn) for turn in turns]).embedding

    def assess_texts(self, texts: Sequence[Text]) -> list[Assessment]:
        """Assess model inputs, in order."""
        return self.look(texts)[0]

    def look(self, texts: Sequence[Text]) -> tuple[list[Assessment], FloatArray]:
        """Assess model inputs, and return their unit embeddings, shape (n_texts, n_dimensions), too."""
        if not texts:
            return [], np.zeros((0, 0), dtype=np.float32)
        encoded = self._encoder.encode(texts)
        manifest = self.bundle.manifest
        temperatures, version = manifest.temperatures, manifest.version
        columns = [
            [HeadResult(head, calibrated(logits, temperatures[head])) for logits in encoded.logits[head].tolist()]
            for head in HEADS
        ]
        scores = novelty(encoded.surface, self._reference, manifest.novelty)
        assessments = [
            Assessment(category, risk, scope, turn, score, version)
            for category, risk, scope, turn, score in zip(*columns, scores, strict=True)
        ]
        return assessments, encoded.embedding

    def probabilities(self, encoded: Encoded) -> dict[Head, npt.NDArray[np.float64]]:
        """Apply each head's temperature to its logits."""
        temperatures = self.bundle.manifest.temperatures
        return {head: apply_temperature(encoded.logits[head], temperatures[head]) for head in HEADS}


def distance(surface: FloatArray, reference: FloatArray) -> npt.NDArray[np.float64]:
    """Measure how far texts lie from the training data: the Mahalanobis distance.

    Parameters
    ----------
    surface : float array, shape (n_texts, n_hidden)
        Mean states of the prompts in the middle of the encoder.
    reference : float array, shape (1 + n_hidden, n_hidden)
        First row: the training mean. Below: the matrix that whitens differences from it.

    Returns
    -------
    float array, shape (n_texts,)
        Not negative; about the root of `n_hidden` for training turns.

    References
    ----------
    Lee et al. 2018, "A Simple Unified Framework for Detecting Out-of-Distribution Samples and Adversarial Attacks",
    arXiv:1807.03888 (with one class and shrunk covariance).
    """
    return np.array(_distances(surface, reference))


def _distances(surface: FloatArray, reference: FloatArray) -> list[float]:
    white = (surface - reference[0]) @ reference[1:]  # (n_texts, n_hidden)
    # One product a text in the place of three operations on arrays, whose code a run of the graph has put out of the
    # processor's caches.
    return [math.sqrt(np.vdot(row, row)) for row in white]


def novelty(surface: FloatArray, reference: FloatArray, scale: NoveltyScale) -> list[float]:
    """Score how unlike the training data each text is.

    Parameters
    ----------
    surface, reference
        As for `distance`.
    scale : NoveltyScale
        Distances where novelty begins and where it is complete.

    Returns
    -------
    list of float, shape (n_texts,)
        0 (ordinary) to 1 (foreign).
    """
    near, width = scale.near, max(scale.far - scale.near, 1e-9)
    return [min(max((far - near) / width, 0.0), 1.0) for far in _distances(surface, reference)]
