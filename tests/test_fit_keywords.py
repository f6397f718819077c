"""What ``fit`` takes by name, ``compare`` and ``tune`` take too, and do the same with it."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from command_line import Tidegate, tidegate  # noqa: F401

import tidegate as tg
from tidegate.comparison.experiments.of_tasks import EXPERIMENTS, experiment_of
from tidegate.errors import InputError
from tidegate.tasks import task_class

TINY = {"hidden_sizes": (4,), "max_steps": 3, "verbose": 0}
ONE = {"cells": ("gru",), "seeds": 1}

ROWS = 240
WHEN = pd.date_range("2026-01-01", periods=ROWS, freq="h")
PRICE = np.sin(np.arange(ROWS) / 5)
FRAME = pd.DataFrame(
    {
        "when": WHEN,
        "then": WHEN,  # two columns of times: one must be named
        "price": PRICE,
        "load": 2 * PRICE + np.arange(ROWS) % 24,
        "flow": np.cos(np.arange(ROWS) / 7),
    }
)
ROLES: dict[str, Any] = {"time": "when", "target": "load", "known": ["price"], "covariate": "flow"}
PANEL = pd.concat([FRAME.drop(columns="then").assign(shop=s, size=s) for s in ("a", "b")])
UNEVEN = FRAME.assign(when=WHEN + pd.to_timedelta(np.arange(ROWS) % 5, unit="min"))


def forecaster(**options: Any) -> tg.Forecaster:
    return tg.Forecaster(**{**TINY, "horizon": 4, "context": 24, **options})


SERIES: dict[str, tuple[Any, Mapping[str, Any], Mapping[str, Any]]] = {
    "pandas": (FRAME, ROLES, {}),
    "polars": (pl.from_pandas(FRAME), ROLES, {}),
    "index": (FRAME.set_index("when")[["load", "price"]], {"known": "price"}, {}),
    "array": (FRAME[["load", "price"]].to_numpy(), {"target": 0, "covariate": [1]}, {}),
    "ids": (PANEL, {"time": "when", "target": "load", "id": "shop", "static": "size"}, {}),
    "gaps": (
        FRAME.drop(columns="then").drop(index=range(60, 63)),
        {"time": "when", "fill_gaps": True},
        {},
    ),
    "every": (UNEVEN.drop(columns="then"), {"time": "when", "every": "h"}, {}),
    "elapsed": (
        UNEVEN.drop(columns="then"),
        {"time": "when", "elapsed": True},
        {"cell": "gru_decay"},
    ),
}


@pytest.mark.parametrize("case", SERIES)
def test_a_compared_forecaster_is_what_fit_makes_of_the_same_data(case: str) -> None:
    """Bit for bit, and with the same roles for later data, which its file keeps."""
    data, told, options = SERIES[case]
    cells = {**ONE, "cells": (options.get("cell", "gru"),)}
    (run,) = tg.compare(forecaster(**options), data, **told, **cells).runs
    alone: Any = forecaster(**options, refit=False, baseline=False).fit(data, **told)
    made: Any = run.model
    assert made.metrics_ == alone.metrics_
    drawn = ("created", "training_seconds")
    kept, expected = (
        {n: v for n, v in one.provenance_.items() if n not in drawn} for one in (made, alone)
    )
    assert kept == expected
    assert set(told) - {"covariate"} <= {n.removesuffix("_column").removesuffix("_columns")
                                         for n in kept} | {"target", "known"}  # fmt: skip


@pytest.mark.parametrize("of", ["compare", "tune"])
def test_what_fit_refuses_by_name_is_refused_alike(of: str) -> None:
    how = {"compare": ONE, "tune": {"trials": 1, "seeds": 0}}[of]
    call = getattr(tg, of)
    wrong: list[dict[str, Any]] = [{"time": "wen"}, {"time": "when", "target": "lod"}, {}]
    for told in wrong:
        with pytest.raises(InputError) as of_fit:
            forecaster().fit(FRAME, **told)
        with pytest.raises(InputError) as refused:
            call(forecaster(), FRAME, **told, **how)
        assert str(refused.value) == str(of_fit.value)
    with pytest.raises(TypeError, match=r"keyword argument 'tim'; .*Forecaster\.fit takes: data, "):
        call(forecaster(), FRAME, tim="when", **how)
    model = tg.SequenceClassifier(**TINY)
    with pytest.raises(TypeError, match=r"SequenceClassifier\.fit takes: missing .*'y'"):
        call(model, [np.ones((3, 1))] * 9, **how)


@pytest.mark.parametrize("task", EXPERIMENTS)
def test_every_keyword_of_fit_reaches_the_experiment(task: str) -> None:
    """None is what was given of each: an experiment that did not know the name would say so."""
    model: Any = task_class(task)(**TINY)
    fit = signature(model.fit).parameters
    named = {n: p.default for n, p in fit.items() if p.kind is p.KEYWORD_ONLY}
    data = [[]] * sum(p.default is p.empty for p in fit.values())
    with pytest.raises(InputError):  # there are no data, and nothing else is wrong
        experiment_of(model, tuple(data), None, None, **named)


def texts(count: int) -> tuple[list[str], list[str]]:
    words = ["lovely", "dreadful"]
    return [f"{words[i % 2]} film {i}" for i in range(count)], [words[i % 2] for i in range(count)]


def test_texts_that_weigh_nothing_teach_a_compared_classifier_nothing() -> None:
    inputs, labels = texts(60)
    lies = inputs + inputs + inputs, labels + 2 * labels[1:] + 2 * labels[:1]
    weights = [1.0] * 60 + [0.0] * 120
    model = tg.TextClassifier(**{**TINY, "max_steps": 40})
    held_out = {"validation": texts(20), "test": texts(20)}
    (run,) = tg.compare(model, *lies, sample_weight=weights, **held_out, **ONE).runs
    assert run.held_out["accuracy"] == 1
    with pytest.raises(InputError, match="sample_weight: expected one per input, 180, got 3"):
        tg.compare(model, *lies, sample_weight=[1, 1, 1], **ONE)


def test_sequences_that_weigh_nothing_teach_a_compared_classifier_nothing() -> None:
    rng = np.random.default_rng(0)
    signs = rng.choice([-1, 1], 60)
    steps = [s * np.linspace(-1, 1, 12)[:, None] for s in signs]
    model = tg.SequenceClassifier(**{**TINY, "max_steps": 40, "bidirectional": False})
    told = {"sample_weight": [1.0] * 60 + [0.0] * 120}
    held_out = {"validation": (steps[:20], signs[:20]), "test": (steps[20:40], signs[20:40])}
    lies = steps * 3, np.concatenate([signs, -signs, -signs])
    (run,) = tg.compare(model, *lies, **told, **held_out, **ONE).runs
    assert run.held_out["accuracy"] == 1


def test_a_compared_classifier_reads_columns_beside_its_texts() -> None:
    inputs, labels = ["a film"] * 80, ["good", "bad"] * 40
    table = {"text": inputs, "brand": ["x", "y"] * 40}
    told: dict[str, Any] = {"conditions": ["brand"], "test": (table, labels), **ONE}
    model = tg.TextClassifier(**{**TINY, "max_steps": 60, "validation_fraction": 0.2})
    for given in (table, pd.DataFrame(table), pl.DataFrame(table)):
        (run,) = tg.compare(model, given, labels, **told).runs
        assert run.model.conditions_.names == ["brand"]
        assert run.held_out["accuracy"] == 1


def test_compared_models_of_texts_and_of_music_take_conditions() -> None:
    lines, kinds = ["one two", "three four"] * 20, ["a", "b"] * 20
    language = tg.LanguageModel(**TINY)
    held_out = (lines[:6], kinds[:6])
    for conditions in (kinds, pd.DataFrame({"condition": kinds})):
        told = tg.compare(language, lines, conditions=conditions, test=held_out, **ONE)
        (run,) = told.runs
        assert run.model.conditions_.names == ["condition"]
        assert told.size == 6
    with pytest.raises(InputError, match=r"test: expected a pair .* give \(texts, conditions\)"):
        tg.compare(language, lines, conditions=kinds, test=lines[:6], **ONE)
    rolls = [np.eye(5)[np.arange(8) % 5], np.eye(5)[::-1][np.arange(8) % 5]] * 6
    made = ["up", "down"] * 6
    pair = (rolls[:4], made[:4])
    told = tg.compare(
        tg.MusicModel(**TINY), rolls, conditions=made, validation=pair, test=pair, **ONE
    )
    assert told.runs[0].model.conditions_.names == ["condition"]
    assert told.size == 4


def test_data_may_come_by_name_and_validation_data_in_their_order() -> None:
    inputs, labels = texts(40)
    model = tg.TextClassifier(**TINY)
    by_name = tg.compare(model, texts=inputs, labels=labels, validation=texts(8), **ONE)
    in_order = tg.compare(model, inputs, labels, texts(8), **ONE)
    assert by_name.size == in_order.size == 8
    assert by_name.runs[0].validation == in_order.runs[0].validation
    with pytest.raises(TypeError, match="multiple values for argument 'validation'"):
        tg.compare(model, inputs, labels, texts(8), validation=texts(8), **ONE)


def test_a_search_takes_what_fit_takes_by_name() -> None:
    how: dict[str, Any] = {"trials": 2, "seeds": 1, "space": {"units": [3, 4]}, "fix": ["cell"]}
    found = tg.tune(forecaster(), FRAME, **ROLES, **how)
    fitted = found.estimator.fit(FRAME, **ROLES)
    assert fitted.windowing_.known_names == ("price",)
    inputs, labels = texts(60)
    weights = np.arange(60.0)
    model = tg.TextClassifier(**TINY)
    assert len(tg.tune(model, inputs, labels, sample_weight=weights, **how).trials) == 2


def test_commands_that_compare_and_search_take_the_column_of_weights(
    tidegate: Tidegate,  # noqa: F811
    tmp_path: Path,
) -> None:
    inputs, labels = texts(60)
    with (tmp_path / "said.csv").open("w", newline="") as file:
        write = csv.writer(file)
        write.writerow(["said", "is", "counts"])
        write.writerows((a, b, 1) for a, b in zip(inputs, labels, strict=True))
        write.writerows((a, b, 0) for a, b in zip(inputs, labels[::-1], strict=True))
    (tmp_path / "few.csv").write_text("said,is\n" + "".join(f"{a},{b}\n" for a, b in zip(
        inputs[:20], labels[:20], strict=True)))  # fmt: skip
    told = "said.csv --text said --label is --weight counts --hidden-sizes 4"
    line = f"--max-steps 40 --validation few.csv --test few.csv {told}"
    made = tidegate(f"compare {line} --task classifier --cells gru --seeds 1 --json")
    assert made.code == 0, made.err
    assert made.json["runs"][0]["test"]["accuracy"] == 1
    how = "--space units=3:5 --fix cell=gru --trials 2 --seeds 0 --json"
    made = tidegate(f"tune classifier {line.replace('--hidden-sizes 4', '')} {how}")
    assert made.code == 0, made.err
    assert "--weight counts" in made.json["command"]
