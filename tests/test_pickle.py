"""Pickle, torch.save, copies, joblib and other processes: what comes back answers the same.

Model files never use pickle; to save by it is the user's own choice.
"""

from __future__ import annotations

import copy
import io
import multiprocessing
import pickle
from typing import Any

import cloudpickle
import joblib
import numpy as np
import pytest
import torch
from any_cell import layer_of
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from tides import small, tides

import tidegate as tg
from tidegate.cells import CELLS
from tidegate.data.series.series import Series
from tidegate.errors import InputError
from tidegate.model.checkpoint import ModelFileError
from tidegate.tasks.estimator import Estimator, NotFittedError

QUICK: dict[str, Any] = {"epochs": None, "max_steps": 3, "verbose": 0}
SMALL = {**QUICK, "hidden_sizes": (4,)}
RISING, LABELS = [np.linspace(0, (-1) ** n, 12) for n in range(24)], ["up", "down"] * 12
TEXTS, MOODS = ["a lovely film", "a dreadful film"] * 12, ["good", "bad"] * 12
BOOK = "the cat sat on the mat and the dog sat on the log\n" * 20


def torch_saved(value: Any) -> Any:
    file = io.BytesIO()
    torch.save(value, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


def joblib_dumped(value: Any) -> Any:
    file = io.BytesIO()
    joblib.dump(value, file)
    file.seek(0)
    return joblib.load(file)


WAYS = {
    "pickle": lambda value: pickle.loads(pickle.dumps(value)),
    "torch.save": torch_saved,
    "deepcopy": copy.deepcopy,
    "joblib": joblib_dumped,
    "cloudpickle": lambda value: pickle.loads(cloudpickle.dumps(value)),
}


@pytest.fixture(params=WAYS)
def there_and_back(request: pytest.FixtureRequest) -> Any:
    return WAYS[request.param]


# cells and layers


@pytest.mark.parametrize("name", CELLS)
def test_a_cell_comes_back_as_itself(name, there_and_back):
    assert there_and_back(CELLS[name]) is CELLS[name]


@pytest.mark.parametrize("name", CELLS)
def test_a_layer_comes_back_with_its_options_and_weights(name, there_and_back):
    dropout = 0.5 if CELLS[name].seen_width else 0.0
    options = {"num_layers": 2, "bidirectional": True, "recurrent_dropout": dropout}
    layer = layer_of(name, 3, 5, **options).eval()
    again = there_and_back(layer)
    x = torch.randn(6, 2, 3)
    for got, expected in zip(again(x), layer(x), strict=True):
        torch.testing.assert_close(got, expected, rtol=0, atol=0)
    assert repr(again) == repr(layer)
    assert again.explain() == layer.explain()
    assert all(a is not b for a, b in zip(again.parameters(), layer.parameters(), strict=True))


@pytest.mark.parametrize(
    "cell", [tg.RNNCell(3, 5), tg.LSTMCell(3, 5, bias=False), tg.GRUCell(3, 5, reset="before")]
)
def test_a_single_step_comes_back_with_its_options_and_weights(cell, there_and_back):
    x, again = torch.randn(2, 3), there_and_back(cell)
    torch.testing.assert_close(again(x), cell(x), rtol=0, atol=0)
    assert repr(again) == repr(cell)


def test_the_copy_of_a_layer_learns_by_itself(there_and_back):
    layer = tg.GRU(3, 5)
    again = there_and_back(layer)
    before = layer.weight_hh_l0.clone()
    again(torch.randn(4, 2, 3))[0].sum().backward()
    torch.optim.SGD(again.parameters(), lr=1.0).step()
    assert torch.equal(layer.weight_hh_l0, before)
    assert layer.weight_hh_l0.grad is None
    assert not torch.equal(again.weight_hh_l0, before)
    assert again.all_weights[0][1] is again.weight_hh_l0


def test_a_state_dict_loads_with_weights_only():
    layer, other = tg.LSTM(3, 5, proj_size=2), tg.LSTM(3, 5, proj_size=2)
    file = io.BytesIO()
    torch.save(layer.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert all(map(torch.equal, layer.parameters(), other.parameters()))


# estimators


def language_model(level: str) -> tg.LanguageModel:
    sizes = {"embedding_size": 4, "batch_size": 2, "bptt": 8, "sample_steps": ()}
    return tg.LanguageModel(level=level, vocabulary_size=300, **SMALL, **sizes).fit(BOOK)


def text_classifier(**options: Any) -> tg.TextClassifier:
    return tg.TextClassifier(**{**SMALL, "embedding_size": 4, **options})


TAGGED = [["the", "cat"], ["a", "dog", "sat"]] * 9, [["D", "N"], ["D", "N", "V"]] * 9
FITTED = {
    "TextClassifier": lambda: text_classifier().fit(TEXTS, MOODS),
    "TextClassifier of several labels": lambda: text_classifier().fit(
        TEXTS, [[mood, "any"] for mood in MOODS]
    ),
    "TextRegressor": lambda: tg.TextRegressor(**SMALL).fit(TEXTS, np.arange(float(len(TEXTS)))),
    "LanguageModel": lambda: language_model("char"),
    "LanguageModel of words": lambda: language_model("word"),
    "LanguageModel of pieces": lambda: language_model("bpe"),
    "Forecaster": lambda: small(max_steps=3, epochs=None).fit(tides()),
    "SequenceClassifier": lambda: tg.SequenceClassifier(**SMALL).fit(RISING, LABELS),
    "SequenceRegressor": lambda: tg.SequenceRegressor(**SMALL).fit(RISING, np.arange(24.0)),
    "SequenceTagger": lambda: tg.SequenceTagger(**SMALL, crf=True).fit(*TAGGED),
    "SeriesTagger": lambda: tg.SeriesTagger(**SMALL).fit(
        RISING, np.tile([0, 1], (24, 9))[:, : len(RISING[0])]
    ),
    "SequenceToSequence": lambda: tg.SequenceToSequence(**SMALL).fit(TEXTS, TEXTS[::-1]),
    "SeriesToSeries": lambda: tg.SeriesToSeries(**SMALL).fit(RISING, [r[::2] for r in RISING]),
}
ASKED = {
    "TextClassifier": lambda model: model.predict_proba(TEXTS[:3]),
    "TextRegressor": lambda model: model.predict(TEXTS[:3]),
    "LanguageModel": lambda model: "".join(model.generate("the ", length=20, seed=1)),
    "Forecaster": lambda model: model.forecast(tides()).values,
    "SequenceClassifier": lambda model: model.predict_proba(RISING[:3]),
    "SequenceRegressor": lambda model: model.predict(RISING[:3]),
    "SequenceTagger": lambda model: np.concatenate(model.predict_proba(TAGGED[0][:3])),
    "SeriesTagger": lambda model: np.concatenate(model.predict_proba(RISING[:3])),
    "SequenceToSequence": lambda model: model.predict(TEXTS[:3], beam=2),
    "SeriesToSeries": lambda model: np.concatenate(model.predict(RISING[:3])),
}


@pytest.fixture(scope="module", params=FITTED)
def fitted(request: pytest.FixtureRequest) -> tuple[Estimator, Any]:
    """A model, and what it answers."""
    model = FITTED[request.param]()
    return model, ASKED[type(model).__name__](model)


def test_a_fitted_estimator_comes_back_whole(fitted, there_and_back, tmp_path):
    model, answer = fitted
    again = there_and_back(model)
    np.testing.assert_array_equal(ASKED[type(model).__name__](again), answer)
    assert again.get_params() == model.get_params()
    assert again.metrics_ == model.metrics_
    assert again.history_ == model.history_
    again.save(tmp_path / "model.safetensors")  # nothing that the file needs was lost


@pytest.fixture(scope="module")
def learned() -> tg.TextClassifier:
    return text_classifier(seed=7).fit(TEXTS, MOODS)


def test_an_unfitted_estimator_comes_back_and_learns(learned, there_and_back):
    again = there_and_back(text_classifier(seed=7))
    assert again.get_params() == text_classifier(seed=7).get_params()
    with pytest.raises(NotFittedError):
        again.predict(TEXTS)
    expected = learned.predict_proba(TEXTS)
    np.testing.assert_array_equal(again.fit(TEXTS, MOODS).predict_proba(TEXTS), expected)


def test_a_model_from_a_file_comes_back_too(learned, there_and_back, tmp_path):
    learned.save(tmp_path / "m.safetensors")
    again = there_and_back(tg.TextClassifier.load(tmp_path / "m.safetensors"))
    np.testing.assert_array_equal(again.predict_proba(TEXTS[:3]), learned.predict_proba(TEXTS[:3]))


def test_a_clone_forgets_what_was_learned(fitted):
    model, _ = fitted
    fresh = clone(model)
    assert fresh.get_params() == model.get_params()
    assert not fresh.__sklearn_is_fitted__()


@pytest.fixture(scope="module")
def comparison() -> Any:
    return tg.compare(text_classifier(test_fraction=0.2), TEXTS, MOODS, cells=("lstm", "gru"))


def test_a_comparison_comes_back_whole(comparison, there_and_back):
    again = there_and_back(comparison)
    assert str(again) == str(comparison)
    assert again.to_json() == comparison.to_json()


def test_a_series_comes_back(there_and_back):
    series = tides()
    again = there_and_back(series)
    assert isinstance(again, Series)
    np.testing.assert_array_equal(again.values, series.values)


@pytest.mark.parametrize(
    "error",
    [
        InputError("expected a, got b", file="f.csv", line=3, column="c"),
        ModelFileError("expected a, got b", file="f.safetensors"),
        NotFittedError("expected a fitted model"),
    ],
)
def test_an_error_reaches_the_process_that_asked(error, there_and_back):
    again = there_and_back(error)
    assert (type(again), str(again)) == (type(error), str(error))
    assert (again.file, again.line, again.column) == (error.file, error.line, error.column)


# other processes


def test_a_search_over_options_runs_in_two_processes():
    search = GridSearchCV(text_classifier(), {"cell": ["rnn", "gru"]}, n_jobs=2, cv=2)
    search.fit(TEXTS, MOODS)
    assert search.best_params_["cell"] in ("rnn", "gru")
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert set(search.predict(TEXTS)) <= {"good", "bad"}


def test_a_spawned_process_runs_a_layer_and_a_model():
    layer, model = tg.GRU(3, 5, reset="before"), FITTED["TextClassifier"]()
    x = torch.randn(4, 2, 3)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        y = pool.apply(answers, (layer, x.numpy()))
        probabilities = pool.apply(model.predict_proba, (TEXTS[:3],))
    np.testing.assert_allclose(y, layer(x)[0].detach(), rtol=0, atol=1e-6)
    np.testing.assert_allclose(probabilities, model.predict_proba(TEXTS[:3]), rtol=0, atol=1e-6)


def answers(layer: torch.nn.Module, x: np.ndarray) -> np.ndarray:
    return layer(torch.from_numpy(x))[0].detach().numpy()
