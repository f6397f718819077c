"""tidegate.accelerate on Keras models: the same answers, and files that plain Keras opens."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import torch
from keras import layers
from torch import nn

import tidegate as tg

# Keras' own variables, as of NumPy 2
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

TOLERANCE = 1e-5  # float32, four layers of six steps

T, I = 6, 5  # noqa: E741


def everything() -> keras.Model:
    """A layer of each kind in each place; random weights."""
    inputs = keras.Input((T, I))
    x = layers.Bidirectional(layers.GRU(4, return_sequences=True))(inputs)
    inner = [layers.LSTM(3, return_sequences=True), layers.RNN(layers.GRUCell(4), True)]
    x = keras.Sequential(inner)(x)
    x = layers.RNN([layers.GRUCell(3), layers.LSTMCell(4)], return_sequences=True)(x)
    x = layers.SimpleRNN(3, return_sequences=True)(x)
    x = layers.TimeDistributed(layers.LSTM(2))(layers.Reshape((2, 3, 3))(x))
    model = keras.Model(inputs, x)
    rng = np.random.default_rng(0)
    model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
    return model


def batch(rows: int = 4) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(rows, T, I)).astype(np.float32)


def answers(model: Any, x: np.ndarray) -> list[np.ndarray]:
    """Outputs, and gradients of every weight."""
    y = model(torch.from_numpy(x))
    weights = [v.value for v in model.trainable_variables]
    gradients = torch.autograd.grad(y.square().sum(), weights)
    return [a.detach().numpy() for a in (y, *gradients)]


def assert_same(theirs: list[np.ndarray], ours: list[np.ndarray]) -> None:
    for expected, got in zip(theirs, ours, strict=True):
        np.testing.assert_allclose(got, expected, rtol=TOLERANCE, atol=TOLERANCE * 10)


def runs_on_the_engine(call: Any) -> bool:
    """Whether the engine is called; every loop of ours over time asks it."""
    with pytest.MonkeyPatch.context() as patch:
        from tidegate.nn import engine_op

        called, run = [], engine_op.run
        patch.setattr(engine_op, "run", lambda *a: called.append(a[0]) or run(*a))
        call()
    return bool(called)


def test_layers_in_any_place_are_swapped_and_answer_as_before():
    model, x = everything(), batch()
    before = answers(model, x)
    assert not runs_on_the_engine(lambda: model(x))
    report = tg.accelerate(model)
    kinds = ["GRU", "GRU", "LSTM", "RNN(GRUCell)", "RNN(StackedRNNCells)", "SimpleRNN", "LSTM"]
    assert [layer.kind for layer in report.swapped] == kinds
    places = [layer.name.split("/")[0].rstrip("_0123456789") for layer in report.swapped]
    assert places[:4] == ["bidirectional"] * 2 + ["sequential"] * 2
    assert places[4:] == ["rnn", "simple_rnn", "time_distributed"]
    assert runs_on_the_engine(lambda: model(x))
    assert_same(before, answers(model, x))


OPTIONS = {
    "the last output": {},
    "all outputs": {"return_sequences": True},
    "backwards": {"return_sequences": True, "go_backwards": True},
    "zeros for masked steps": {"return_sequences": True, "zero_output_for_mask": True},
    "states that are kept": {"stateful": True},
}


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("options", OPTIONS)
def test_cells_that_are_stacked_answer_and_learn_as_in_keras(options, masked):
    rng = np.random.default_rng(3)
    mask = torch.from_numpy(rng.random((4, T)) < 0.6) if masked else None
    found = []
    for accelerated in (False, True):
        drop = {"dropout": 0.3, "recurrent_dropout": 0.3}
        cells = [
            layers.GRUCell(4, seed=1, **drop),
            layers.LSTMCell(3, seed=2, **drop),
            layers.GRUCell(2, reset_after=False),
            layers.SimpleRNNCell(3),
        ]
        layer = layers.RNN(cells, return_state=True, **OPTIONS[options])
        layer.build((4, T, I))
        for k, variable in enumerate(layer.trainable_variables):
            variable.assign(np.random.default_rng(k).normal(size=variable.shape) * 0.5)
        if accelerated:
            (swapped,) = tg.accelerate(layer).swapped
            assert swapped.kind == "RNN(StackedRNNCells)"
        for training in (False, True):  # so that a state that is kept is read
            x = torch.from_numpy(batch()).requires_grad_()
            outputs = layer(x, mask=mask, training=training)
        flat = keras.tree.flatten(outputs)
        total = sum((o * torch.linspace(1, 2, o.numel()).view(o.shape)).sum() for o in flat)
        wanted = [x, *(v.value for v in layer.trainable_variables)]
        arrays = [a.detach().numpy() for a in (*flat, *torch.autograd.grad(total, wanted))]
        found.append((keras.tree.map_structure(lambda o: tuple(o.shape), list(outputs)), arrays))
    assert found[0][0] == found[1][0]
    assert_same(found[0][1], found[1][1])


def test_a_model_of_stacked_cells_is_built_for_any_length():
    inputs = keras.Input((None, I))
    stacked = layers.RNN([layers.GRUCell(3), layers.LSTMCell(4)], return_sequences=True)
    tg.accelerate(stacked)
    model = keras.Model(inputs, stacked(inputs))
    assert model.output_shape == (None, None, 4)
    assert model(batch()).shape == (4, T, 4)


def test_a_state_that_stacked_cells_lack_is_named():
    stacked = layers.RNN([layers.GRUCell(3), layers.LSTMCell(4)])
    stacked.build((4, T, I))
    tg.accelerate(stacked)
    with pytest.raises(ValueError, match="initial_state: expected states of 2 cells, got 1"):
        stacked(batch(), initial_state=[[np.zeros((4, 3), np.float32)]])


def test_a_second_call_changes_nothing_and_says_so():
    model = keras.Sequential([keras.Input((T, I)), layers.GRU(3)])
    tg.accelerate(model)
    loop = model.layers[0].inner_loop
    (left,) = tg.accelerate(model).left
    assert left.reason == "it runs on the engine already"
    assert model.layers[0].inner_loop is loop


@pytest.mark.parametrize("mode", [None, "eager", "compiled before"])
def test_an_accelerated_model_is_trained_as_before(mode):
    def trained(accelerated: bool) -> list[np.ndarray]:
        keras.utils.set_random_seed(0)
        embedding = layers.Embedding(20, 8, mask_zero=True)
        hidden = [
            layers.GRU(6, return_sequences=True, dropout=0.2),
            layers.LSTM(4, recurrent_dropout=0.3),
        ]
        model = keras.Sequential([embedding, *hidden, layers.Dense(2, "softmax")])
        model.compile("sgd", "sparse_categorical_crossentropy", run_eagerly=mode == "eager")
        rng = np.random.default_rng(0)
        tokens, labels = rng.integers(0, 20, (16, 7)), rng.integers(0, 2, 16)
        if mode == "compiled before":
            model.fit(tokens, labels, epochs=1, verbose=0, shuffle=False)
            model.predict(tokens, verbose=0)
        if accelerated:
            assert len(tg.accelerate(model).swapped) == 2
            assert runs_on_the_engine(lambda: model.predict(tokens, verbose=0))
        else:
            model.predict(tokens, verbose=0)  # seeds advance
        history = model.fit(tokens, labels, epochs=2, batch_size=8, verbose=0, shuffle=False)
        return [
            np.array(history.history["loss"]),
            *model.get_weights(),
            model.predict(tokens, verbose=0),
        ]

    assert_same(trained(False), trained(True))


@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")  # torch reads it of Keras'
def test_an_accelerated_model_is_trained_with_jit_compile(monkeypatch):
    """As torch records it; without the minute that its own compiler takes."""
    recorded = []

    def keep(graph: Any, _: Any) -> Any:
        recorded.extend(str(node.target) for node in graph.graph.nodes)
        return graph

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=keep))
    x, y = batch(), np.ones((4, 1), np.float32)
    found = []
    for jit in (False, True):
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((T, I)), layers.GRU(6), layers.Dense(1)])
        model.compile("sgd", "mse", jit_compile=jit)
        if jit:
            tg.accelerate(model)
        losses = [np.array(model.train_on_batch(x, y)) for _ in range(2)]
        found.append([*losses, *model.get_weights()])
    assert_same(*found)
    assert "tidegate.recurrence" in recorded


def test_functions_that_were_compiled_before_are_made_anew():
    model = keras.Sequential([keras.Input((T, I)), layers.GRU(3)])
    model.compile("sgd", "mse")
    model.predict(batch(), verbose=0)
    before = model.predict_function
    tg.accelerate(model)
    assert model.predict_function is not before
    assert model.train_function is None


PLAIN = """
import sys
class Blocked:
    def find_spec(self, name, *_):
        if name.partition(".")[0] == "tidegate":
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Blocked())
import keras, numpy as np
model = keras.saving.load_model(sys.argv[1])
given = np.load(sys.argv[2])
np.testing.assert_allclose(model.predict(given["x"], verbose=0), given["y"], atol=1e-4)
assert not any(name.startswith("tidegate") for name in sys.modules)
"""


def test_a_saved_model_opens_in_keras_without_tidegate(tmp_path: Path):
    model, plain, x = everything(), everything(), batch()
    tg.accelerate(model)
    assert model.get_config().keys() == plain.get_config().keys()
    model.save(tmp_path / "model.keras")
    np.savez(tmp_path / "given.npz", x=x, y=model.predict(x, verbose=0))
    command = [sys.executable, "-c", PLAIN, "model.keras", "given.npz"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert not runs_on_the_engine(lambda: loaded(x))
    assert len(tg.accelerate(loaded).swapped) == 7
    assert_same(answers(model, x), answers(loaded, x))


class Own(layers.GRU):
    """A class with code of its own."""


LEFT = {
    "a subclass": (lambda: Own(3), "subclass of keras.layers.GRU"),
    "another function": (lambda: layers.GRU(3, activation="softmax"), "activation=softmax"),
    "another type": (lambda: layers.LSTM(3, dtype="float64"), "float64"),
    "another cell": (lambda: layers.ConvLSTM1D(2, 2), "no kernel for ConvLSTM"),
    "another cell among them": (
        lambda: layers.RNN([layers.GRUCell(2), layers.LSTMCell(2, activation="softmax")]),
        "no kernel for LSTMCell with activation=softmax",
    ),
    "ours": (lambda: tg_keras().GRU(3), "tidegate's already"),
}


def tg_keras() -> Any:
    import tidegate.keras

    return tidegate.keras


@pytest.mark.filterwarnings("ignore:the cell .* runs step by step:RuntimeWarning")
@pytest.mark.usefixtures("no_compiler")
def test_a_layer_whose_cell_cannot_be_compiled_is_left_with_the_reason():
    own = layers.LSTM(3, activation="relu", return_sequences=True)
    done = tg.accelerate(keras.Sequential([own, layers.LSTM(3)]))
    (left,) = done.left
    assert left.reason.startswith("the engine has no kernel for lstm_sigmoid_relu_relu: CXX names")
    assert len(done.swapped) == 1


@pytest.mark.parametrize("case", LEFT)
def test_what_is_left_as_it_was_is_named_with_the_reason(case):
    make, reason = LEFT[case]
    layer = make()
    model = keras.Sequential([layer])
    (left,) = tg.accelerate(model).left
    assert left.name == layer.name
    assert reason in left.reason
    assert "inner_loop" not in vars(layer)


def test_a_layer_alone_is_a_model_too():
    layer = layers.LSTM(3)
    assert [found.name for found in tg.accelerate(layer).swapped] == [layer.name]


class Mixed(nn.Module):
    """A module of torch with a model of Keras within."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = keras.Sequential([keras.Input((T, I)), layers.GRU(4, return_sequences=True)])
        self.decoder = nn.LSTM(4, 3, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.decoder(self.encoder(x))[0]


class Last(nn.Module):
    """The last hidden state of a layer of torch's."""

    def __init__(self) -> None:
        super().__init__()
        self.recurrent = nn.GRU(I, 3, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.recurrent(x)[1][0]


def test_models_of_both_kinds_within_each_other_are_swapped():
    model, x = Mixed(), torch.from_numpy(batch())
    before = model(x)
    report = tg.accelerate(model)
    assert {layer.kind for layer in report.swapped} == {"GRU", "LSTM"}
    assert not report.left
    torch.testing.assert_close(model(x), before, rtol=TOLERANCE, atol=TOLERANCE)
    model = keras.Sequential([keras.Input((T, I)), layers.TorchModuleWrapper(Last())])
    before = model(x)
    (swapped,) = tg.accelerate(model).swapped
    assert swapped.name.endswith(".recurrent")
    torch.testing.assert_close(model(x), before, rtol=TOLERANCE, atol=TOLERANCE)


def test_on_another_back_end_the_remedy_is_named(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    (left,) = tg.accelerate(keras.Sequential([layers.GRU(4)])).left
    assert "Keras runs on jax" in left.reason
    assert "KERAS_BACKEND=torch" in left.reason
