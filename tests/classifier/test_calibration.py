"""Temperature changes confidence, never order."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pointsman.classifier.calibration import apply_temperature, calibrated
from pointsman.classifier.errors import CalibrationError

logits = arrays(np.float64, st.tuples(st.integers(1, 5), st.integers(2, 14)), elements=st.floats(-50, 50))
temperatures = st.floats(0.05, 20)


@given(logits, temperatures)
def test_rows_sum_to_one(rows, temperature):
    probabilities = apply_temperature(rows, temperature)
    assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-6)
    assert (probabilities >= 0).all()


@given(logits, temperatures)
def test_temperature_keeps_the_best_label_best(rows, temperature):
    probabilities = apply_temperature(rows, temperature)
    best = np.take_along_axis(probabilities, rows.argmax(axis=1)[:, None], axis=1)[:, 0]
    assert np.allclose(best, probabilities.max(axis=1))


def test_higher_temperature_is_less_confident():
    row = np.array([[2.0, 1.0, 0.0]])
    assert apply_temperature(row, 2.0).max() < apply_temperature(row, 1.0).max()


@pytest.mark.parametrize("temperature", [0.0, -0.3, float("nan"), float("inf")])
def test_senseless_temperature_is_refused(temperature):
    with pytest.raises(CalibrationError, match="must be finite and > 0"):
        apply_temperature(np.zeros((1, 2)), temperature)


@given(logits, temperatures)
def test_one_text_gets_what_many_get(rows, temperature):
    alone = [calibrated(row, temperature) for row in rows.tolist()]
    assert np.allclose(alone, apply_temperature(rows, temperature), rtol=1e-12, atol=1e-300)
