"""Keras' own ``model.export`` of models on the engine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras_on_torch
import numpy as np
import pytest
from keras_on_torch import fill, keras

import tidegate as tg
from tidegate.errors import InputError
from tidegate.keras import GRU, LSTM, SimpleRNN, recurrence

pytest.importorskip("onnxruntime")

from tidegate.onnx.checking import session_of  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings(keras_on_torch.OF_NUMPY),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),
    pytest.mark.filterwarnings("ignore:Exporting a model:UserWarning"),
    pytest.mark.filterwarnings("ignore:Constant folding:UserWarning"),
    pytest.mark.filterwarnings("ignore:You are using the legacy:UserWarning"),
]
L: Any = keras.layers
RNG = np.random.default_rng(0)


def chain(*layers: Any, steps: int | None = None) -> Any:
    return keras.Sequential([keras.Input((steps, 4)), *layers])


def with_states() -> Any:
    x = keras.Input((None, 4))
    y, h, c = LSTM(5, return_sequences=True, return_state=True)(x)
    return keras.Model(x, LSTM(5)(y, initial_state=[h, c]))


def accelerated() -> Any:
    model = chain(L.LSTM(5, return_sequences=True), L.Bidirectional(L.GRU(3)))
    tg.accelerate(model)
    return model


MODELS: dict[str, Callable[[], Any]] = {
    "chain": lambda: chain(LSTM(5, return_sequences=True), L.Bidirectional(GRU(3)), L.Dense(2)),
    "backwards": lambda: chain(GRU(5, return_sequences=True, go_backwards=True), SimpleRNN(3)),
    "states": with_states,
    "accelerated": accelerated,
}


def exported(model: Any, x: np.ndarray, path: Path) -> Any:
    fill([model], np.random.default_rng(1))
    model.predict(x, verbose=0)
    model.export(path / "m.onnx", format="onnx", verbose=False)
    return session_of((path / "m.onnx").read_bytes())


def assert_same(session: Any, model: Any, x: np.ndarray) -> None:
    (found,) = session.run(None, {session.get_inputs()[0].name: x})
    np.testing.assert_allclose(found, model.predict(x, verbose=0), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_an_exported_model_answers_to_any_batch_of_any_number_of_steps(
    name: str, tmp_path: Path
) -> None:
    """Keras traces one step of one row, and its own loop would be written for just that one."""
    model = MODELS[name]()
    session = exported(model, RNG.normal(size=(3, 7, 4)).astype("float32"), tmp_path)
    for rows, steps in ((3, 7), (5, 11), (1, 1)):
        assert_same(session, model, RNG.normal(size=(rows, steps, 4)).astype("float32"))


def branches() -> Any:
    x = keras.Input((None, 4))
    return keras.Model(x, L.Concatenate()([L.GRU(3)(x), L.LSTM(3)(x)]))


def kept_state() -> Any:
    x = keras.Input((None, 4))
    return keras.Model(x, L.Dense(2)(L.GRU(3, return_state=True)(x)[1]))


UNREAD: dict[str, Callable[[], Any]] = {
    "Conv1D": lambda: chain(L.Conv1D(3, 2, padding="causal"), L.GRU(2)),
    "RepeatVector": lambda: chain(L.GRU(2), L.RepeatVector(3), L.GRU(2)),
    "one input": branches,
    "return_state": kept_state,
}


@pytest.mark.parametrize("case", UNREAD)
def test_a_model_that_convert_does_not_read_has_a_way_to_onnx(case: str, tmp_path: Path) -> None:
    """That which its error names."""
    model = UNREAD[case]()
    model.save(tmp_path / "m.keras")
    with pytest.raises(InputError, match=rf"{case}.*; .* tidegate\.accelerate\(model\)") as error:
        tg.interchange.read(tmp_path / "m.keras")
    assert "model.export('name.onnx', format='onnx')" in str(error.value)
    tg.accelerate(model)
    x = RNG.normal(size=(3, 7, 4)).astype("float32")
    assert_same(exported(model, x, tmp_path), model, x)


@pytest.mark.parametrize("case", ["masked", "reset before"])
def test_what_is_written_for_one_number_of_steps_is_said_with_a_way_out(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recurrence, "_said", set())
    x: np.ndarray
    if case == "masked":
        x = RNG.integers(0, 9, (3, 7)).astype("int32")
        tokens = [keras.Input((7,), dtype="int32"), L.Embedding(9, 4, mask_zero=True)]
        model = keras.Sequential([*tokens, LSTM(5, return_sequences=True), GRU(3)])
    else:
        x = RNG.normal(size=(3, 7, 4)).astype("float32")
        model = chain(GRU(5, reset_after=False), steps=7)
    with pytest.warns(RuntimeWarning, match=r"of this number of steps alone: .* tidegate convert"):
        session = exported(model, x, tmp_path)
    assert_same(session, model, x[::-1].copy())
    model.save(tmp_path / "m.keras")
    assert tg.interchange.read(tmp_path / "m.keras").predict(x).shape == (3, model.output_shape[-1])
