"""Fit temperatures and the novelty scale on groups that training did not see."""

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from sklearn.cluster import MiniBatchKMeans

from pointsman.classifier.bundle import NoveltyScale
from pointsman.classifier.calibration import apply_temperature

from .config import NoveltyConfig
from .metrics import negative_log_likelihood

FloatArray = npt.NDArray[np.float32]


def fit_temperature(logits: npt.NDArray[np.floating], truth: npt.NDArray[np.int64]) -> float:
    """Return the temperature with the least log loss, between 0.2 and 10."""
    found = minimize_scalar(
        lambda log_t: negative_log_likelihood(truth, apply_temperature(logits, float(np.exp(log_t)))),
        bounds=(np.log(0.2), np.log(10.0)),
        method="bounded",
        options={"xatol": 1e-4},
    )
    return round(float(np.exp(found.x)), 4)


def unit(vectors: FloatArray) -> FloatArray:
    """Scale rows to length 1."""
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12), dtype=np.float32)


def reference_set(embedding: FloatArray, config: NoveltyConfig) -> FloatArray:
    """Return unit centres of the training embeddings, shape (n_centres, n_dimensions)."""
    n_centres = min(config.n_centres, len(embedding))
    model = MiniBatchKMeans(n_centres, random_state=config.seed, n_init=3, batch_size=1024)
    return unit(model.fit(unit(embedding)).cluster_centers_.astype(np.float32))


def novelty_scale(embedding: FloatArray, reference: FloatArray) -> NoveltyScale:
    """Place the scale on held-out turns: novelty begins past 98 % of them.

    The far end lies as far again beyond the ordinary spread; `test_novelty` shows what scores there.
    """
    distance = 1.0 - (unit(embedding) @ reference.T).max(axis=1)
    middle, near = np.quantile(distance, [0.5, 0.98])
    return NoveltyScale(near=round(float(near), 4), far=round(float(near + (near - middle)), 4))
