r"""ETTh1 and ETTm1, seven series, beside ridge regression and the naive forecast.

    python benchmarks/reproduce/ett.py DATA
    python benchmarks/reproduce/ett.py DATA --name ETTh1 --horizon 96 --seeds 0

The protocol of the ETT benchmark (Zhou et al. 2021, Informer; split as in its code): 12 months to
learn from, 4 to choose by, 4 to test, every series in standard deviations of the first 12, errors
averaged over all windows, series and the horizon.  Seeds 0, 1, 2.  The recipe is the squared error
as the loss, and for quarters of hours a week of context and 1,500 steps; all else by default.
Ridge regression maps the same windows, less their last values, its penalty chosen on the validation
months; the seasonal naive forecast is the last day again.  How many test values the interval of
80 % covers stands beside; validation months calibrate it.  A seed's figures are what these tell:

    zcat ETTh1.csv.gz | head -14401 > ETTh1.csv
    tidegate train forecaster ETTh1.csv --time date --target HUFL,HULL,MUFL,MULL,LUFL,LULL,OT \
        --horizon 96 --train-until 8640 --validate-until 11520 --loss mse --seed 0 \
        -o ett.safetensors
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
ROWS_A_MONTH = {"ETTh1": 24 * 30, "ETTm1": 96 * 30}  # of the protocol
RECIPE: dict[str, dict[str, Any]] = {
    "ETTh1": {"loss": "mse"},
    "ETTm1": {"loss": "mse", "max_steps": 1500, "context": 672},
}
# The least of what was published and is known to us, all from memory: the LSTM of the Informer
# paper's table of multivariate forecasts; Lin et al. 2023, SegRNN; Nie et al. 2023, PatchTST.
PUBLISHED = {
    "ETTh1": {
        24: (0.650, "LSTM"), 48: (0.702, "LSTM"), 168: (1.212, "LSTM"), 96: (0.368, "SegRNN"),
        192: (0.408, "SegRNN"), 336: (0.422, "PatchTST"), 720: (0.446, "SegRNN"),
    },
    "ETTm1": {
        96: (0.293, "PatchTST"), 192: (0.333, "PatchTST"), 336: (0.369, "PatchTST"),
        720: (0.416, "PatchTST"),
    },
}  # fmt: skip


def measure(name: str, series: Series, horizon: int, seeds: list[int]) -> Row:
    """Figures of every seed on the test months, and of what costs little."""
    models, times = [], []
    month = ROWS_A_MONTH[name]
    published, author = PUBLISHED[name][horizon]
    for seed in seeds:
        clock = Clock()
        model = tg.Forecaster(
            horizon=horizon,
            train_until=str(12 * month),
            validate_until=str(16 * month),
            seed=seed,
            verbose=0,
            **RECIPE[name],
        )
        models.append(model.fit(series))
        times.append(clock.read())
    clock = Clock()
    baselines = Forecasts(models[0], series, validation=None, test=None).baselines(models[0])
    simple = {baseline.name: round(baseline.held_out or np.nan, 4) for baseline in baselines}
    figures = {
        figure: [round(model.metrics_[figure], 4) for model in models]
        for figure in ("mse", "test_mse", "test_mae", "test_coverage_80")
    }
    return {
        "data": name,
        "horizon": horizon,
        "context": models[0].windowing_.context,
        "seeds": seeds,
        "parameters": models[0].runtime_.architecture.parameter_count(),
        "validation_mse": figures["mse"],
        "test_mse": figures["test_mse"],
        "test_mae": figures["test_mae"],
        "test_coverage_80": figures["test_coverage_80"],
        "mean_test_mse": round(float(np.mean(figures["test_mse"])), 4),
        "mean_test_mae": round(float(np.mean(figures["test_mae"])), 4),
        "ridge_test_mse": simple["ridge regression"],
        "seasonal_naive_test_mse": simple["seasonal naive"],
        "naive_test_mse": simple["naive"],
        "published": published,
        "published_model": author,
        "confidence_in_published": "memory",
        "seconds": [time["seconds"] for time in times],
        "cpu_seconds": [time["cpu_seconds"] for time in times],
        "baselines_cpu_seconds": clock.read()["cpu_seconds"],
    }


COLUMNS: dict[str, Any] = {
    "data": lambda r: r["data"],
    "horizon": lambda r: r["horizon"],
    "test MSE (seeds)": lambda r: (
        f"**{r['mean_test_mse']:.3f}** ({', '.join(f'{v:.4f}' for v in r['test_mse'])})"
    ),
    "test MAE": lambda r: f"{r['mean_test_mae']:.3f}",
    "80 % interval covers": lambda r: (
        f"{np.mean(r['test_coverage_80']):.3f}" if "test_coverage_80" in r else ""
    ),
    "ridge": lambda r: f"{r['ridge_test_mse']:.3f}",
    "seasonal naive": lambda r: f"{r['seasonal_naive_test_mse']:.3f}",
    "published (from memory)": lambda r: f"{r['published']:.3f}, {r['published_model']}",
    "CPU seconds a seed": lambda r: round(float(np.mean(r["cpu_seconds"]))),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path, help="folder with timeseries/ETTh1.csv.gz")
    parser.add_argument("--name", choices=PUBLISHED, help="this data set alone")
    parser.add_argument("--horizon", type=int, help="this horizon alone")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    chosen = parser.parse_args()
    record = Record("ett", ("data", "horizon"))
    for name, horizons in PUBLISHED.items():
        if chosen.name not in (None, name):
            continue
        file = chosen.data / "timeseries" / f"{name}.csv.gz"
        series = read_series(str(file), "date", NAMES).rows(0, 20 * ROWS_A_MONTH[name])
        for horizon in horizons:
            if chosen.horizon in (None, horizon):
                record.add(measure(name, series, horizon, chosen.seeds))
    print("\n" + markdown(record.rows, COLUMNS))


if __name__ == "__main__":
    main()
