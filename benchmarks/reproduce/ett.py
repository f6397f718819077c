r"""ETTh1, seven series 24, 48 and 168 hours ahead, beside ridge regression and the naive forecast.

    python benchmarks/reproduce/ett.py DATA
    python benchmarks/reproduce/ett.py DATA --horizon 24

The protocol of the ETT benchmark (Zhou et al. 2021, Informer; split as in its code): 12 months to
learn from, 4 to choose by, 4 to test, every series in standard deviations of the first 12, errors
averaged over all windows, series and the horizon.  Defaults, seeds 0, 1, 2.  Ridge regression maps
the same windows, less their last values, its penalty chosen on the validation months; the seasonal
naive forecast is the last day again.  A seed's figures are what these commands tell:

    zcat ETTh1.csv.gz | head -14401 > ETTh1.csv
    tidegate train forecaster ETTh1.csv --time date --target HUFL,HULL,MUFL,MULL,LUFL,LULL,OT \
        --horizon 24 --train-until 8640 --validate-until 11520 --seed 0 -o ett.safetensors
    tidegate evaluate ett.safetensors ETTh1.csv

Rows go to benchmarks/results/ett.json.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from record import Clock, Record, Row, markdown

import tidegate as tg
from tidegate.comparison.experiments.forecasts import Forecasts
from tidegate.data.series.series import Series
from tidegate.data.series.tables import read_series

SEEDS = (0, 1, 2)
NAMES = ("HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT")
HOURS = 24 * 30  # in a month of the protocol
# The LSTM of the Informer paper's table of multivariate forecasts, from memory.
PUBLISHED = {24: 0.650, 48: 0.702, 168: 1.212}


def measure(series: Series, horizon: int) -> Row:
    """Figures of every seed on the test months, and of what costs little."""
    models, times = [], []
    for seed in SEEDS:
        clock = Clock()
        model = tg.Forecaster(
            horizon=horizon,
            train_until=str(12 * HOURS),
            validate_until=str(16 * HOURS),
            seed=seed,
            verbose=0,
        )
        models.append(model.fit(series))
        times.append(clock.read())
    clock = Clock()
    baselines = Forecasts(models[0], series, validation=None, test=None).baselines(models[0])
    simple = {baseline.name: round(baseline.held_out or np.nan, 4) for baseline in baselines}
    figures = {
        name: [round(model.metrics_[name], 4) for model in models]
        for name in ("mse", "test_mse", "test_mae")
    }
    return {
        "data": "ETTh1",
        "horizon": horizon,
        "context": models[0].windowing_.context,
        "seeds": list(SEEDS),
        "parameters": models[0].runtime_.architecture.parameter_count(),
        "validation_mse": figures["mse"],
        "test_mse": figures["test_mse"],
        "test_mae": figures["test_mae"],
        "mean_test_mse": round(float(np.mean(figures["test_mse"])), 4),
        "mean_test_mae": round(float(np.mean(figures["test_mae"])), 4),
        "ridge_test_mse": simple["ridge regression"],
        "seasonal_naive_test_mse": simple["seasonal naive"],
        "naive_test_mse": simple["naive"],
        "published": PUBLISHED[horizon],
        "published_model": "LSTM, Zhou et al. 2021",
        "confidence_in_published": "memory",
        "seconds": [time["seconds"] for time in times],
        "cpu_seconds": [time["cpu_seconds"] for time in times],
        "baselines_cpu_seconds": clock.read()["cpu_seconds"],
    }


COLUMNS: dict[str, Any] = {
    "horizon": lambda r: r["horizon"],
    "test MSE (seeds)": lambda r: (
        f"**{r['mean_test_mse']:.3f}** ({', '.join(f'{v:.4f}' for v in r['test_mse'])})"
    ),
    "test MAE": lambda r: f"{r['mean_test_mae']:.3f}",
    "ridge": lambda r: f"{r['ridge_test_mse']:.3f}",
    "seasonal naive": lambda r: f"{r['seasonal_naive_test_mse']:.3f}",
    "LSTM of the Informer paper (from memory)": lambda r: f"{r['published']:.3f}",
    "CPU seconds a seed": lambda r: round(float(np.mean(r["cpu_seconds"]))),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path, help="folder with timeseries/ETTh1.csv.gz")
    parser.add_argument("--horizon", type=int, choices=PUBLISHED, help="this horizon alone")
    chosen = parser.parse_args()
    file = chosen.data / "timeseries" / "ETTh1.csv.gz"
    series = read_series(str(file), "date", NAMES).rows(0, 20 * HOURS)
    record = Record("ett", ("data", "horizon"))
    for horizon in PUBLISHED:
        if chosen.horizon in (None, horizon):
            record.add(measure(series, horizon))
    print("\n" + markdown(record.rows, COLUMNS))


if __name__ == "__main__":
    main()
