"""How many rows ahead are forecast where nobody says it, and series that leave no room."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
from command_line import Tidegate

import tidegate as tg
from tidegate.errors import InputError

TINY = {"hidden_sizes": (4,), "max_steps": 2, "baseline": False, "verbose": 0}


@pytest.mark.parametrize(("rows", "ahead"), [(12, 1), (21, 2), (60, 6), (119, 11), (120, 24)])
def test_a_short_series_is_forecast_a_tenth_of_its_rows_ahead(rows: int, ahead: int) -> None:
    load = np.sin(np.arange(rows))
    model = tg.Forecaster(**TINY).fit(load)
    assert model.horizon is None
    assert len(model.predict(load)) == ahead
    assert len(tg.Forecaster(**TINY, horizon=2).fit(load).predict(load)) == 2


def test_many_short_series_are_forecast_a_tenth_of_the_median_one_ahead() -> None:
    frame = pd.DataFrame(
        [(f"s{k}", 1990 + i, np.sin(i + k)) for k in range(5) for i in range(20 + 30 * (k == 4))],
        columns=["firm", "year", "invest"],
    )
    model = tg.Forecaster(**TINY).fit(frame, time="year", target="invest", id="firm")
    assert model.windowing_.horizon == 2


def test_what_is_known_of_rows_to_come_says_how_many_are_forecast() -> None:
    day = np.arange(100)
    frame = pd.DataFrame(
        {"day": day, "promo": day % 3, "sales": np.where(day < 93, day % 7, np.nan)}
    )
    model = tg.Forecaster(**TINY).fit(frame, time="day", target="sales", known="promo")
    assert model.forecast(frame)["day"].tolist() == list(range(93, 100))


def test_training_tells_why_it_forecasts_fewer_rows(tidegate: Tidegate) -> None:
    with open("short.csv", "w") as file:
        file.write("year,v\n" + "".join(f"{1900 + i},{i % 5}\n" for i in range(60)))
    told = "short.csv --time year --target v --hidden-sizes 4 --max-steps 2 --no-baseline"
    assert "6 rows ahead, since the rows" in tidegate(f"train forecaster {told}").out
    assert "rows ahead" not in tidegate(f"train forecaster {told} --horizon 6 --force").out


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 6, 8, 12])
@pytest.mark.parametrize("ids", [False, True])
def test_whatever_room_is_left_there_is_a_forecast_or_a_reason(rows: int, ids: bool) -> None:
    frame = pd.DataFrame({"year": range(rows), "v": np.arange(rows) % 3.0})
    told: dict[str, Any] = {"time": "year", "target": "v"}
    if ids:
        frame = pd.concat([frame.assign(firm=name) for name in "abc"])
        told["id"] = "firm"
    for horizon in (None, 1, 2, rows - 1, rows):
        if horizon is not None and horizon < 1:
            continue
        reason = ""
        try:
            tg.Forecaster(**TINY, horizon=horizon).fit(frame, **told)
        except InputError as error:
            reason = str(error)
        assert not reason or "give more rows" in reason


@pytest.mark.parametrize("ids", [False, True])
@pytest.mark.parametrize("rows", [14, 21, 40])
def test_a_horizon_that_an_error_advises_leaves_room(rows: int, ids: bool) -> None:
    frame = pd.DataFrame({"t": range(rows), "v": np.sin(np.arange(rows)), "id": "a"})
    told: dict[str, Any] = {"time": "t", "target": "v"} | ({"id": "id"} if ids else {})
    frame = frame if ids else frame.drop(columns="id")
    for horizon in (rows - 1, rows, 3 * rows):
        with pytest.raises(InputError, match="or a horizon of [0-9]+ or less") as refused:
            tg.Forecaster(**TINY, horizon=horizon).fit(frame, **told)
        advised = re.findall("or a horizon of ([0-9]+) or less", str(refused.value))[0]
        tg.Forecaster(**TINY, horizon=int(advised)).fit(frame, **told)


def test_a_horizon_at_least_is_held_out_to_validate_by() -> None:
    load = np.sin(np.arange(54))
    model = tg.Forecaster(**TINY, horizon=12).fit(load)
    assert model.provenance_["validation_rows"] == 12


def test_series_that_never_change_are_told_and_the_remedy_helps() -> None:
    frame = pd.DataFrame({"id": list("ab") * 50, "t": np.repeat(np.arange(50), 2), "v": 7.0})
    told: dict[str, Any] = {"time": "t", "target": "v", "id": "id"}
    with pytest.raises(InputError, match="whose context changes.*with own_scale=False"):
        tg.Forecaster(**TINY).fit(frame, **told)
    flat = tg.Forecaster(**TINY, own_scale=False).fit(frame, **told)
    assert flat.predict(frame) == pytest.approx(7.0)
