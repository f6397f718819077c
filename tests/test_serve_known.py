"""Forecasters that are told more than past rows, over HTTP: what ``forecast`` says of a table."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from served import served  # noqa: E402

import tidegate as tg  # noqa: E402
from tidegate.serving.limits import Limits  # noqa: E402

ROWS, HORIZON = 120, 3
WHEN = pd.date_range("2026-01-05T00:20", periods=ROWS, freq="h")
PRICE = np.sin(np.arange(ROWS) / 5)
FRAME = pd.DataFrame(
    {"when": WHEN, "load": 2 * PRICE + np.arange(ROWS) % 24, "flow": PRICE**2, "price": PRICE}
)
SHOPS = pd.concat([FRAME.assign(shop=s, size=z) for s, z in (("a", "big"), ("b", "small"))])
UNEVEN = FRAME.assign(when=WHEN + pd.to_timedelta(np.arange(ROWS) ** 2 % 50, unit="min"))
ROLES = {"time": "when", "target": "load"}
FULL: dict[str, Any] = {**ROLES, "covariate": "flow", "known": "price"}

# What is learned from, and what of; the columns that a request holds.
CASES: dict[str, tuple[pd.DataFrame, dict[str, Any], dict[str, Any], list[str]]] = {
    "known": (FRAME, FULL, {}, ["load", "flow", "price"]),
    "static": (SHOPS, {**ROLES, "id": "shop", "static": "size"}, {}, ["load"]),
    "calendar": (FRAME, ROLES, {"calendar": True}, ["load"]),
    "elapsed": (UNEVEN, {**ROLES, "elapsed": True}, {"cell": "gru_decay"}, ["load"]),
    "every": (UNEVEN, {**ROLES, "every": "2h"}, {}, ["load"]),
}


def fitted(case: str) -> Any:
    frame, roles, options, _ = CASES[case]
    frame = frame[[*dict.fromkeys(n for n in np.hstack([*roles.values()]) if n in frame)]]
    sized: dict[str, Any] = {"hidden_sizes": (4,), "horizon": HORIZON, "context": 24}
    return tg.Forecaster(**sized, **options, max_steps=4, verbose=0).fit(frame, **roles)


@pytest.fixture(scope="module")
def models() -> dict[str, Any]:
    return {case: fitted(case) for case in CASES}


@pytest.fixture(scope="module")
def client(models: dict[str, Any]):
    with served(models, Limits()) as one:
        yield one


def asked(case: str) -> tuple[pd.DataFrame, dict[str, Any]]:
    """A table whose last rows are to be forecast, and the request that says the same."""
    frame: Any
    frame, _, _, columns = CASES[case]
    frame = frame[frame["shop"] == "b"] if "shop" in frame else frame
    if case in ("known", "elapsed"):
        frame = frame.assign(
            load=frame["load"].where(np.arange(ROWS) < ROWS - HORIZON),
            flow=frame["flow"].where(np.arange(ROWS) < ROWS - HORIZON),
        )
    rows = [[None if np.isnan(v) else v for v in row] for row in frame[columns].to_numpy().tolist()]
    request: dict[str, Any] = {"model": case, "rows": rows, "quantiles": [0.1]}
    request["times"] = frame["when"].astype(str).tolist()
    if case == "static":
        request["static"] = {"size": "small"}
    return frame, request


@pytest.mark.parametrize("case", CASES)
def test_a_request_says_all_that_a_table_says(case: str, models: Any, client: Any) -> None:
    frame, request = asked(case)
    expected = models[case].forecast(frame, quantiles=[0.1])
    found = client.post("/v1/forecast", request).json
    assert found["forecast"]["load"] == expected["load"].tolist()
    assert found["quantiles"]["load"]["0.1"] == expected["load q0.1"].tolist()
    assert pd.to_datetime(found["times"]).tolist() == expected["when"].tolist()
    inspected = {n: v for n, v in request.items() if n not in ("rows", "quantiles")}
    told = client.post("/v1/inspect", {**inspected, "input": request["rows"]}).json
    assert len(told["steps"]) == models[case].windowing_.steps


def test_what_is_known_of_the_horizon_needs_no_times(client: Any) -> None:
    _, request = asked("known")
    with_times = client.post("/v1/forecast", request).json
    without = client.post("/v1/forecast", {**request, "times": None}).json
    assert without["forecast"] == with_times["forecast"]
    assert without["times"] == [1, 2, 3]


def test_what_a_request_leaves_out_is_told_or_unknown(models: Any, client: Any) -> None:
    for case in ("calendar", "elapsed"):
        refused = client.post("/v1/forecast", {**asked(case)[1], "times": None})
        assert refused.status == 422
        assert refused.detail.startswith("times: expected one for each row, since the model reads")
    frame, request = asked("known")
    refused = client.post("/v1/forecast", {**request, "rows": request["rows"][:-1],
                                           "times": request["times"][:-1]})  # fmt: skip
    assert "expected 3 rows after the last value, the horizon, with price, got 2" in refused.detail
    refused = client.post("/v1/forecast", {**request, "static": {"size": "big"}})
    assert "static: expected some of none, got 'size'; leave it out" in refused.detail
    frame, request = asked("static")
    unknown = client.post("/v1/forecast", {**request, "static": None}).json
    assert (
        unknown["forecast"]["load"]
        == models["static"].forecast(frame.drop(columns="size").assign(size=None))["load"].tolist()
    )
    listed = {one["name"]: one for one in client.get("/v1/models").json["models"]}
    assert listed["static"]["static"] == {"size": ["big", "small"]}
    assert listed["known"]["rows"]["known"] == ["price"]
    assert "train without" in listed["known"]["no_streams"]


def test_a_model_of_past_rows_alone_is_named_what_it_is_told(models: Any) -> None:
    told = {"known": "known", "static": "static", "calendar": "calendar", "elapsed": "elapsed"}
    for case, remedy in told.items():
        with pytest.raises(ValueError, match=f"or train without {remedy}$"):
            models[case].stream()
    assert models["every"].stream() is not None
