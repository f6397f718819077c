"""Model files written before cells declared their parameters still load and answer alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tidegate as tg

# of SequenceRegressor(cell, hidden_sizes=(3, 2), max_steps=3) after 24 sequences of 6 steps
ANSWERS = {
    "rnn": [-2.52570905, -2.17914139],
    "gru": [1.32412477, 0.36274832],
    "lstm": [0.80766224, 0.89354826],
}


@pytest.mark.parametrize("cell", ANSWERS)
def test_a_file_of_before_loads_and_answers_as_it_did(cell: str) -> None:
    path = Path(__file__).parent / "data" / f"{cell}.safetensors"
    model = tg.SequenceRegressor.load(path)
    x = np.random.default_rng(0).standard_normal((24, 6, 1)).astype(np.float32)
    np.testing.assert_allclose(model.predict(x[:2]), ANSWERS[cell], rtol=0, atol=1e-5)
