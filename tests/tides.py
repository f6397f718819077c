"""Two seasonal series, and forecasters of them that are small enough for tests."""

import dataclasses

import numpy as np
import torch

import tidegate as tg
from tidegate.data.series.series import Series

ROWS, SEASON, HORIZON, CONTEXT = 400, 12, 6, 24
SMALL = {
    "horizon": HORIZON,
    "context": CONTEXT,
    "season": SEASON,
    "segment": 4,
    "linear": False,  # the network alone, which these tests look at
    "hidden_sizes": (12,),
    "batch_size": 32,
    "dropout": 0.0,
    "train_until": "280",
    "validate_until": "340",
    "verbose": 0,
}


def tides(rows=ROWS, covariates=False):
    """Two seasonal series with noise, on different scales and rising by different amounts."""
    rng = np.random.default_rng(1)
    t = np.arange(rows)
    wave = np.sin(2 * np.pi * t / SEASON)
    values = np.stack([wave, 50 + 9 * np.roll(wave, 3) + 0.01 * t], axis=1)
    values += rng.normal(size=values.shape) * (0.1, 0.9)
    times = np.datetime64("2020-01-01T00", "s") + t * np.timedelta64(3600, "s")
    extra = rng.normal(size=(rows, 1)) * 5 + 20 if covariates else None
    return Series.of(
        times,
        values,
        names=["level", "flow"],
        covariates=extra,
        covariate_names=["wind"] if covariates else None,
    )


def changed(series, rows, column=0, amount=100.0, covariate=False):
    """``series`` with ``amount`` added in ``rows`` of one column."""
    part = "covariates" if covariate else "values"
    array = getattr(series, part).copy()
    array[rows, column] += amount
    return dataclasses.replace(series, **{part: array})


def small(**options):
    return tg.Forecaster(**{**SMALL, "max_steps": 3, **options})


def learned(series):
    torch.set_num_threads(1)
    return small(hidden_sizes=(24,), max_steps=400, learning_rate=1e-2).fit(series)
