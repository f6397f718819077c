"""What a trained model answers over HTTP: from JSON to estimators, and back.

Each function here answers several requests at once, in their order, and raises InputError.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from inspect import signature
from typing import Any

import numpy as np

from tidegate.data.series.panel import Panel
from tidegate.data.series.series import ELAPSED, Series
from tidegate.data.text.conditions import condition_columns
from tidegate.data.text.tokens import TokenEncoder
from tidegate.data.times.grid import Uneven, advance, time_type
from tidegate.errors import InputError, shown
from tidegate.runtime.text_streams import NextToken
from tidegate.tasks.classification import Classifier
from tidegate.tasks.forecast_roles import roles_again

Asked = Sequence[dict[str, Any]]

_CHOICE = ("beam", "length_penalty")  # of predict, where a model has them
_NEXT = 10  # tokens that a stream of text tells


def reads(fitted: Any) -> str:
    """What one input is: text, tokens, numbers, rows or steps."""
    held = vars(fitted)
    if "windowing_" in held:
        return "rows"
    if "inputs_" in held:
        return "numbers"
    if "outputs_" in held:
        return "steps"
    return "tokens" if isinstance(held.get("encoder_"), TokenEncoder) else "text"


def predictions(fitted: Any, asked: Asked) -> list[dict[str, Any]]:
    """The answer to each input of each request; all requests make the same choices."""
    inputs = [one for request in asked for one in request["inputs"]]
    given = {name: asked[0][name] for name in _CHOICE if asked[0].get(name) is not None}
    for name in given:
        if name not in signature(fitted.predict).parameters:
            problem = f"expected none for a {fitted.TASK}, got one; leave it out"
            raise InputError(f"{name}: {problem}")
    found = iter(_answered(fitted, inputs, given) if inputs else [])
    return [{"predictions": [next(found) for _ in request["inputs"]]} for request in asked]


def _answered(fitted: Any, inputs: list[Any], choice: dict[str, Any]) -> list[dict[str, Any]]:
    if not hasattr(type(fitted), "predict_proba"):
        values = fitted.predict(inputs, **choice)
        key = "answer" if isinstance(next(iter(values)), str) else "value"
        return [{key: plain(value)} for value in values]
    probabilities, classes = fitted.predict_proba(inputs), fitted.classes_
    if type(fitted).predict is Classifier.predict:  # the likeliest one
        labels = classes[probabilities.argmax(1)]
    else:
        labels = fitted.predict(inputs, **choice)
    return [
        _label(plain(label), classes, row) for label, row in zip(labels, probabilities, strict=True)
    ]


def _label(label: Any, classes: np.ndarray, probabilities: np.ndarray) -> dict[str, Any]:
    key = "labels" if isinstance(label, list) else "label"
    by_label = dict(zip(map(str, classes.tolist()), probabilities.tolist(), strict=True))
    return {key: label, "probabilities": by_label}


def tags(fitted: Any, asked: Asked) -> list[dict[str, Any]]:
    """A label for each step of each input, and how likely it is."""
    inputs = [one for request in asked for one in request["inputs"]]
    if not inputs:
        return [{"predictions": []} for _ in asked]
    places = {label: i for i, label in enumerate(fitted.classes_.tolist())}
    found = (
        {
            "labels": labels,
            "probabilities": [float(p[places[x]]) for x, p in zip(labels, rows, strict=True)],
        }
        for labels, rows in zip(fitted.predict(inputs), fitted.predict_proba(inputs), strict=True)
    )
    return [{"predictions": [next(found) for _ in request["inputs"]]} for request in asked]


def forecasts(fitted: Any, asked: Asked) -> list[dict[str, Any]]:
    """The rows that follow the last one of each request."""
    return [_forecast(fitted, request) for request in asked]


def _forecast(fitted: Any, request: dict[str, Any]) -> dict[str, Any]:
    panel = panel_of(fitted, request)
    ahead = fitted.forecast(panel, quantiles=request["quantiles"])
    times = np.arange(1, len(ahead.times) + 1)
    if request["times"] is not None:
        times = panel.first.style.write(ahead.times)
    told = {
        "times": plain(times),
        "forecast": dict(zip(ahead.names, ahead.values.T.tolist(), strict=True)),
    }
    if ahead.quantiles is not None:
        told["quantiles"] = {
            name: {f"{q:g}": of_level[:, c].tolist()
                   for q, of_level in zip(ahead.levels, ahead.quantiles, strict=True)}
            for c, name in enumerate(ahead.names)
        }  # fmt: skip
    return told


def _of_numbers(told: list[Any], columns: Sequence[str]) -> np.ndarray:
    """Rows of a body, float64 [N, columns]; null is NaN.  Of one column, a bare number is a row.

    Raises InputError that names the first row which is none.
    """
    told = [row if isinstance(row, list) or len(columns) > 1 else [row] for row in told]
    for k, row in enumerate(told):
        if not isinstance(row, list) or len(row) != len(columns) or not all(map(_is_number, row)):
            expected = f"rows: expected lists of {len(columns)} numbers ({', '.join(columns)})"
            remedy = "give a list of numbers or null for each moment"
            raise InputError(f"{expected}, got {shown(row, 40)} at row {k}; {remedy}")
    return np.array(told, np.float64).reshape(-1, len(columns))


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def series_of(fitted: Any, request: dict[str, Any]) -> Series:
    """The rows of a request as a series; without times they follow one another as in training.

    Raises InputError.
    """
    w, times = fitted.windowing_, request["times"]
    kept = roles_again(None, w, fitted.provenance_)
    known = [name for name in w.known_names if name != ELAPSED]
    columns = [*w.names, *w.covariate_names, *known]
    if times is None and (kept["elapsed"] or w.calendar):
        read = "the calendar" if w.calendar else "how much time goes by"
        problem = f"times: expected one for each row, since the model reads {read}, got none"
        raise InputError(f"{problem}; give them, those of the horizon, too")
    rows = _of_numbers(request["rows"], columns)
    values, covariates, beforehand = np.split(
        rows, np.cumsum([len(w.names), len(w.covariate_names)]), 1
    )
    told: dict[str, Any] = {"names": w.names, "covariate_names": w.covariate_names}
    told |= {"covariates": covariates, "fill_gaps": kept["fill_gaps"]}
    told |= {"known": beforehand, "known_names": known} if known else {}
    if times is not None:
        if len(times) != len(rows):
            problem = f"times: expected one for each of {len(rows)} rows, got {len(times)}"
            raise InputError(f"{problem}; leave them out, or give as many")
        return Series.of(times, values, every=kept["every"], elapsed=kept["elapsed"], **told)
    assert not isinstance(w.step, Uneven)  # whose rows have times
    kind = time_type(w.step)
    start = np.array([_MONDAY if kind.startswith("datetime") else 0]).astype(kind)
    numbered = np.concatenate([start, advance(start, w.step, len(rows) - 1)])
    return replace(Series.of(numbered, values, **told), step=w.step)


def panel_of(fitted: Any, request: dict[str, Any]) -> Panel:
    """The same with what is told of the series as a whole.  Raises InputError."""
    known = fitted.statics_
    told = request["static"] or {}
    names = [] if known is None else known.names
    if unknown := [name for name in told if name not in names]:
        problem = f"static: expected some of {', '.join(names) or 'none'}, got {shown(unknown[0])}"
        raise InputError(f"{problem}; leave it out")
    cells = condition_columns({name: [told.get(name)] for name in names}, 1, "series")
    return Panel((series_of(fitted, request),), statics=cells)


_MONDAY = np.datetime64("2001-01-01")  # of which business days can begin


def roll_of(fitted: Any, steps: Any, what: str) -> np.ndarray:
    """Lists of the names of what is on, as a roll, uint8 [T, O]; no text names a file here."""
    places = {name: k for k, name in enumerate(fitted.outputs_)}
    if not isinstance(steps, list) or not all(isinstance(step, list) for step in steps):
        problem = f"{what}: expected steps, each a list of outputs, got {shown(steps)}"
        raise InputError(f"{problem}; GET /v1/models lists these")
    roll = np.zeros((len(steps), len(places)), np.uint8)
    for row, step in zip(roll, steps, strict=True):
        if unknown := [one for one in step if not isinstance(one, str) or one not in places]:
            problem = f"{what}: expected lists of outputs of the model, got {shown(unknown[0])}"
            raise InputError(f"{problem}; GET /v1/models lists them")
        row[[places[one] for one in step]] = 1
    return roll


def as_of_now(fitted: Any, answer: Any) -> dict[str, Any]:
    """What a stream answers."""
    if isinstance(answer, NextToken):
        likeliest = answer.top(_NEXT)
        return {"next": [{"text": text, "probability": p} for text, p in likeliest]}
    for names in ("classes_", "outputs_"):
        if (known := vars(fitted).get(names)) is not None:
            by_name = zip(map(str, np.asarray(known).tolist()), answer.tolist(), strict=True)
            return {"probabilities": dict(by_name)}
    if "windowing_" in vars(fitted):
        by_name = zip(fitted.windowing_.names, plain(answer.T), strict=True)
        return {"forecast": dict(by_name)}
    return {"value": plain(answer)}


def plain(value: Any) -> Any:
    """Arrays and NumPy's numbers as JSON has them; NaN, which it has not, is None."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
