"""tidegate.keras in models: training, files, calls without numbers, and what is left to Keras."""

import os
import re
import subprocess
import sys
import warnings
from importlib.util import find_spec

import keras_on_torch
import numpy as np
import pytest
import torch
from keras_on_torch import CELLS, assert_close, fill, keras, theirs

import tidegate.keras
from tidegate.keras import recurrence

pytestmark = pytest.mark.filterwarnings(keras_on_torch.OF_NUMPY)

RNG = np.random.default_rng(0)
TOKENS = RNG.integers(0, 12, (24, 9)).astype("int32")
LABELS = RNG.integers(0, 3, 24)
SERIES = RNG.normal(size=(6, 7, 3)).astype("float32")


def classifier(cell, own, mask_zero=False, **options):
    """The usual model, of our layers or of Keras' own."""
    ours, chosen = CELLS[cell]
    kind = theirs(ours) if own else ours
    options = chosen | options
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((None,), dtype="int32"),
            layers.Embedding(12, 5, mask_zero=mask_zero),
            kind(6, return_sequences=True, **options),
            layers.Bidirectional(kind(4, **options)),
            layers.Dense(3, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


@pytest.mark.parametrize("mask_zero", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_a_model_learns_as_that_of_keras_does(cell, mask_zero):
    pair = [classifier(cell, own, mask_zero) for own in (False, True)]
    fill(pair, np.random.default_rng(1))
    histories, answers = [], []
    for model in pair:
        fitted = model.fit(TOKENS, LABELS, batch_size=8, epochs=2, shuffle=False, verbose=0)
        histories.append(fitted.history["loss"])
        model.train_on_batch(TOKENS[:5], LABELS[:5])
        answers.append([torch.tensor(model.predict(TOKENS, verbose=0))])
    # seven steps of Adam, which lets differences grow
    np.testing.assert_allclose(*histories, rtol=1e-4)
    assert_close(*answers, tolerance=1e-4)
    figures = [model.evaluate(TOKENS, LABELS, verbose=0) for model in pair]
    np.testing.assert_allclose(*figures, rtol=1e-3)


@pytest.mark.parametrize("cell", CELLS)
def test_a_saved_model_opens_with_its_layers_and_numbers(cell, tmp_path):
    model = classifier(cell, own=False, mask_zero=True, strict=True, dropout=0.2)
    model.train_on_batch(TOKENS, LABELS)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert type(again.layers[1]) is CELLS[cell][0]
    assert again.layers[1].strict
    expected, answer = (m.predict(TOKENS, verbose=0) for m in (model, again))
    assert (expected == answer).all()


def test_keras_opens_a_saved_model_where_tidegate_is_not(tmp_path):
    inner = [tidegate.keras.LSTM(4, return_sequences=True), tidegate.keras.GRU(3)]
    model = keras.Sequential([keras.Input((5, 2)), *inner])
    model.save(tmp_path / "model.keras")
    x = np.random.default_rng(0).normal(size=(3, 5, 2)).astype("float32")
    np.save(tmp_path / "x.npy", x)
    program = """if True:
        import sys
        sys.modules["tidegate"] = None
        import keras, numpy
        own = {f"tidegate>{kind}": getattr(keras.layers, kind) for kind in ("GRU", "LSTM")}
        model = keras.saving.load_model("model.keras", custom_objects=own)
        numpy.save("y.npy", model.predict(numpy.load("x.npy"), verbose=0))
        """
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], cwd=tmp_path, check=True)
    expected = model.predict(x, verbose=0)
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), expected, atol=1e-6)


@pytest.mark.parametrize("cell", CELLS)
def test_weights_go_to_layers_of_keras_and_come_back(cell, tmp_path):
    ours, plain = (classifier(cell, own) for own in (False, True))
    path = tmp_path / "model.weights.h5"
    ours.save_weights(path)
    plain.load_weights(path)
    expected = [torch.tensor(ours.predict(TOKENS, verbose=0))]
    assert_close([torch.tensor(plain.predict(TOKENS, verbose=0))], expected)
    fill([plain], np.random.default_rng(2))
    plain.save_weights(path)
    ours.load_weights(path)
    assert all((a.value == b.value).all() for a, b in zip(ours.weights, plain.weights, strict=True))


@pytest.mark.parametrize("cell", CELLS)
def test_a_configuration_is_that_of_keras_but_for_strict(cell):
    ours, options = CELLS[cell]
    options = options | {"units": 4, "name": "it", "dropout": 0.1, "kernel_regularizer": "l2"}
    config = ours(**options).get_config()
    assert config == theirs(ours)(**options).get_config()
    strict = ours(strict=True, **options)
    assert strict.get_config() == config | {"strict": True}
    assert ours.from_config(strict.get_config()).get_config() == strict.get_config()


def test_arguments_by_place_are_those_of_keras():
    layer = tidegate.keras.GRU(4, "tanh", "sigmoid", False)
    assert layer.get_config()["use_bias"] is False


@pytest.mark.parametrize("cell", CELLS)
def test_a_functional_model_of_any_length_is_built_without_a_run(cell):
    ours, options = CELLS[cell]
    x = keras.Input((None, 3))
    layer = ours(5, strict=True, return_sequences=True, return_state=True, **options)
    y, *states = layer(x)
    assert (y.shape, states[0].shape) == ((None, None, 5), (None, 5))
    z, *_ = ours(5, strict=True, return_state=True, **options)(y, initial_state=states)
    model = keras.Model(x, [y, z])
    text = []
    model.summary(print_fn=text.append)
    assert ours.__name__ in "".join(text)
    y, z = model(SERIES)
    assert (y.shape, z.shape) == ((6, 7, 5), (6, 5))
    assert layer.compute_output_spec(x)[0].shape == (None, None, 5)


class Encoder(keras.Model):
    """A model whose shapes Keras finds by a call on tensors without numbers."""

    def __init__(self, layer, **options):
        super().__init__(**options)
        self.layer, self.masking = layer, keras.layers.Masking()

    def call(self, x):
        return self.layer(self.masking(x))


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("returns", [{"return_sequences": True}, {}])
def test_a_call_without_numbers_gives_shapes(cell, returns):
    ours, options = CELLS[cell]
    model = Encoder(ours(5, strict=True, **returns, **options))
    expected = (2, 7, 5) if returns else (2, 5)
    assert model.compute_output_spec(keras.KerasTensor((2, 7, 3))).shape == expected


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_a_compiled_layer_gives_the_same(cell, masked):
    """As `jit_compile=True` does, but without the minutes that torch's own compiler takes."""
    ours, options = CELLS[cell]
    layer = ours(5, strict=True, return_sequences=True, **options)
    x = torch.tensor(SERIES, requires_grad=True)
    mask = torch.tensor(RNG.random((6, 7)) < 0.6) if masked else None
    layer.build(x.shape)
    loop = torch.compile(layer.inner_loop, backend="aot_eager")
    found = []
    for run in (layer.inner_loop, loop):
        _, y, states = run(x, layer.get_initial_state(6), mask)
        gradient = torch.autograd.grad(y.sin().sum(), x)
        found.append([y.detach(), states[0].detach(), *gradient])
    assert_close(*found)


@pytest.mark.parametrize("cell", CELLS)
def test_a_layer_of_keras_around_the_cell_runs_too(cell):
    ours, options = CELLS[cell]
    kind = getattr(keras.layers, f"{ours.__name__}Cell")
    layer = keras.layers.RNN(kind(5, **options), return_sequences=True)
    mask = torch.tensor(RNG.random((6, 7)) < 0.6)
    expected = layer(SERIES, mask=mask)
    state = layer.get_initial_state(6)
    _, y, _ = recurrence.inner_loop(layer, pytest.fail, torch.tensor(SERIES), state, [mask])
    assert_close([y.detach()], [expected.detach()])


class OwnCell(keras.layers.GRUCell):
    pass


@keras.saving.register_keras_serializable(package="tests")
def cosine(a):
    return keras.ops.cos(a)


@keras.saving.register_keras_serializable(package="tests")
def tanh(a):
    return keras.ops.tanh(a)


LEFT_TO_KERAS = {
    "no kernel for GRUCell with activation=softmax": lambda **kw: tidegate.keras.GRU(
        4, activation="softmax", **kw
    ),
    "no kernel for LSTMCell with recurrent_activation=LeakyReLU": lambda **kw: tidegate.keras.LSTM(
        4, recurrent_activation=keras.layers.LeakyReLU(), **kw
    ),
    "no kernel for SimpleRNNCell with activation=cosine": lambda **kw: tidegate.keras.SimpleRNN(
        4, activation=cosine, **kw
    ),
    "that only shares Keras' name of one; give activation='tanh'": lambda **kw: tidegate.keras.GRU(
        4, activation=tanh, **kw
    ),
    "computes in float32, but the layer in float64": lambda **kw: tidegate.keras.LSTM(
        4, dtype="float64", **kw
    ),
    "computes in float32, but the layer in bfloat16": lambda **kw: tidegate.keras.LSTM(
        4, dtype="mixed_bfloat16", **kw
    ),
    "Keras treats dropout=1 in its own ways": lambda **kw: tidegate.keras.LSTM(4, dropout=1, **kw),
}


@pytest.mark.parametrize("reason", LEFT_TO_KERAS)
def test_what_is_left_to_keras_is_said_once_and_refused_by_strict(reason):
    layer = LEFT_TO_KERAS[reason]()
    with pytest.warns(RuntimeWarning, match=f"Keras' own loop runs, because .*{reason}") as said:
        y = layer(SERIES)
    assert len(said) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "__array__ implementation")
        layer(SERIES)
    own = theirs(type(layer)).from_config(layer.get_config())
    own.build(SERIES.shape)
    own.set_weights(layer.get_weights())
    assert torch.equal(y, own(SERIES))
    with pytest.raises(RuntimeError, match=f"strict: expected the engine to run it.*{reason}"):
        LEFT_TO_KERAS[reason](strict=True)(SERIES)


def test_a_cell_of_ones_own_is_left_to_keras():
    layer = keras.layers.RNN(OwnCell(4))
    layer.build(SERIES.shape)
    with pytest.raises(RuntimeError, match="no kernel for OwnCell"):
        recurrence.inner_loop(layer, None, torch.tensor(SERIES), [], None, strict=True)


@pytest.mark.parametrize(
    ("call", "problem"),
    [
        ({"sequences": np.ones((2, 5, 4), "float32")}, "sequences: expected [B, T, 3], for"),
        ({"initial_state": [np.ones((2, 5), "float32")] * 2}, "initial_state[0]: expected [6, 4]"),
        (
            {"initial_state": [np.ones((6, 4), "float32")]},
            "initial_state: expected 2 arrays, got 1",
        ),
        ({"mask": np.ones((6, 4), bool)}, "mask: expected [6, 7], got [6, 4]"),
    ],
)
def test_shapes_that_do_not_fit_are_named(call, problem):
    layer = tidegate.keras.LSTM(4)
    layer.build(SERIES.shape)
    with pytest.raises(ValueError, match=re.escape(problem)):
        layer(**{"sequences": SERIES} | call)


def test_a_kept_state_is_not_what_a_later_call_changes():
    layer = tidegate.keras.GRU(4, stateful=True, return_state=True)
    _, first = layer(SERIES)
    before = first.detach().clone()
    layer(SERIES)
    assert torch.equal(first, before)
    assert not torch.equal(layer.states[0].value, before)


ON_JAX = """
import warnings, numpy as np, keras
warnings.simplefilter("error", RuntimeWarning)
import tidegate.keras as tk
import sys
assert "torch" not in sys.modules
x = np.ones((2, 5, 3), "float32")
for make, error in ((tk.GRU, RuntimeWarning), (lambda u: tk.GRU(u, strict=True), RuntimeError)):
    try:
        make(4)(x)
    except error as e:
        assert "Keras runs on jax" in str(e), e
    else:
        raise AssertionError(error)
warnings.simplefilter("ignore")
y = tk.GRU(4)(x)
assert y.shape == (2, 4)
"""


@pytest.mark.skipif(find_spec("jax") is None, reason="no jax")
def test_on_other_libraries_keras_runs_its_own_loop_and_torch_is_not_taken():
    environment = os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    ran = subprocess.run(
        [sys.executable, "-c", ON_JAX], env=environment, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr


def test_other_libraries_of_keras_are_named(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    reason = recurrence.reason_against_layer(tidegate.keras.GRU(4))
    assert reason is not None
    assert "set KERAS_BACKEND=torch" in reason


def test_without_keras_the_remedy_is_named():
    code = "import sys; sys.modules['keras'] = None\nimport tidegate.keras"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "pip install 'tidegate[keras]'" in ran.stderr


def test_a_subclass_is_a_layer_of_the_engine_too():
    class Named(tidegate.keras.GRU):
        def __init__(self, units, title="", **kwargs):
            super().__init__(units, **kwargs)
            self.title = title

    layer = Named(4, title="it", strict=True)
    assert layer(SERIES).shape == (6, 4)
    assert layer.get_config()["strict"] is True
