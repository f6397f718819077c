"""Rows that a forecaster did not expect: what is flagged, how often, what is written."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from command_line import Tidegate, tidegate  # noqa: F401  a fixture

import tidegate as tg
from tidegate.data.series.panel import Panel
from tidegate.data.series.series import Series
from tidegate.errors import InputError
from tidegate.tasks.anomalies import Anomalies


def waves(rows: int) -> np.ndarray:
    t = np.arange(rows)
    noise = np.random.default_rng(0).normal(size=(rows, 2)) * 0.05
    return np.stack([np.sin(t * np.pi / 6), 1000 * np.cos(t * np.pi / 6)], axis=1) + noise * [
        1,
        500,
    ]


@pytest.fixture(scope="module")
def trained() -> tg.Forecaster:
    options: dict[str, Any] = {"hidden_sizes": (4,), "max_steps": 3, "verbose": 0}
    return tg.Forecaster(horizon=3, context=24, season=12, **options).fit(waves(600))


def test_a_jump_in_any_series_is_flagged_and_little_else(trained: tg.Forecaster) -> None:
    values = waves(1400)
    values[1200, 0] += 2
    values[1300, 1] -= 2000
    found = trained.detect(values, start=600, calibrate_until=1100, rate=0.01)
    assert len(found.scores) == 300
    assert found.calibrated == 500
    assert found.flags[[100, 200]].all()
    others = np.delete(found.flags, [*range(100, 126), *range(200, 226)])  # whose context has none
    assert others.mean() < 0.04


def test_scores_are_errors_one_row_ahead_in_units_of_the_usual(trained: tg.Forecaster) -> None:
    values = waves(700)
    found = trained.detect(values, start=600, rate=0.1)
    rows = np.arange(600, 700)
    ahead = np.array([trained.predict(values[:row])[0] for row in rows])
    errors = np.abs(values[rows] - ahead)
    scores = (errors / errors[:50].mean(0)).max(1)
    np.testing.assert_allclose(found.scores, scores[50:], rtol=1e-4)
    assert found.threshold == pytest.approx(np.sort(scores[:50])[45], rel=1e-4)  # ceil(51 * 0.9)


def test_of_rows_alike_the_rate_is_kept_in_the_mean() -> None:
    rng = np.random.default_rng(1)
    shares = []
    for _ in range(300):
        series = Series.of(np.arange(200), np.zeros((200, 1)), names=("x",))
        errors = rng.standard_t(3, size=(299, 1))
        shares.append(Anomalies.of(Panel((series,)), [errors], 0.05).flags.mean())
    assert np.mean(shares) == pytest.approx(0.05, abs=0.008)  # three standard errors


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ({"rate": 0.001}, "expected 999 rows or more to calibrate by"),
        ({"rate": 1.0}, "expected a share between 0 and 1, got 1"),
        ({"rate": 0.1, "calibrate_until": 600}, "expected a moment after row 600"),
        ({"rate": 0.1, "start": 700}, "expected 2 rows or more"),
    ],
)
def test_what_cannot_be_told_is_said(trained: tg.Forecaster, how: Any, told: str) -> None:
    with pytest.raises(InputError, match=told):
        trained.detect(waves(700), **{"start": 600} | how)


def of_shops() -> pd.DataFrame:
    """Three series, the last too short to score; one value is missing, one is a jump."""
    frames = []
    for shop, rows, size in (("a", 400, 1.0), ("b", 300, 1000.0), ("c", 40, 1.0)):
        sold = waves(rows)[:, 0] * size
        day = np.arange(rows)
        frames.append(pd.DataFrame({"shop": shop, "day": day, "sold": sold}))
    frames[0].loc[380, "sold"] = np.nan
    frames[1].loc[290, "sold"] += 5000
    return pd.concat(frames, ignore_index=True)


def test_of_several_series_each_is_calibrated_and_scored_by_itself() -> None:
    table = of_shops()
    options: dict[str, Any] = {"hidden_sizes": (4,), "max_steps": 3, "verbose": 0}
    model = tg.Forecaster(horizon=3, context=24, season=12, validate_until=200, **options)
    roles = {"id": "shop", "time": "day", "target": "sold", "fill_gaps": True}
    found = model.fit(table, **roles).detect(table, rate=0.05)
    assert found.ids == ["a"] * 100 + ["b"] * 50
    assert found.calibrated == 150
    assert np.isnan(found.scores[80])
    assert not found.flags[80]
    assert found.flags[100 + 40]
    # whatever unit a shop counts in
    larger = table.assign(sold=np.where(table["shop"] == "a", 60.0, 1.0) * table["sold"])
    np.testing.assert_allclose(model.detect(larger, rate=0.05).scores, found.scores, rtol=1e-3)


def test_the_command_writes_the_series_of_each_row(tidegate: Tidegate) -> None:  # noqa: F811
    of_shops().to_csv("shops.csv", index=False)
    roles = "--id shop --time day --target sold --fill-gaps --context 24 --horizon 3"
    learned = f"train forecaster shops.csv {roles} --validate-until 200 --max-steps 2"
    assert tidegate(f"{learned} --hidden-sizes 4 -o m.safetensors").code == 0
    outcome = tidegate("detect m.safetensors shops.csv --rate 0.05 --plot shops.png")
    assert outcome.code == 0, outcome.err
    rows = list(csv.DictReader(io.StringIO(outcome.out)))
    assert list(rows[0]) == ["shop", "day", "score", "flag"]
    assert [row["shop"] for row in rows] == ["a"] * 100 + ["b"] * 50
    assert rows[80]["score"] == ""
    told = tidegate("detect m.safetensors shops.csv --rate 0.05 --json").json
    assert told["ids"] == [row["shop"] for row in rows]
    assert told["scores"][80] is None


def test_the_command_writes_scores_and_flags(tidegate: Tidegate) -> None:  # noqa: F811
    line = "load.csv --time date --target OT --hidden-sizes 4 --max-steps 3 --horizon 6 "
    assert tidegate(f"train forecaster {line} --context 24 --validate-until 0.6").code == 0
    asked = "detect load-forecaster.safetensors load.csv"
    outcome = tidegate(f"{asked} --rate 0.1 --plot flagged.png")
    assert outcome.code == 0, outcome.err
    rows = list(csv.DictReader(io.StringIO(outcome.out)))
    assert list(rows[0]) == ["date", "score", "flag"]
    assert rows[-1]["date"] == "2024-01-14T23"
    assert Path("flagged.png").stat().st_size > 1000
    told = tidegate(f"{asked} --rate 0.1 --json").json
    assert told["flags"] == [int(row["flag"]) for row in rows]
    assert [score > told["threshold"] for score in told["scores"]] == [
        bool(flag) for flag in told["flags"]
    ]
    assert tidegate(f"{asked} --rate 0.1 -o flagged.tsv").out == ""
    assert len(Path("flagged.tsv").read_text().splitlines()) == len(rows) + 1
    refused = tidegate(asked)
    assert refused.code == 2
    assert "option --rate: expected 999 rows or more" in refused.err


def test_series_without_a_time_are_written_without_one(tidegate: Tidegate) -> None:  # noqa: F811
    values = waves(300)[:, 0]
    Path("bare.csv").write_text("v\n" + "\n".join(f"{v:.4f}" for v in values) + "\n")
    line = "bare.csv --no-time --target v --horizon 4 --context 24 --hidden-sizes 4 --max-steps 2"
    learned = f"train forecaster {line} --train-until 150 --validate-until 200 -o m.safetensors"
    assert tidegate(learned).code == 0
    outcome = tidegate("detect m.safetensors bare.csv --rate 0.1")
    assert outcome.code == 0, outcome.err
    assert outcome.out.splitlines()[0] == "score,flag"
