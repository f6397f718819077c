"""Small models of two tasks, for the tests of the model file."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from tidegate.model.architecture import Architecture
from tidegate.model.checkpoint import (
    ModelFile,
)

TEXT = Architecture(
    cell="gru",
    vocabulary_size=5,
    input_size=None,
    embedding_size=2,
    hidden_sizes=(3,),
    bidirectional=True,
    readout="last",
    output_size=2,
    batch_norm=False,
    embedding_dropout=0.0,
    dropout=0.5,
    recurrent_dropout=0.0,
)
SERIES = replace(
    TEXT, vocabulary_size=None, embedding_size=None, input_size=2, readout="every", output_size=4
)


def classifier() -> ModelFile:
    rng = np.random.default_rng(0)
    return ModelFile(
        task="text-classifier",
        architecture=TEXT,
        tensors={
            name: rng.standard_normal(shape).astype(np.float32)
            for name, shape in TEXT.tensor_shapes().items()
        },
        encoder={"level": "char", "characters": "аб\u2028😀"},
        labels=["good", "schlecht, naïve"],
        options={"epochs": 3, "run_folder": None, "hidden_sizes": [3]},
        metrics={"accuracy": 0.9, "auroc": math.nan},
        history={"step": [10, 20], "train_loss": [0.7, 0.25], "auroc": [math.nan, 0.5]},
        provenance={"data": "reviews.csv"},
        test_vector={
            "input": np.array([[1, 2], [4, 0]]),
            "lengths": np.array([2, 0]),
            "output": np.array([[0.1, -0.2], [0.3, 4.0]], np.float32),
        },
    )


def forecaster() -> ModelFile:
    rng = np.random.default_rng(1)
    return ModelFile(
        task="forecaster",
        architecture=SERIES,
        tensors={
            name: rng.standard_normal(shape).astype(np.float32)
            for name, shape in SERIES.tensor_shapes().items()
        },
        scaling={"mean": [1.5], "scale": [2.0], "horizon": 4},
        options={},
        metrics={},
        history={},
        provenance={},
        test_vector={
            "input": rng.standard_normal((3, 1, 2)).astype(np.float32),
            "output": rng.standard_normal((3, 1, 4)).astype(np.float32),
        },
    )
