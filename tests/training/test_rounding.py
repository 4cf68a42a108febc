"""Rounding weights together: the same steps, less lost of what a product says."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from pointsman.training.export import quantise
from pointsman.training.rounding import round_rows, round_together
from pointsman.training.smoothing import smooth

from .products import batch, run

pytestmark = pytest.mark.training


@pytest.fixture
def speech():
    """500 tokens of 32 channels that speak together, a matrix for them, and coarse steps."""
    rng = np.random.default_rng(0)
    tokens = rng.normal(size=(500, 8)) @ rng.normal(size=(8, 32)) + 0.1 * rng.normal(size=(500, 32))
    matrix = rng.normal(size=(32, 5))
    return tokens, matrix, np.abs(matrix).max(axis=0) / 127 * 16


def test_rounding_together_loses_less_than_rounding_each(speech):
    tokens, matrix, steps = speech
    together = round_rows(matrix, steps, tokens.T @ tokens) * steps
    each = np.round(matrix / steps) * steps
    lost, usual = (np.square(tokens @ (rounded - matrix)).sum() for rounded in (together, each))
    assert lost < 0.5 * usual


def test_weights_stay_near_what_they_were(speech):
    tokens, matrix, steps = speech
    rows = round_rows(matrix, steps, tokens.T @ tokens)
    assert rows.dtype == np.int8
    assert np.abs(rows * steps - matrix).max() < 8 * steps.max()


def test_channels_that_never_speak_together_are_rounded_to_the_nearest(speech):
    _, matrix, steps = speech
    assert np.array_equal(round_rows(matrix, steps, np.eye(32)), np.round(matrix / steps))


def test_a_graph_comes_closer_to_fp32_on_the_same_steps(product_graph, tmp_path):
    exact = run(product_graph)
    smooth(product_graph, [batch()])
    quantise(product_graph, tmp_path / "int8.onnx")
    before, scales = run(tmp_path / "int8.onnx"), scales_of(tmp_path / "int8.onnx")
    round_together(product_graph, tmp_path / "int8.onnx", [batch()])
    after = run(tmp_path / "int8.onnx")
    assert np.abs(after - exact).mean() < np.abs(before - exact).mean()
    assert scales_of(tmp_path / "int8.onnx") == scales


def scales_of(path):
    tensors = onnx.load(str(path)).graph.initializer
    return {tensor.name: numpy_helper.to_array(tensor).tolist() for tensor in tensors if tensor.name.endswith("_scale")}
