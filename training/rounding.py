"""Round the weights of a quantised graph together, so that their errors cancel on ordinary texts.

Quantisation rounds each weight to the nearest of 255 steps, whatever the others do. Once activations are smoothed,
most of what int8 loses is that (LOG.md). Here the rows of a matrix are rounded one after the other, and the error of
each is spread over those that are still to come, in the proportion in which their channels speak at the same time.
Steps and bytes stay as they were.

References
----------
Frantar et al. 2023, "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers", ICLR,
arXiv:2210.17323.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper
from threadpoolctl import threadpool_limits

from pointsman.classifier.tokens import TokenBatch

from .activations import products_of, watch

Doubles = npt.NDArray[np.float64]

#: Added to the diagonal of the moments, as a share of its mean, so that channels that hardly speak stay as they are.
DAMPING: Final = 0.01
#: Rows whose errors are passed on among themselves first; only for speed.
_N_BLOCK: Final = 128
_LARGEST: Final = 127


def round_together(fp32: Path, int8: Path, batches: Sequence[TokenBatch]) -> None:
    """Rewrite the weights of an int8 graph file.

    Parameters
    ----------
    fp32 : path
        The graph that `int8` was quantised from, without heads.
    int8 : path
        Its products get new weights on the steps they have.
    batches : sequence of TokenBatch
        Tokens of ordinary texts.
    """
    exact, quantised = onnx.load(str(fp32)), onnx.load(str(int8))
    weights = {tensor.name: tensor for tensor in exact.graph.initializer}
    rounded = {tensor.name: tensor for tensor in quantised.graph.initializer}
    products = products_of(exact)
    # On one thread the sums have one order, and a run gives the same bytes again.
    with threadpool_limits(1, user_api="blas"):
        for name, moments in _moments(exact, list(products), batches).items():
            for weight in {node.input[1]: None for node in products[name]}:
                steps = numpy_helper.to_array(rounded[f"{weight}_scale"])
                matrix = numpy_helper.to_array(weights[weight])
                whole = round_rows(matrix, steps, moments)
                rounded[f"{weight}_quantized"].CopyFrom(numpy_helper.from_array(whole, f"{weight}_quantized"))
    onnx.save(quantised, str(int8))


def round_rows(
    matrix: npt.NDArray[np.floating], steps: npt.NDArray[np.floating], moments: Doubles
) -> npt.NDArray[np.int8]:
    """Round a matrix to whole steps so that what it makes of its input changes least.

    Parameters
    ----------
    matrix : array of shape (n_channels, n_outputs)
        What a product multiplies its input with.
    steps : array of shape (n_outputs,)
        The step of each output.
    moments : array of shape (n_channels, n_channels)
        Second moments of the input.

    Returns
    -------
    array of int8, shape (n_channels, n_outputs)
        Between -127 and 127; times `steps` it is close to `matrix`.
    """
    n_channels = len(matrix)
    damped = moments + DAMPING * np.diag(moments).mean() * np.eye(n_channels)
    # The loudest first, while there are others to take their errors.
    order = np.argsort(-np.diag(damped), kind="stable")
    left = matrix[order].astype(np.float64)
    spread = np.linalg.cholesky(np.linalg.inv(damped[np.ix_(order, order)])).T
    whole = np.empty_like(left)
    for start in range(0, n_channels, _N_BLOCK):
        end = min(start + _N_BLOCK, n_channels)
        errors = np.empty((end - start, left.shape[1]))
        for i in range(start, end):
            whole[i] = np.clip(np.round(left[i] / steps), -_LARGEST, _LARGEST)
            error = (left[i] - whole[i] * steps) / spread[i, i]
            left[i + 1 : end] -= np.outer(spread[i, i + 1 : end], error)
            errors[i - start] = error
        left[end:] -= spread[start:end, end:].T @ errors
    rows = np.empty(left.shape, np.int8)
    rows[order] = whole
    return rows


def _moments(model: onnx.ModelProto, names: Sequence[str], batches: Sequence[TokenBatch]) -> Mapping[str, Doubles]:
    """Return X'X of each named tensor over all tokens."""
    moments: dict[str, Doubles] = {}
    for values in watch(model, names, batches):
        for name, value in values.items():
            moments[name] = moments.get(name, 0.0) + (value.T @ value).astype(np.float64)
    return moments
