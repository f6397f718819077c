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

from tidegate.comparison.ridge import Ridge
from tidegate.data.series import Scaler, guess_season, windows
from tidegate.data.tables import read_series
from tidegate.data.windowing import Windowing, Windows

NAMES = ("HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT")
HOURS = 24 * 30  # in a month of the protocol
ENDS = {"train": 12 * HOURS, "validation": 16 * HOURS, "test": 20 * HOURS}


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
    ridge = Ridge.fit(parts["train"], parts["validation"])
    result = {
        "model": "ridge",
        "context": context,
        "horizon": horizon,
        "penalty": ridge.penalty,
        "validation_mse": round(ridge.errors(parts["validation"])["mse"], 4),
        "test_mse": round(ridge.errors(parts["test"])["mse"], 4),
        "seconds": round(time.perf_counter() - began, 1),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
