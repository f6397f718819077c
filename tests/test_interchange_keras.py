"""Keras' files, read without Keras: what Keras makes of a batch, masks and all; what is asked."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tidegate.errors import InputError
from tidegate.interchange import hdf5, read

h5py = pytest.importorskip("h5py")
# of Keras' variables on the torch backend, under NumPy 2; and of cells that numpy runs
pytestmark = [
    pytest.mark.usefixtures("no_compiler"),
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Layer 'global_max:UserWarning"),
    pytest.mark.filterwarnings("ignore:the cell .* runs step by step:RuntimeWarning"),
]
RNG = np.random.default_rng(5)


@pytest.fixture
def keras(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    return pytest.importorskip("keras")


def filled(model: Any) -> Any:
    """With random weights, the variances positive."""
    model.set_weights(
        [
            np.abs(RNG.normal(size=v.shape)) + 0.1 if "variance" in v.path
            else RNG.normal(size=v.shape) * 0.5
            for v in model.weights
        ]
    )  # fmt: skip
    return model


def tokens() -> np.ndarray:
    """With zeros, which are masked, in front, within, behind, and a row of them alone."""
    x = RNG.integers(1, 12, (7, 9))
    x[0, :3] = x[1, 5:] = x[2, 2:4] = x[3] = 0
    x[4, ::2] = x[5, -1] = 0
    return x


def model(keras: Any, *layers: Any, numbers: bool = False) -> Any:
    start = keras.Input((None, 4)) if numbers else keras.Input((None,), dtype="int32")
    return filled(keras.Sequential([start, *layers]))


MODELS: dict[str, Callable[[Any], list[Any]]] = {
    "sentiment": lambda k: [
        k.Embedding(12, 5, mask_zero=True), k.GRU(4, return_sequences=True), k.Dropout(0.3),
        k.GRU(3), k.Dense(2, activation="softmax"),
    ],
    "both ways": lambda k: [
        k.Embedding(12, 5, mask_zero=True), k.Bidirectional(k.LSTM(4, return_sequences=True)),
        k.BatchNormalization(), k.Bidirectional(k.GRU(3, reset_after=False), merge_mode="sum"),
        k.Dense(2),
    ],
    "tagger": lambda k: [
        k.Embedding(12, 5, mask_zero=True), k.SimpleRNN(4, return_sequences=True),
        k.Bidirectional(k.SimpleRNN(3, return_sequences=True), merge_mode="mul"),
        k.TimeDistributed(k.Dense(6, activation="relu")), k.Dense(2, use_bias=False),
    ],
    "backwards": lambda k: [
        k.Embedding(12, 5, mask_zero=True),
        k.LSTM(4, return_sequences=True, go_backwards=True, zero_output_for_mask=True),
        k.GRU(3, go_backwards=True, return_sequences=True), k.GlobalAveragePooling1D(),
        k.Activation("tanh"), k.Dense(2, activation="hard_sigmoid"),
    ],
    "activations": lambda k: [
        k.Embedding(12, 5, mask_zero=True),
        k.GRU(4, recurrent_activation="hard_sigmoid", activation="relu", return_sequences=True),
        k.LSTM(3, activation="softsign", recurrent_activation="hard_sigmoid", use_bias=False,
               return_sequences=True),
        k.SimpleRNN(2, activation="relu", return_sequences=True), k.GlobalMaxPooling1D(),
    ],
}  # fmt: skip


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("name", MODELS)
def test_a_model_predicts_as_in_keras_whatever_its_masks(
    keras: Any, tmp_path: Path, name: str, suffix: str
) -> None:
    made, path, x = model(keras, *MODELS[name](keras.layers)), tmp_path / f"m{suffix}", tokens()
    made.save(path)
    np.testing.assert_allclose(read(path).predict(x), made.predict(x, verbose=0), atol=1e-6)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_functional_model_whose_layers_follow_one_another_is_read(
    keras: Any, tmp_path: Path, suffix: str
) -> None:
    start = keras.Input((None, 4))
    y = keras.layers.Masking(0.5)(start)
    y = keras.layers.GRU(3, return_sequences=True, name="middle")(y)
    made = filled(keras.Model(start, keras.layers.Dense(2)(y)))
    x, path = RNG.normal(size=(3, 5, 4)).astype(np.float32), tmp_path / f"m{suffix}"
    x[0, 1:3] = x[1, :] = 0.5
    made.save(path)
    np.testing.assert_allclose(read(path).predict(x), made.predict(x, verbose=0), atol=1e-6)


def test_a_functional_model_of_two_branches_is_refused(keras: Any, tmp_path: Path) -> None:
    start = keras.Input((None, 4))
    y, z = keras.layers.GRU(3)(start), keras.layers.LSTM(3)(start)
    keras.Model(start, keras.layers.Concatenate()([y, z])).save(tmp_path / "m.keras")
    with pytest.raises(InputError, match="expected one input, .* got .'gru"):
        read(tmp_path / "m.keras")


def test_a_layer_that_cannot_be_read_is_named(keras: Any, tmp_path: Path) -> None:
    model(keras, keras.layers.Conv1D(3, 2), keras.layers.GRU(2), numbers=True).save(
        tmp_path / "m.keras"
    )
    with pytest.raises(InputError, match="layer 'conv1d.*': expected one of .* got 'Conv1D'"):
        read(tmp_path / "m.keras")


def test_reading_needs_no_keras_and_no_torch(keras: Any, tmp_path: Path) -> None:
    model(keras, *MODELS["sentiment"](keras.layers)).save(tmp_path / "m.keras")
    program = (
        "import sys; from tidegate.interchange import read\n"
        f"network = read({str(tmp_path / 'm.keras')!r})\n"
        "print(network.predict([[1, 2, 3]]).shape, {'torch', 'keras'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "(1, 2) set()"


# questions that a file leaves open


def legacy(path: Path, layers: list[dict[str, Any]], version: str | None, **arrays: Any) -> Path:
    """A file as an old Keras wrote it."""
    config = {"class_name": "Sequential", "config": {"name": "s", "layers": layers}}
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(config)
        if version:
            file.attrs["keras_version"] = version
        for layer in layers:
            name = layer["config"]["name"]
            group = file.create_group(f"model_weights/{name}")
            own = [f"{name}/{name}/{k}:0" for k in arrays if layer["class_name"] != "InputLayer"]
            group.attrs["weight_names"] = [n.encode() for n in own]
            for key, array in zip(own, arrays.values(), strict=False):
                group[key] = array.astype(np.float32)
    return path


def gru(**config: Any) -> list[dict[str, Any]]:
    return [{"class_name": "GRU", "config": {"name": "gru_1", "return_sequences": True, **config}}]


def weights(hidden: int = 3, bias: tuple[int, ...] | None = None) -> dict[str, np.ndarray]:
    made = {"kernel": RNG.normal(size=(4, 3 * hidden))}
    made["recurrent_kernel"] = RNG.normal(size=(hidden, 3 * hidden))
    return made | ({} if bias is None else {"bias": RNG.normal(size=bias)})


def test_which_gru_is_asked_for_where_nothing_says_it(tmp_path: Path) -> None:
    layers = gru(recurrent_activation="sigmoid", use_bias=False)
    path = legacy(tmp_path / "m.h5", layers, "2.2.4", **weights())
    with pytest.raises(InputError, match="reset_after: the file does not say .* reset_after=True"):
        read(path)
    for answer, cell in ((True, "gru"), (False, "gru_reset_before")):
        assert read(path, reset_after=answer).recurrent[0].cell.name == cell


@pytest.mark.parametrize(("bias", "cell"), [((2, 9), "gru"), ((9,), "gru_reset_before")])
def test_the_form_of_the_bias_says_which_gru_it_is(
    tmp_path: Path, bias: tuple[int, ...], cell: str
) -> None:
    layers = gru(recurrent_activation="sigmoid")
    path = legacy(tmp_path / "m.h5", layers, "2.2.4", **weights(bias=bias))
    assert read(path).recurrent[0].cell.name == cell


def test_a_layer_that_tidegate_registered_is_read_as_keras_own(tmp_path: Path) -> None:
    (layer,) = gru(recurrent_activation="sigmoid")
    layer["class_name"] = "tidegate>GRU"
    path = legacy(tmp_path / "m.h5", [layer], "3.12.0", **weights(bias=(2, 9)))
    assert read(path).recurrent[0].cell.name == "gru"


def test_which_function_the_gates_have_is_asked_for(tmp_path: Path) -> None:
    path = legacy(tmp_path / "m.h5", gru(), "2.2.4", **weights(bias=(9,)))
    with pytest.raises(InputError, match="recurrent_activation='hard_sigmoid'"):
        read(path)
    plain = read(path, recurrent_activation="sigmoid")
    assert plain.recurrent[0].cell.name == "gru_reset_before"
    hard = read(path, recurrent_activation="hard_sigmoid")
    assert "HardSigmoid(0.2, 0.5)" in hard.recurrent[0].described()


def test_which_hard_sigmoid_is_asked_for_where_the_version_is_not_said(tmp_path: Path) -> None:
    layers = gru(recurrent_activation="hard_sigmoid")
    path = legacy(tmp_path / "m.h5", layers, None, **weights(bias=(9,)))
    with pytest.raises(InputError, match="keras_version=2 or keras_version=3"):
        read(path)
    x = RNG.normal(size=(2, 5, 4))
    old, new = (read(path, keras_version=v).predict(x) for v in (2, 3))
    assert np.abs(old - new).max() > 1e-3


@pytest.mark.parametrize(
    ("kind", "config", "problem"),
    [
        ("ReLU", {"max_value": 6.0}, "max_value: expected None, got 6.0"),
        ("ReLU", {"negative_slope": 0.1}, "negative_slope: expected None, got 0.1"),
        ("ReLU", {"max_value": None, "negative_slope": 0.0, "threshold": 0.0}, None),
        ("Softmax", {"axis": 1}, "axis: expected -1, got 1"),
        ("Softmax", {"axis": -1}, None),
    ],
)
def test_a_layer_of_one_activation_is_read_only_where_it_is_no_more(
    tmp_path: Path, kind: str, config: dict[str, Any], problem: str | None
) -> None:
    layer = {"class_name": kind, "config": {"name": "last", **config}}
    layers = [*gru(recurrent_activation="sigmoid", reset_after=False), layer]
    path = legacy(tmp_path / "m.h5", layers, "3.12.0", **weights(bias=(9,)))
    with h5py.File(path, "a") as file:
        file["model_weights/last"].attrs["weight_names"] = []
    if problem is None:
        assert len(read(path).layers) == 2
    else:
        with pytest.raises(InputError, match=problem):
            read(path)


# files that were made to do harm


def keras_file(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "."), content)
    return path


def h5_bytes(make: Callable[[Any], None]) -> bytes:
    held = io.BytesIO()
    with h5py.File(held, "w") as file:
        make(file)
    return held.getvalue()


@pytest.mark.parametrize(
    ("make", "problem"),
    {
        "a soft link": (lambda f: f.update({"a": h5py.SoftLink("/b")}), "got a link"),
        "a link to a file": (
            lambda f: f.update({"a": h5py.ExternalLink("/etc/passwd", "/")}),
            "got a link",
        ),
        "values elsewhere": (
            lambda f: f.create_dataset("a", (4,), "f4", external=[("/etc/passwd", 0, 16)]),
            "got a link to others",
        ),
        "a circle": (lambda f: f.create_group("a").update({"b": f["a"]}), "groups 32 deep"),
        "a flood": (
            lambda f: f.create_dataset("a", (2**40,), "f4", chunks=(2**20,), compression="gzip"),
            "arrays of [0-9]+ bytes at most",
        ),
        "many groups": (lambda f: [f.create_group(str(k)) for k in range(51)], "50 objects"),
    }.values(),
)  # fmt: skip
def test_an_h5_file_that_does_more_than_hold_arrays_is_refused(
    make: Any, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hdf5, "MOST_OBJECTS", 50)
    with pytest.raises(ValueError, match=problem):
        hdf5.parsed(h5_bytes(make))


def test_what_lies_beside_a_user_is_not_run_by_the_process_that_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("json", "numpy", "h5py"):
        Path(f"{name}.py").write_text("raise SystemExit(7)")
    data = h5_bytes(lambda f: f.create_dataset("a", data=np.arange(3, dtype="<f4")))
    assert hdf5.read_tree(data).arrays["a"].tolist() == [0, 1, 2]


def test_an_endless_h5_file_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hdf5, "_SECONDS", 0)
    with pytest.raises(ValueError, match="expected a file read in 0 s, got a damaged one"):
        hdf5.read_tree(h5_bytes(lambda f: f.create_group("a")))


def test_what_unpacks_to_a_flood_is_refused_before_it_fills_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tidegate.data.files.reading._LARGE", 2**20)
    path = tmp_path / "m.keras"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("config.json", "w") as member,
    ):
        for _ in range(3):
            member.write(b"0" * 2**20)
    with pytest.raises(InputError, match="unpacks to at most 100 times its size"):
        read(path)


@pytest.mark.parametrize(
    ("members", "problem"),
    [
        ({"config__json": b"{}"}, "expected model.weights.h5 in it"),
        ({"model__weights__h5": b""}, "expected config.json in it"),
        (
            {"model__weights__h5": b"", "config__json": b"[" * 9000, "metadata__json": b"{}"},
            "config.json: expected JSON, got",
        ),
        (
            {"model__weights__h5": b"x", "config__json": b"{}", "metadata__json": b"{}"},
            "expected an HDF5 file",
        ),
    ],
)
def test_an_archive_of_other_things_is_refused(
    tmp_path: Path, members: dict[str, bytes], problem: str
) -> None:
    with pytest.raises(InputError, match=problem) as caught:
        read(keras_file(tmp_path / "m.keras", **members))
    assert str(tmp_path / "m.keras") in str(caught.value)


@pytest.mark.parametrize("inner", ["lambda", "custom"])
def test_code_in_a_configuration_is_never_run(tmp_path: Path, inner: str) -> None:
    kind = {"lambda": "Lambda", "custom": "os.system"}[inner]
    layers = [{"class_name": kind, "config": {"name": "a", "function": "import os"}}]
    path = legacy(tmp_path / "m.h5", layers, "3.0.0")
    with pytest.raises(InputError, match=f"layer 'a': expected one of .* got '{kind}'"):
        read(path)
