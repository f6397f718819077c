"""Which columns of a forecaster's data are what: kept in its file, and asked of later data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tidegate.data.series.frames import are_numbered
from tidegate.data.series.held import Held
from tidegate.data.series.panel import Panel
from tidegate.data.series.series import ELAPSED, Series
from tidegate.data.series.windowing import Windowing
from tidegate.data.source import as_list, split_list
from tidegate.data.times.grid import Uneven
from tidegate.errors import InputError, shown


def roles_told(held: Held) -> dict[str, str | bool]:
    """Which columns are what and how they are read, as a source has it in a model file."""
    panel = held.panel
    told: dict[str, str | bool] = {
        "target_columns": as_list(panel.first.names),
        "covariate_columns": as_list(panel.first.covariate_names),
    }
    if known := tuple(name for name in panel.first.known_names if name != ELAPSED):
        told["known_columns"] = as_list(known)
    if panel.id_name is not None:
        told["id_column"] = panel.id_name
    if panel.statics:
        told["static_columns"] = as_list(tuple(panel.statics))
    if any(one.gaps for one in panel.series):
        told["fill_gaps"] = True
    if isinstance(panel.first.step, Uneven):
        told["elapsed"] = True
    if held.every is not None:
        told["every"] = held.every
    if held.time_column is not None:
        told["time_column"] = held.time_column
    return told


def roles_again(data: Any, w: Windowing, kept: Mapping[str, Any]) -> dict[str, Any]:
    """What ``held_series`` is told of data that come after the training.

    ``kept`` is what ``roles_told`` gave.  Raises InputError for a frame without those columns.
    """
    known = [name for name in w.known_names if name != ELAPSED]
    wanted = {"target": list(w.names), "covariate": list(w.covariate_names), "known": known}
    roles: dict[str, Any] = {
        "fill_gaps": bool(kept.get("fill_gaps")),
        "every": kept.get("every"),
        "elapsed": isinstance(w.step, Uneven),
    }
    if isinstance(data, Series | Panel):
        return roles
    columns = getattr(data, "columns", None)
    if columns is None:  # of an array in the order of those of the training, or by their numbers
        named = (known or w.covariate_names) and are_numbered(sum(wanted.values(), []))
        return roles | wanted if named else roles
    there = {str(name) for name in columns}
    for role in ("time", "id"):
        name = kept.get(f"{role}_column")
        roles[role] = name if name in there else None
    if roles["id"] is not None:
        wanted["static"] = list(split_list(kept.get("static_columns", "")))
    if lacking := [n for names in wanted.values() for n in names if n not in there]:
        raise InputError(
            f"expected the columns it was trained on, got none called {', '.join(lacking)} "
            f"among {', '.join(sorted(there))}; give the same columns"
        )
    return roles | wanted


def need_known(series: Series, w: Windowing, one: Any) -> None:
    """Raise InputError unless all is known of the horizon that must be, of the series ``one``."""
    told = 0 if series.known is None else len(series.known) - len(series)
    if not w.known_names or told >= w.horizon:
        return
    whose = f" of {shown(str(one))}" if one != "" else ""
    names = ["their times" if name == ELAPSED else name for name in w.known_names]
    raise InputError(
        f"expected {w.horizon} rows after the last value{whose}, the horizon, with "
        f"{', '.join(names)}, got {told}; add rows, with {', '.join(w.names)} left empty"
    )
