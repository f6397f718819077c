"""Keras' ``RNN`` of one cell or of many, layers that are stateful, and files of weights alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tidegate.errors import InputError
from tidegate.interchange import read, write

h5py = pytest.importorskip("h5py")
# of Keras' variables on the torch backend, under NumPy 2; and of cells that numpy runs
pytestmark = [
    pytest.mark.usefixtures("no_compiler"),
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:the cell .* runs step by step:RuntimeWarning"),
]
RNG = np.random.default_rng(3)


@pytest.fixture
def keras(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    return pytest.importorskip("keras")


def model(keras: Any, *layers: Any) -> Any:
    """Of tokens, of which 0 is masked, with random weights."""
    made = keras.Sequential(
        [
            keras.Input((None,), dtype="int32"),
            keras.layers.Embedding(12, 5, mask_zero=True),
            *layers,
        ]
    )
    made.set_weights([RNG.normal(size=v.shape) * 0.5 for v in made.weights])
    return made


def tokens() -> np.ndarray:
    """With masked steps in front, within and behind, and a row of them alone."""
    x = RNG.integers(1, 12, (5, 7))
    x[0, :3] = x[1, 5:] = x[2, 2:4] = x[3] = 0
    return x


STACKS: dict[str, Callable[[Any], list[Any]]] = {
    "one cell": lambda k: [
        k.RNN(k.GRUCell(4, reset_after=False), return_sequences=True),
        k.RNN(k.SimpleRNNCell(3), go_backwards=True, return_sequences=True),
        k.RNN(k.LSTMCell(2, recurrent_activation="hard_sigmoid")),
    ],
    "many cells": lambda k: [
        k.RNN([k.LSTMCell(4), k.GRUCell(3), k.GRUCell(2, use_bias=False)], return_sequences=True),
        k.RNN(k.StackedRNNCells([k.GRUCell(3), k.SimpleRNNCell(2)])),
    ],
    "backwards": lambda k: [
        k.RNN([k.GRUCell(3), k.LSTMCell(4)], go_backwards=True, return_sequences=True,
              zero_output_for_mask=True),
        k.RNN([k.GRUCell(3), k.GRUCell(3)], go_backwards=True),
    ],
    "both ways": lambda k: [
        k.Bidirectional(k.RNN(k.LSTMCell(3), return_sequences=True)),
        k.Bidirectional(
            k.RNN([k.GRUCell(4), k.SimpleRNNCell(3), k.LSTMCell(2)], return_sequences=True)
        ),
        k.Bidirectional(k.RNN([k.GRUCell(3), k.GRUCell(2)]), merge_mode="sum"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("name", STACKS)
def test_layers_of_cells_predict_as_in_keras_whatever_the_masks(
    keras: Any, tmp_path: Path, name: str, suffix: str
) -> None:
    made, path, x = model(keras, *STACKS[name](keras.layers)), tmp_path / f"m{suffix}", tokens()
    made.save(path)
    np.testing.assert_allclose(read(path).predict(x), made.predict(x, verbose=0), atol=1e-6)


def test_layers_of_cells_go_on_to_keras_onnx_and_torch(keras: Any, tmp_path: Path) -> None:
    import torch

    runtime = pytest.importorskip("onnxruntime")
    made, x = model(keras, *STACKS["both ways"](keras.layers)[:2]), RNG.integers(1, 12, (4, 6))
    made.save(tmp_path / "in.keras")
    network, expected = read(tmp_path / "in.keras"), made.predict(x, verbose=0)
    assert [layer.name.partition(".")[2] for layer in network.recurrent] == [
        "", "0", "1", "2",
    ]  # fmt: skip
    write(network, tmp_path / "out.keras")
    again = keras.saving.load_model(tmp_path / "out.keras")
    np.testing.assert_allclose(again.predict(x, verbose=0), expected, atol=1e-6)
    write(network, tmp_path / "out.onnx")
    (y,) = runtime.InferenceSession(tmp_path / "out.onnx").run(None, {"tokens": x})
    np.testing.assert_allclose(y, expected, atol=2e-6)
    by_torch = network.to_torch()(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(by_torch, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("cell", "problem"),
    [
        ({"class_name": "MyCell", "config": {}}, "cell: expected SimpleRNNCell, .*, got 'MyCell'"),
        (None, "cell: expected SimpleRNNCell, .*, got ''"),
        ({"class_name": "StackedRNNCells", "config": {"cells": []}}, "cells: expected 1 to 100"),
        (
            {
                "class_name": "StackedRNNCells",
                "config": {"cells": [{"class_name": "StackedRNNCells", "config": {"cells": []}}]},
            },
            "cell: expected SimpleRNNCell, .*, got 'StackedRNNCells'",
        ),
    ],
)
def test_a_cell_that_cannot_be_read_is_named(tmp_path: Path, cell: Any, problem: str) -> None:
    layer = {"class_name": "RNN", "config": {"name": "a", "cell": cell}}
    with h5py.File(tmp_path / "m.h5", "w") as file:
        whole = {"class_name": "Sequential", "config": {"layers": [layer]}}
        file.attrs["model_config"] = json.dumps(whole)
    with pytest.raises(InputError, match=f"layer 'a': {problem}"):
        read(tmp_path / "m.h5")


@pytest.mark.parametrize("inside", ["GRU", "RNN", "Bidirectional"])
def test_that_a_layer_is_stateful_is_said(keras: Any, tmp_path: Path, inside: str) -> None:
    k = keras.layers
    how = {"stateful": True, "return_sequences": True}
    layer = k.GRU(3, **how) if inside == "GRU" else k.RNN([k.GRUCell(2), k.GRUCell(2)], **how)
    made = keras.Sequential(
        [
            keras.Input(batch_shape=(2, None, 4)),
            k.Bidirectional(k.LSTM(3, **how), name="last") if inside == "Bidirectional" else layer,
        ]
    )
    made.save(tmp_path / "m.keras")
    (note,) = read(tmp_path / "m.keras").notes
    assert note.startswith(f"{made.layers[-1].name}: it is stateful, so in Keras a batch goes on")


# weights alone


def weights_alone(made: Any, path: Path, *, legacy: bool) -> Path:
    """As Keras 3 writes them; or ``legacy``, as Keras 2 did, whose groups a whole .h5 holds."""
    if not legacy:
        made.save_weights(path)
        return path
    made.save(path.with_name("whole.h5"))
    with h5py.File(path.with_name("whole.h5")) as whole, h5py.File(path, "w") as file:
        for name in whole["model_weights"]:
            whole.copy(f"model_weights/{name}", file)
        file.attrs["keras_version"] = whole.attrs["keras_version"]
    return path


@pytest.mark.parametrize("legacy", [False, True])
def test_weights_alone_are_read_beside_their_architecture(
    keras: Any, tmp_path: Path, legacy: bool
) -> None:
    k = keras.layers
    layers = [k.GRU(4, return_sequences=True), k.Dropout(0.2), k.RNN([k.LSTMCell(3), k.GRUCell(2)])]
    made, x = model(keras, *layers, k.Dense(2)), tokens()
    path = weights_alone(made, tmp_path / "m.weights.h5", legacy=legacy)
    told = tmp_path / "model.json"
    told.write_text(made.to_json())
    with pytest.raises(InputError, match=r"got weights alone.*say architecture='model.json'"):
        read(path)
    found = read(path, architecture=told)
    np.testing.assert_allclose(found.predict(x), made.predict(x, verbose=0), atol=1e-6)


@pytest.mark.parametrize("legacy", [False, True])
def test_an_architecture_that_is_another_s_is_refused(
    keras: Any, tmp_path: Path, legacy: bool
) -> None:
    k, told = keras.layers, tmp_path / "model.json"
    made = model(keras, k.GRU(4))
    path = weights_alone(made, tmp_path / "m.weights.h5", legacy=legacy)
    told.write_text(model(keras, k.LSTM(4, name="other")).to_json())
    with pytest.raises(InputError, match=r"m\.weights\.h5: (expected|layer)"):
        read(path, architecture=told)
    told.write_text("{")
    with pytest.raises(InputError, match=r"model\.json: the architecture: expected JSON"):
        read(path, architecture=told)
    told.write_text("[]")
    with pytest.raises(InputError, match=r"model\.json: expected a Sequential or a Functional"):
        read(path, architecture=told)


def test_an_architecture_beside_a_whole_model_is_refused(keras: Any, tmp_path: Path) -> None:
    made = model(keras, keras.layers.GRU(4))
    for name in ("m.h5", "m.keras"):
        made.save(tmp_path / name)
        with pytest.raises(InputError, match="option architecture: expected none for"):
            read(tmp_path / name, architecture="model.json")
    with pytest.raises(InputError, match="option architecture: expected a file, got 3"):
        read(tmp_path / "m.h5", architecture=3)
