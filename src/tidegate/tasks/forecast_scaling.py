"""What a forecaster's file holds under ``scaling``.

``windowing``: data/series/windowing.py.  ``naive_error``: a number from 0 for each column that is
forecast, null of series with ids.  ``unseen_from``: the first time that training did not use, as
text; of series with ids an object of such by id.  Where there are any, ``error_quantiles``
(data/series/error_quantiles.py) and ``statics``, a list as of conditions (data/text/conditions.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tidegate.data.series.error_quantiles import ErrorQuantiles
from tidegate.data.series.windowing import Windowing
from tidegate.data.text.conditions import Conditions
from tidegate.data.times.grid import time_type
from tidegate.tasks.forecast_figures import JudgedForecaster, time_of

if TYPE_CHECKING:
    from tidegate.model.checkpoint import ModelFile

_KEYS = {"windowing", "naive_error", "unseen_from"}
_WHERE_ANY = {"error_quantiles", "statics"}


def scaling_of(model: JudgedForecaster) -> dict[str, Any]:
    """The object of a fitted model."""
    errors, quantiles, statics = model.naive_error_, model.error_quantiles_, model.statics_
    scaling = {
        "windowing": model.windowing_.to_json(),
        "naive_error": None if errors is None else errors.tolist(),
        "unseen_from": model.unseen_from_,
    }
    if quantiles is not None:
        scaling["error_quantiles"] = quantiles.to_json()
    if statics is not None:
        scaling["statics"] = statics.to_json()
    return scaling


def scaling_in(file: ModelFile) -> dict[str, Any]:
    """The attributes of a fitted model, by name, of which its file's object tells.

    Raises ValueError for what is out of schema.
    """
    scaling, architecture = file.scaling, file.architecture
    if scaling is None or set(scaling) - _WHERE_ANY != _KEYS:
        raise ValueError(f"scaling: expected exactly the keys {sorted(_KEYS)}")
    w = Windowing.from_json(scaling["windowing"])
    sizes = (architecture.input_size, architecture.output_size, architecture.readout)
    if sizes != (w.input_size, w.output_size, "last"):
        raise ValueError("windowing: expected sizes as in the architecture, got others")
    if architecture.linear_steps > w.steps:
        raise ValueError("linear_steps: expected those of a window at most, got more")
    unseen = scaling["unseen_from"]
    for time in unseen.values() if isinstance(unseen, dict) else [unseen]:
        time_of(time, time_type(w.step))
    known = scaling.get("error_quantiles")  # files of before there were any have none
    if known is not None:
        known = ErrorQuantiles.from_json(known, w.horizon, len(w.names))
    statics = scaling.get("statics")
    statics = None if statics is None else Conditions.from_json(statics)
    if (0 if statics is None else statics.size) != w.static_size:
        raise ValueError("statics: expected as many numbers as the windowing says")
    return {
        "windowing_": w,
        "naive_error_": _naive_error(scaling["naive_error"], len(w.names)),
        "unseen_from_": unseen,
        "error_quantiles_": known,
        "statics_": statics,
    }


def _naive_error(errors: Any, columns: int) -> np.ndarray | None:
    if errors is None:
        return None
    if not isinstance(errors, list) or any(type(e) not in (int, float) for e in errors):
        raise ValueError("naive_error: expected a list of numbers")
    found = np.array(errors, dtype=np.float64)
    if found.shape != (columns,) or not np.isfinite(found).all() or not (found >= 0).all():
        raise ValueError("naive_error: expected a number from 0 per series")
    return found
