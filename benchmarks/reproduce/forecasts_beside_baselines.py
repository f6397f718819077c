r"""Forecasters with no options on series of many kinds, beside what costs seconds.

    python benchmarks/reproduce/forecasts_beside_baselines.py DATA
    python benchmarks/reproduce/forecasts_beside_baselines.py DATA --series sunspots

The last fifth of each series is the test, which nothing else sees; the forecaster parts the rest as
it always does.  Beside it: the last value again, the last season again, and ridge regression on the
same windows with its penalty chosen on the same validation rows.  Seeds 0, 1, 2.  A gap, of Mauna
Loa's weeks and Beijing's hours, gets the value before it.  Drawn series have no file: random
walks, hours with days and weeks, sixty hourly series of different levels and seasons, and 300 of
levels from 1 to 100,000, whose swing is added, multiplied, cut off at 0 or grows.

Rows go to benchmarks/results/forecasts_beside_baselines.json.  ``ratio``: mean squared error of the
forecaster, mean of the seeds, over that of the best baseline; ``mase_ratio``: mean absolute scaled
error over the better naive forecast's.
"""

from __future__ import annotations

import argparse
import csv
import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from record import Clock, Record, Row, markdown

import tidegate as tg
from tidegate.comparison.experiments.forecasts import Forecasts
from tidegate.data.series.series import Series

SEEDS = (0, 1, 2)


def table(file: Path) -> list[list[str]]:
    """The rows of a table below its head."""
    data = file.read_bytes()
    text = (gzip.decompress(data) if file.suffix == ".gz" else data).decode()
    return list(csv.reader(text.splitlines()))[1:]


def filled(values: np.ndarray) -> np.ndarray:
    """Values [N, C] with the one before in place of each NaN."""
    known = np.where(np.isnan(values), 0, np.arange(len(values))[:, None])
    return np.take_along_axis(values, np.maximum.accumulate(known), axis=0)


def monthly(name: str) -> Callable[[Path], Series]:
    def read(data: Path) -> Series:
        rows = [row for row in table(data / name) if row]
        times = np.array([row[0] for row in rows], "datetime64[M]")
        return Series.of(times, [float(row[1]) for row in rows])

    return read


def temperatures(data: Path) -> Series:
    values = [float(row[1]) for row in table(data / "daily-min-temperatures.csv")]
    # two days of leap years are missing in the file, so the rows are numbered from the first day
    return Series.of(np.datetime64("1981-01-01", "D") + np.arange(len(values)), values)


def carbon_dioxide(data: Path) -> Series:
    values = [float(row[1] or "nan") for row in table(data / "mauna_loa_co2_weekly.csv")]
    weeks = np.datetime64("1958-03-29", "D") + 7 * np.arange(len(values))
    return Series.of(weeks, filled(np.array(values)[:, None])[:, 0])


def yearly_sunspots(data: Path) -> Series:
    rows = table(data / "sunspots_yearly.csv")
    return Series.of([int(row[0]) for row in rows], [float(row[1]) for row in rows])


def pollution(data: Path) -> Series:
    rows = table(data / "beijing_pollution_hourly.csv.gz")[24:]  # the first day has none
    values = filled(np.array([[float(row[5].replace("NA", "nan"))] for row in rows]))
    hours = np.datetime64("2010-01-02T00", "h") + np.arange(len(rows))
    return Series.of(hours, values)


def electricity(data: Path) -> Series:
    rows = table(data / "ETTh1.csv.gz")
    times = np.array([row[0].replace(" ", "T") for row in rows], "datetime64[s]")
    return Series.of(times, [[float(x) for x in row[1:]] for row in rows])


def hours(count: int) -> np.ndarray:
    return np.datetime64("2020-01-01T00", "h") + np.arange(count)


def walk(number: int) -> Callable[[Path], Series]:
    def draw(_: Path) -> Series:
        steps = np.random.default_rng(number).standard_normal(3000)
        return Series.of(hours(3000), steps.cumsum())

    return draw


def weeks(_: Path) -> Series:
    rng = np.random.default_rng(5)
    t = np.arange(24 * 7 * 20)
    day = np.sin(2 * np.pi * t / 24)
    load = day * (1 + 0.8 * (t // 24 % 7 < 5)) + 0.3 * rng.standard_normal(len(t))
    return Series.of(hours(len(t)), load)


def sixty(data: Path) -> Series:  # noqa: ARG001
    rng = np.random.default_rng(6)
    t = np.arange(800)
    columns = []
    for _ in range(60):
        level, swing, phase = 10 ** rng.uniform(0, 4), rng.uniform(0.05, 0.5), rng.uniform(0, 24)
        day = np.sin(2 * np.pi * (t - phase) / 24) ** int(rng.integers(1, 4))
        week = rng.uniform(0, 0.8) * (t // 24 % 7 < 5)
        drift = 0.02 * rng.standard_normal(len(t)).cumsum()
        noise = rng.uniform(0.05, 0.3) * rng.standard_normal(len(t))
        columns.append(level * (1 + swing * (day * (1 + week) + drift + noise)))
    return Series.of(hours(len(t)), np.stack(columns, axis=1))


def unequal(_: Path) -> Series:
    rng = np.random.default_rng(7)
    t = np.arange(700)
    columns = []
    for k in range(300):
        level, phase = 10 ** rng.uniform(0, 5), rng.uniform(0, 24)
        day = np.sin(2 * np.pi * (t - phase) / 24)
        twice = rng.uniform(0, 0.6) * np.sin(4 * np.pi * (t - 1.7 * phase) / 24)
        week = np.where(t // 24 % 7 < 5, 1, rng.uniform(0, 1))
        trend = 0.6 * rng.standard_normal() * t / len(t)
        drift = rng.uniform(0.002, 0.03) * rng.standard_normal(len(t)).cumsum()
        noise = rng.uniform(0.03, 0.3) * rng.standard_normal(len(t))
        swing = rng.uniform(0.05, 0.5) * ((day + twice) * week + trend + drift + noise)
        growth = 1 + rng.uniform(0, 2) * t / len(t)
        kinds = 1 + swing, np.exp(swing), np.maximum(0, 1 + 2 * swing), (1 + swing) * growth
        columns.append(level * kinds[k % 4])
    return Series.of(hours(len(t)), np.stack(columns, axis=1))


CASES: dict[str, tuple[Callable[[Path], Series], tuple[int, ...]]] = {
    "airline": (monthly("airline-passengers.csv"), (12,)),
    "temperatures": (temperatures, (24,)),
    "sunspots": (monthly("monthly-sunspots.csv"), (24, 96)),
    "sunspots, yearly": (yearly_sunspots, (12,)),
    "carbon dioxide": (carbon_dioxide, (24, 96)),
    "pollution": (pollution, (24, 168)),
    "ETTh1": (electricity, (24, 168)),
    **{f"random walk {k}": (walk(k), (96,)) for k in range(3)},
    "days and weeks": (weeks, (24,)),
    "sixty series": (sixty, (48,)),
    "300 unequal series": (unequal, (48,)),
}


def measure(name: str, series: Series, horizon: int, seeds: list[int]) -> Row:
    """Figures of every seed on the last fifth, and of what costs little."""
    models, clock = [], Clock()
    for seed in seeds:
        model = tg.Forecaster(horizon=horizon, validate_until=0.8, seed=seed, verbose=0)
        models.append(model.fit(series))
    spent = clock.read()["cpu_seconds"]
    experiment = Forecasts(models[0], series, validation=None, test=None)
    simple = {one.name: one.held_out or np.nan for one in experiment.baselines(models[0])}
    figures = [model.metrics_ for model in models]
    errors = [one["test_mse"] for one in figures]
    mase = min(figures[0]["test_naive_mase"], figures[0]["test_seasonal_naive_mase"])
    told = models[0].provenance_
    return {
        "data": name,
        "horizon": horizon,
        "context": models[0].windowing_.context,
        "season": models[0].windowing_.season,
        "seeds": seeds,
        "test_mse": [round(v, 5) for v in errors],
        "baselines_test_mse": {k: round(v, 5) for k, v in simple.items()},
        "ratio": round(float(np.mean(errors) / min(simple.values())), 4),
        "worst_ratio": round(float(max(errors) / min(simple.values())), 4),
        "mase_ratio": round(float(np.mean([one["test_mase"] for one in figures]) / mase), 4),
        "line_weight": told.get("line_weight"),
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
    "CPU seconds a seed": lambda r: round(r["cpu_seconds_a_seed"]),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path, help="folder with timeseries/")
    parser.add_argument("--series", choices=CASES, help="this one alone")
    parser.add_argument("--horizon", type=int, help="this horizon alone")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    chosen = parser.parse_args()
    record = Record("forecasts_beside_baselines", ("data", "horizon"))
    for name, (read, horizons) in CASES.items():
        if chosen.series in (None, name):
            for horizon in horizons:
                if chosen.horizon in (None, horizon):
                    series = read(chosen.data / "timeseries")
                    record.add(measure(name, series, horizon, chosen.seeds))
    print("\n" + markdown(record.rows, COLUMNS))


if __name__ == "__main__":
    main()
