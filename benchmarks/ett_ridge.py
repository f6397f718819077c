"""Ridge regression on the forecaster's own windows: what a linear map of the context reaches.

    python benchmarks/ett_ridge.py ../shared/data/timeseries/ETTh1.csv.gz

The protocol of the ETT benchmark (Zhou et al. 2021, Informer; split as in its code): 12 months to
learn from, 4 to validate, 4 to test, every series in standard deviations of the first 12, error
averaged over all windows, series and the horizon.  One regression is shared by all seven series;
each window is taken relative to its last value; the penalty is chosen on the validation span.
"""

from __future__ import annotations

import argparse
import json
import time

import numpy as np

from tidegate.data.series import Scaler, guess_season, windows
from tidegate.data.tables import read_series
from tidegate.data.windowing import Windowing, Windows

NAMES = ("HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT")
HOURS = 24 * 30  # in a month of the protocol
ENDS = {"train": 12 * HOURS, "validation": 16 * HOURS, "test": 20 * HOURS}
PENALTIES = (0.1, 1.0, 10.0, 100.0, 1e3, 3e3, 1e4, 3e4)


def design(part: Windows) -> tuple[np.ndarray, np.ndarray]:
    """Contexts [rows, context] and targets [rows, horizon] of all windows, float64."""
    rows = np.arange(len(part))
    return part.inputs(rows)[0].astype(np.float64), part.targets(rows).astype(np.float64)


def mean_squared_error(weights: np.ndarray, part: Windows) -> float:
    x, y = design(part)
    return float(np.mean((x @ weights[:-1] + weights[-1] - y) ** 2))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("file", help="ETTh1.csv or ETTh1.csv.gz")
    parser.add_argument("--horizon", type=int, default=24)
    parser.add_argument("--context", type=int, default=336)
    arguments = parser.parse_args()
    context, horizon = arguments.context, arguments.horizon

    series = read_series(arguments.file, "date", NAMES).rows(0, ENDS["test"])
    windowing = Windowing(
        names=NAMES,
        covariate_names=(),
        step=series.step,
        context=context,
        horizon=horizon,
        season=guess_season(series.step),
        segment=context,  # all of it at once
        joint=False,
        anchored=True,
        scaler=Scaler.fit(series.values[: ENDS["train"]]),
        covariate_scaler=None,
    )
    parts, first = {}, context
    for name, end in ENDS.items():
        starts = windows(series.values, context, horizon, first, end)
        parts[name], first = Windows(windowing, series, starts), end

    began = time.perf_counter()
    x, y = design(parts["train"])
    x_mean, y_mean = x.mean(0), y.mean(0)
    gram, moment = (x - x_mean).T @ (x - x_mean), (x - x_mean).T @ (y - y_mean)
    by_penalty = {}
    for penalty in PENALTIES:
        slope = np.linalg.solve(gram + penalty * np.eye(context), moment)
        by_penalty[penalty] = np.vstack([slope, y_mean - x_mean @ slope])
    errors = {p: mean_squared_error(w, parts["validation"]) for p, w in by_penalty.items()}
    best = min(errors, key=lambda penalty: errors[penalty])
    result = {
        "model": "ridge",
        "context": context,
        "horizon": horizon,
        "penalty": best,
        "validation_mse": round(errors[best], 4),
        "test_mse": round(mean_squared_error(by_penalty[best], parts["test"]), 4),
        "seconds": round(time.perf_counter() - began, 1),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
