r"""In which unit the errors of held-out windows make the best intervals of later ones.

    python benchmarks/reproduce/interval_units.py DATA

Forecasts are straight lines (a network of 8 units that learns two steps beside them), of series of
forecasts_beside_baselines.py, and of ETTh1 by the field's months.  Errors on the validation rows,
by series and row ahead, are in one of four units: the deviation of the training rows; that of each
window's context; the geometric mean of the two; that of the first with the mean change from row to
row within the context.  Printed of each: coverage and interval score (Gneiting & Raftery 2007) of
the interval of 80 %, on each half of the validation rows by the other, which chose, and on the
test.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from forecasts_beside_baselines import CASES

import tidegate as tg
from tidegate.data.series.error_quantiles import ErrorQuantiles
from tidegate.data.series.panel import Panel
from tidegate.data.series.series import Series
from tidegate.data.series.windows import Windows
from tidegate.runtime.batches import forecast_windows

SERIES = ("airline", "sunspots", "carbon dioxide", "temperatures", "ETTh1")


def errors_and_units(model: Any, part: Windows) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Errors [W, H, C] and units by name, [W, 1, C]."""
    w = part.windowing
    past = part.asked(w.context, 0)
    usual, own = part.units(), past.std(1, keepdims=True)
    change = np.abs(np.diff(past, axis=1)).mean(1, keepdims=True)
    units = {
        "training rows": usual + 0 * own,
        "context": own,
        "mean of both": np.sqrt(usual * own),
        "mean with changes": np.sqrt(usual * change),
    }
    return part.asked(w.horizon) - forecast_windows(model.runtime_, part), units


def judged(known: ErrorQuantiles, errors: np.ndarray, unit: np.ndarray) -> tuple[float, float]:
    """Coverage and score of the interval of 80 %, in units of the training rows."""
    low, high = (quantile * unit for quantile in known.at((0.1, 0.9)))
    missed = np.maximum(low - errors, 0) + np.maximum(errors - high, 0)
    score = (high - low + 10 * missed).mean((0, 1))
    return float((missed == 0).mean()), score


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path, help="folder with timeseries/")
    chosen = parser.parse_args()
    parts: dict[str, tuple[Series, str | float, str | None]] = {}
    for name in SERIES:
        parts[name] = CASES[name][0](chosen.data / "timeseries"), 0.8, None
    parts["ETTh1, months"] = parts["ETTh1"][0].rows(0, 14_400), "11520", "8640"
    for name, (series, end, cut) in parts.items():
        horizon = 12 if name == "airline" else 24
        model = tg.Forecaster(horizon=horizon, validate_until=end, train_until=cut, max_steps=2,
                              hidden_sizes=(8,), refit=False, verbose=0).fit(series)  # fmt: skip
        panel = Panel((series,))
        ((first, last),) = model.spans(panel)
        stack, starts = model.windows_within(panel, [(first, last)])
        validation = Windows(model.windowing_, stack.rows, starts)
        test = validation.at(model.windows_within(panel, [(last, len(series))])[1])
        scale = model.windowing_.scaler.scale
        of_validation, of_test = (errors_and_units(model, p) for p in (validation, test))
        middle, apart, count = len(starts) // 2, horizon // 2, len(starts)
        halves = slice(0, max(1, middle - apart)), slice(middle + apart, count)
        for unit in of_test[1]:
            errors, units = of_validation[0], of_validation[1][unit]
            told = []
            for own, other in (halves, halves[::-1]):
                half = ErrorQuantiles.of(errors[own] / units[own], range(1, horizon + 1))
                if half is not None and len(errors[other]):
                    told.append(judged(half, errors[other], units[other]))
            known = ErrorQuantiles.of(errors / units, range(1, horizon + 1))
            assert known is not None
            coverage, score = judged(known, of_test[0], of_test[1][unit])
            halved = "too few"
            if told:
                means = [
                    np.mean([c for c, _ in told]),
                    np.mean([(s / scale).mean() for _, s in told]),
                ]
                halved = f"{means[0]:.3f}, {means[1]:.3f}"
            print(f"{name}: {unit}: {halved}; test {coverage:.3f}, {(score / scale).mean():.3f}")


if __name__ == "__main__":
    main()
