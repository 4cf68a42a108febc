"""Smoothing before quantisation: the same numbers in fp32, closer ones in int8."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from pointsman.training.export import quantise
from pointsman.training.smoothing import smooth

from .products import batch, run

pytestmark = pytest.mark.training


def test_fp32_says_what_it_said(product_graph):
    before = run(product_graph)
    smooth(product_graph, [batch()])
    assert np.allclose(run(product_graph), before, rtol=1e-4, atol=1e-3)


def test_int8_comes_closer_to_fp32(product_graph, tmp_path):
    exact = run(product_graph)
    quantise(product_graph, tmp_path / "plain.onnx")
    smooth(product_graph, [batch()])
    quantise(product_graph, tmp_path / "smooth.onnx")
    plain, smoothed = (np.abs(run(tmp_path / f"{name}.onnx") - exact).max() for name in ("plain", "smooth"))
    assert smoothed < plain / 3


def test_full_strength_makes_channels_equally_large(product_graph):
    smooth(product_graph, [batch()], strength=1.0)
    model = onnx.load(product_graph)
    table, gain, factors = (
        next(numpy_helper.to_array(tensor) for tensor in model.graph.initializer if tensor.name == name)
        for name in ("table", "gain", "states.smoothing")
    )
    largest = np.abs(table * gain * factors).max(axis=0)
    assert np.allclose(largest, largest[0], rtol=1e-4)
