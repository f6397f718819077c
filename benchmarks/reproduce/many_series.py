r"""One forecaster of many series, and of series with gaps, beside what costs seconds.

    python benchmarks/reproduce/many_series.py DATA
    python benchmarks/reproduce/many_series.py DATA --case "404 series by month" --seeds 0

404 series by month are one table with an id: 400 that are drawn, of 50 to 240 months and of levels
from 1 to 10,000, with trends, seasons and noise that are added, multiplied or cut off at 0; and
airline passengers, sunspots, Mauna Loa's carbon dioxide and Melbourne's temperatures by month (the
means of their weeks and days).  The others are one series each; Mauna Loa's weeks and Beijing's
hours have their gaps, which nothing is judged by.

The last fifth of the rows of every series is the test, which nothing else sees; the forecaster
parts the rest as it always does.  Beside it: the last value again, the last season again, and ridge
regression on the same windows, its penalty chosen on the same validation rows.

Rows go to benchmarks/results/many_series.json.  ``ratio``: mean squared error, mean of the seeds,
over that of the best of these; of series with ids in variances of what a window reads.
``mase_ratio``: mean absolute scaled error over the better naive forecast's.  ``coverage_80``: the
share of test values within the interval of 80 %.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from forecasts_beside_baselines import table
from record import Clock, Record, Row, markdown

import tidegate as tg
from tidegate.comparison.experiments.forecasts import Forecasts
from tidegate.data.series.panel import Panel
from tidegate.data.series.series import Series

SEEDS = (0, 1, 2)
MONTHS = 12


def drawn(count: int) -> list[Series]:
    rng = np.random.default_rng(8)
    found = []
    for k in range(count):
        t = np.arange(int(rng.integers(50, 241)))
        phase, level = rng.uniform(0, MONTHS), 10 ** rng.uniform(0, 4)
        year = np.sin(2 * np.pi * (t - phase) / MONTHS)
        year += rng.uniform(0, 0.8) * np.sin(4 * np.pi * (t - 1.6 * phase) / MONTHS)
        trend = rng.standard_normal() * t / 120
        drift = rng.uniform(0.01, 0.15) * rng.standard_normal(len(t)).cumsum()
        noise = rng.uniform(0.05, 0.5) * rng.standard_normal(len(t))
        swing = rng.uniform(0.05, 0.4) * (year + trend + drift + noise)
        values = level * (1 + swing, np.exp(swing), np.maximum(0, 1 + 2 * swing))[k % 3]
        first = np.datetime64("1990-01") + int(rng.integers(0, 120))
        found.append(Series.of(first + t, values))
    return found


def passengers(data: Path) -> Series:
    rows = [row for row in table(data / "airline-passengers.csv") if row]
    return Series.of(np.array([r[0] for r in rows], "datetime64[M]"), [float(r[1]) for r in rows])


def sunspots(data: Path) -> Series:
    rows = [row for row in table(data / "monthly-sunspots.csv") if row]
    return Series.of(np.array([r[0] for r in rows], "datetime64[M]"), [float(r[1]) for r in rows])


def carbon_dioxide(data: Path, every: str | None = None) -> Series:
    values = [float(row[1] or "nan") for row in table(data / "mauna_loa_co2_weekly.csv")]
    weeks = np.datetime64("1958-03-29", "D") + 7 * np.arange(len(values))
    return Series.of(weeks, values, fill_gaps=True, every=every)


def temperatures(data: Path) -> Series:
    rows = [row for row in table(data / "daily-min-temperatures.csv") if row]
    days = np.array([r[0] for r in rows], "datetime64[D]")
    return Series.of(days, [float(r[1]) for r in rows], every="MS")


def months(data: Path) -> Panel:
    public = {
        "airline passengers": passengers(data),
        "sunspots": sunspots(data),
        "carbon dioxide": carbon_dioxide(data, "MS"),
        "temperatures": temperatures(data),
    }
    series = drawn(400)
    ids = (*(f"drawn {k}" for k in range(len(series))), *public)
    return Panel((*series, *public.values()), ids, "series")


def pollution(data: Path) -> Panel:
    rows = table(data / "beijing_pollution_hourly.csv.gz")[24:]  # the first day has none
    hours = np.datetime64("2010-01-02T00", "h") + np.arange(len(rows))
    values = [float(row[5].replace("NA", "nan")) for row in rows]
    return Panel((Series.of(hours, values, fill_gaps=True),))


CASES: dict[str, tuple[Callable[[Path], Panel], int]] = {
    "404 series by month": (months, 12),
    "carbon dioxide by week, 59 gaps": (lambda data: Panel((carbon_dioxide(data),)), 24),
    "pollution by hour, 2,043 gaps": (pollution, 24),
    "airline passengers": (lambda data: Panel((passengers(data),)), 12),
}


def measure(name: str, panel: Panel, horizon: int, seeds: list[int]) -> Row:
    """Figures of every seed on the last fifth, and of what costs little."""
    models, clock = [], Clock()
    for seed in seeds:
        model = tg.Forecaster(horizon=horizon, validate_until=0.8, seed=seed, verbose=0)
        models.append(model.fit(panel))
    spent = clock.read()["cpu_seconds"]
    experiment = Forecasts(models[0], panel, validation=None, test=None)
    simple = {one.name: one.held_out or np.nan for one in experiment.baselines(models[0])}
    figures = [model.metrics_ for model in models]
    errors = [one["test_mse"] for one in figures]
    mase = min(figures[0]["test_naive_mase"], figures[0]["test_seasonal_naive_mase"])
    return {
        "data": name,
        "series": len(panel.series),
        "horizon": horizon,
        "context": models[0].windowing_.context,
        "seeds": seeds,
        "test_mse": [round(v, 5) for v in errors],
        "baselines_test_mse": {k: round(v, 5) for k, v in simple.items()},
        "ratio": round(float(np.mean(errors) / min(simple.values())), 4),
        "mase_ratio": round(float(np.mean([one["test_mase"] for one in figures]) / mase), 4),
        "test_mase": [round(one["test_mase"], 4) for one in figures],
        "coverage_80": [round(one["test_coverage_80"], 4) for one in figures],
        "weighted_quantile_loss": [round(one["test_weighted_quantile_loss"], 5) for one in figures],
        "line_weight": models[0].provenance_.get("line_weight"),
        "network_weight": [model.provenance_.get("network_weight") for model in models],
        "cpu_seconds_a_seed": round(spent / len(seeds), 1),
    }


COLUMNS: dict[str, Any] = {
    "data": lambda r: r["data"],
    "rows ahead": lambda r: r["horizon"],
    "rows read": lambda r: r["context"],
    "test MSE (seeds)": lambda r: (
        f"**{np.mean(r['test_mse']):.4g}** ({', '.join(f'{v:.4g}' for v in r['test_mse'])})"
    ),
    **{
        name: lambda r, name=name: f"{r['baselines_test_mse'].get(name, np.nan):.4g}"
        for name in ("ridge regression", "seasonal naive", "naive")
    },
    "over the best of these": lambda r: f"{r['ratio']:.3f}",
    "MASE over the naive ones'": lambda r: f"{r['mase_ratio']:.3f}",
    "coverage of 80 %": lambda r: ", ".join(f"{v:.3f}" for v in r["coverage_80"]),
    "CPU seconds a seed": lambda r: round(r["cpu_seconds_a_seed"]),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path, help="folder with timeseries/")
    parser.add_argument("--case", choices=CASES, help="this one alone")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    chosen = parser.parse_args()
    record = Record("many_series", ("data", "horizon"))
    for name, (read, horizon) in CASES.items():
        if chosen.case in (None, name):
            record.add(measure(name, read(chosen.data / "timeseries"), horizon, chosen.seeds))
    print("\n" + markdown(record.rows, COLUMNS))


if __name__ == "__main__":
    main()
