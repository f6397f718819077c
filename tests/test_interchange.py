"""Networks into torch, Keras and ONNX, and back: the same bits, and what the library makes of them.

All weights are random and no two sizes alike, so that no gate, axis or direction can be swapped.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tidegate.cells import CELLS
from tidegate.errors import InputError
from tidegate.interchange import Network, keras_weights, read, write
from tidegate.interchange.conventions.activations import IDENTITY, SOFTMAX, Activation
from tidegate.interchange.layers import (
    Dense,
    Direction,
    Dropout,
    Embedding,
    Normalisation,
    Pool,
    Recurrent,
)

# of Keras' variables on the torch backend, under NumPy 2
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
RNG = np.random.default_rng(7)
TOKENS = RNG.integers(0, 11, (4, 6))


def numbers(*shape: int) -> np.ndarray:
    return (RNG.normal(size=shape) * 0.6).astype(np.float32)


def assert_near(ours: np.ndarray, theirs: np.ndarray) -> None:
    """Within 5e-6 of the largest number, or of 1: some ten roundings of float32, in sums whose
    order differs and which a state without bound carries on.
    """
    atol = 5e-6 * max(1.0, float(np.abs(theirs).max()))
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=atol)


def recurrent(
    name: str, cell: str, inputs: int, hidden: int, *, both: bool = False, **how: Any
) -> Any:
    sizes = {"I": inputs, "H": hidden, "P": 2}
    bias = how.pop("bias", True)
    directions = [
        Direction({n: numbers(*s) for n, s in CELLS[cell].shapes(sizes, bias).items()}, reverse)
        for reverse in ((False, True) if both else (False,))
    ]
    return Recurrent(name, CELLS[cell], tuple(directions), **how)


def tagger(cell: str, **how: Any) -> Network:
    """Tokens, two layers of a cell, an answer at each step."""
    first = recurrent("rnn.l0", cell, 5, 4, both=True, **how)
    width = first.output_size
    second = recurrent("rnn.l1", cell, width, 4, both=True, **how)
    dense = Dense("dense", numbers(3, width), numbers(3))
    return Network((Embedding("embedding", numbers(11, 5)), first, second, dense))


def arrays_of(network: Network) -> dict[str, np.ndarray]:
    """Every weight of a network by layer and name."""
    found = {}
    for k, layer in enumerate(network.layers):
        for key, value in vars(layer).items():
            if isinstance(value, np.ndarray):
                found[f"{k}.{key}"] = value
        directions = layer.directions if isinstance(layer, Recurrent) else ()
        for d, direction in enumerate(directions):
            found |= {f"{k}.{d}.{name}": a for name, a in direction.parameters.items()}
    return found


def check_same(one: Network, other: Network) -> None:
    """Bit for bit."""
    assert [type(a) for a in one.layers] == [type(a) for a in other.layers]
    first, second = arrays_of(one), arrays_of(other)
    assert first.keys() == second.keys()
    for key, array in first.items():
        assert np.array_equal(array, second[key]), key


# torch


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("cell", [name for name, cell in CELLS.items() if cell.torch])
def test_a_torch_module_s_weights_come_in_and_go_out_with_the_same_bits(
    tmp_path: Path, cell: str, bias: bool
) -> None:
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file, save_file

    declared, projected = CELLS[cell], {"proj_size": 2} if CELLS[cell].is_projected else {}

    class Tagger(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = torch.nn.Embedding(11, 5)
            how = {k: v for k, v in declared.options.items() if k == "nonlinearity"}
            self.rnn = getattr(torch.nn, declared.layer)(
                5, 4, 2, bias=bias, batch_first=True, bidirectional=True, **projected, **how
            )
            self.dense = torch.nn.Linear(4 if projected else 8, 3)

        def forward(self, x: Any) -> Any:
            return self.dense(self.rnn(self.embedding(x))[0])

    torch.manual_seed(3)
    module = Tagger()
    path, out = tmp_path / "in.safetensors", tmp_path / "out.safetensors"
    save_file(module.state_dict(), path)
    answers = {"cell": cell} if declared.layer == "RNN" else {}
    network = read(path, **answers)
    expected = module(torch.from_numpy(TOKENS)).detach().numpy()
    assert_near(network.predict(TOKENS), expected)
    again = network.to_torch()(torch.from_numpy(TOKENS)).detach().numpy()
    assert_near(again, expected)
    assert write(network, out) == ()
    given, came = module.state_dict(), load_file(out)
    assert given.keys() == came.keys()
    for name, tensor in given.items():
        assert torch.equal(tensor, came[name]), name


def test_lengths_reach_every_layer_as_packed_sequences_do() -> None:
    torch = pytest.importorskip("torch")
    network, lengths = tagger("gru"), np.array([6, 1, 0, 4])
    whole = network.predict(TOKENS, lengths)
    for row, length in enumerate(lengths):
        alone = network.predict(TOKENS[row : row + 1, :length])
        np.testing.assert_allclose(whole[row, :length], alone[0], atol=1e-6)
    by_torch = network.to_torch()(torch.from_numpy(TOKENS), torch.from_numpy(lengths))
    np.testing.assert_allclose(by_torch.detach().numpy(), whole, atol=1e-6)


def save_arrays(path: Path, **arrays: np.ndarray) -> Path:
    from safetensors.numpy import save_file

    save_file({k.replace("__", "."): a for k, a in arrays.items()}, path)
    return path


def stack(cell: str, prefix: str = "", inputs: int = 3, hidden: int = 4) -> dict[str, np.ndarray]:
    shapes = CELLS[cell].shapes({"I": inputs, "H": hidden, "P": 2})
    return {f"{prefix}{name}_l0": numbers(*shape) for name, shape in shapes.items()}


def test_the_cell_of_an_rnn_is_asked_for_and_the_answer_helps(tmp_path: Path) -> None:
    path = save_arrays(tmp_path / "m.safetensors", **stack("rnn_tanh"))
    with pytest.raises(InputError, match=r"fit the cells .*rnn_relu.* say it with cell='rnn_"):
        read(path)
    assert read(path, cell="rnn_relu").recurrent[0].cell.name == "rnn_relu"
    with pytest.raises(InputError, match="expected one of .*, got 'lzzm'|expected a cell"):
        read(path, cell="lzzm")
    with pytest.raises(InputError, match=r"expected .* of the cell lstm"):
        read(path, cell="lstm")


def test_which_of_several_layers_is_asked_for_and_the_answer_helps(tmp_path: Path) -> None:
    both = stack("gru", "encoder__") | stack("gru", "decoder__")
    path = save_arrays(tmp_path / "m.safetensors", **both)
    with pytest.raises(InputError, match="several, 'decoder', 'encoder'.*layer='decoder'"):
        read(path)
    network = read(path, layer="encoder")
    assert [a.name for a in network.layers] == ["encoder.l0"]
    assert set(network.kept) == {k.replace("__", ".") for k in stack("gru", "decoder__")}


def test_layers_that_tidegate_wrote_come_back_in_their_order(tmp_path: Path) -> None:
    both = stack("gru", "a__", inputs=4) | stack("gru", "b__", inputs=3)
    path = save_arrays(tmp_path / "m.safetensors", **both)
    b, a = (read(path, layer=name).recurrent[0] for name in "ba")
    network = replace(read(path, layer="b"), layers=(b, a), kept={})
    assert b.output_size == a.sizes["I"]
    write(network, tmp_path / "n.safetensors")
    came = read(tmp_path / "n.safetensors")
    assert [layer.name for layer in came.layers] == [b.name, a.name]
    x = np.random.default_rng(0).normal(size=(2, 4, 3)).astype(np.float32)
    assert np.array_equal(came.predict(x), network.predict(x))


def test_what_is_around_is_kept_and_written_again(tmp_path: Path) -> None:
    path = save_arrays(tmp_path / "m.safetensors", head__scale=numbers(4), **stack("lstm"))
    network = read(path)
    assert "the recurrent layers alone" in network.notes[0]
    write(network, tmp_path / "n.safetensors")
    assert np.array_equal(
        read(tmp_path / "n.safetensors").kept["head.scale"], network.kept["head.scale"]
    )


@pytest.mark.parametrize("cell", ["gru_reset_before", "lstm_peephole"])
def test_a_cell_that_torch_nn_has_not_is_not_written_as_another(tmp_path: Path, cell: str) -> None:
    with pytest.raises(InputError, match=f"expected one of the cells of torch.nn, .*got {cell}"):
        write(tagger(cell), tmp_path / "m.safetensors")
    assert not (tmp_path / "m.safetensors").exists()


# Keras and ONNX


@pytest.mark.parametrize(
    ("cell", "bias"),
    [(c, True) for c in ("rnn_tanh", "rnn_relu", "gru", "gru_reset_before", "lstm")]
    + [("gru", False), ("lstm", False)],
)
def test_keras_opens_what_is_written_and_it_comes_back_with_the_same_bits(
    tmp_path: Path, cell: str, bias: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    keras = pytest.importorskip("keras")
    network, path = one_bias(tagger(cell, bias=bias)), tmp_path / "m.keras"
    assert write(network, path) == ()
    model = keras.saving.load_model(path)
    given = [array for layer in network.layers for array in keras_weights(layer)]
    for array, held in zip(given, model.get_weights(), strict=True):
        assert np.array_equal(array, held)
    expected = model.predict(TOKENS, verbose=0)
    assert_near(network.predict(TOKENS), expected)
    check_same(network, read(path))
    model.save(tmp_path / "again.keras")  # by Keras itself
    check_same(network, read(tmp_path / "again.keras"))


def one_bias(network: Network) -> Network:
    """Where Keras has one bias, the other must be zero for its sum to be the first, bit by bit."""
    for layer in network.recurrent:
        if layer.cell.name != "gru" and "bias_hh" in layer.directions[0].parameters:
            for direction in layer.directions:
                direction.parameters["bias_hh"][:] = 0
    return network


def test_two_biases_that_become_one_are_said() -> None:
    network = Network((recurrent("r", "lstm", 3, 4),))
    notes = write(network, "/dev/null", "keras")
    assert notes == ("r: Keras has one bias, the sum of two",)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    "cell",
    ["rnn_tanh", "rnn_relu", "gru", "gru_reset_before", "lstm", "lstm_peephole", "lstm_coupled"],
)
def test_onnx_runtime_runs_what_is_written_and_it_comes_back_with_the_same_bits(
    tmp_path: Path, cell: str, bias: bool
) -> None:
    runtime = pytest.importorskip("onnxruntime")
    network, path = tagger(cell, bias=bias), tmp_path / "m.onnx"
    assert write(network, path) == ()
    (y,) = runtime.InferenceSession(path).run(None, {"tokens": TOKENS})
    assert_near(network.predict(TOKENS), y)  # whose sigmoid and tanh are rational approximations
    check_same(network, read(path))


def classifier() -> Network:
    norm = Normalisation("norm", numbers(8), numbers(8), numbers(8), numbers(8) ** 2, 1e-3)
    return Network(
        (
            recurrent("first", "gru", 3, 4, both=True),
            norm,
            Dropout("dropout", 0.25),
            recurrent("second", "lstm", 8, 5),
            Pool("pool", "mean"),
            Dense("answer", numbers(3, 5), numbers(3), SOFTMAX),
        )
    )


def test_a_classifier_of_sequences_is_the_same_in_keras_onnx_and_torch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    keras, torch = pytest.importorskip("keras"), pytest.importorskip("torch")
    runtime = pytest.importorskip("onnxruntime")
    network, x = classifier(), numbers(4, 6, 3)
    y = network.predict(x)
    assert y.shape == (4, 3)
    write(network, tmp_path / "m.keras")
    write(network, tmp_path / "m.onnx")
    model = keras.saving.load_model(tmp_path / "m.keras")
    np.testing.assert_allclose(model.predict(x, verbose=0), y, atol=1e-6)
    (by_onnx,) = runtime.InferenceSession(tmp_path / "m.onnx").run(None, {"x": x})
    np.testing.assert_allclose(by_onnx, y, atol=2e-6)
    with torch.no_grad():
        by_torch = network.to_torch()(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(by_torch, y, atol=1e-6)
    for path in (tmp_path / "m.keras", tmp_path / "m.onnx"):
        np.testing.assert_allclose(read(path).predict(x), y, atol=1e-6)


def test_a_module_learns_from_what_was_read() -> None:
    torch = pytest.importorskip("torch")
    module = classifier().to_torch().train()
    out = module(torch.from_numpy(numbers(4, 6, 3)), torch.tensor([6, 2, 1, 3]))
    (-out[:, 0].log().sum()).backward()
    gradients = [p.grad for p in module.parameters() if p.grad is not None]
    assert len(gradients) == len(list(module.parameters()))
    assert all(torch.isfinite(g).all() for g in gradients)
    assert sum(bool(g.any()) for g in gradients) >= len(gradients) - 1


# input


@pytest.mark.parametrize(
    ("x", "lengths", "problem"),
    [
        (np.zeros((2, 3)), None, "x: expected numbers .B, T, 3., got float64 .2, 3."),
        (np.zeros((2, 3, 4)), None, "x: expected numbers .B, T, 3."),
        (np.zeros((2, 3, 3)), [3], "lengths: expected 2 whole numbers from 0 to 3"),
        (np.zeros((2, 3, 3)), [3, 4], "lengths: expected 2 whole numbers from 0 to 3"),
    ],
)
def test_input_of_another_kind_is_named(x: Any, lengths: Any, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        classifier().predict(x, lengths)


def test_tokens_that_the_embedding_has_not_are_named() -> None:
    with pytest.raises(InputError, match="x: expected tokens from 0 to 10, got 0 to 11"):
        tagger("gru").predict(np.array([[0, 11]]))
    with pytest.raises(InputError, match="x: expected whole numbers"):
        tagger("gru").predict(np.zeros((2, 3)))
    with pytest.raises(InputError, match="it cannot write"):
        tagger("gru").generate([1], 3)


def test_an_answer_that_a_file_does_not_ask_for_is_refused(tmp_path: Path) -> None:
    path = save_arrays(tmp_path / "m.safetensors", **stack("gru"))
    with pytest.raises(InputError, match="option reset_after: expected none for a torch"):
        read(path, reset_after=True)
    with pytest.raises(InputError, match="expected one of architecture, cell, .*, got 'rest'"):
        read(path, rest=True)
    with pytest.raises(InputError, match="expected a file that ends in one of .safetensors, "):
        read(tmp_path / "m.txt")
    with pytest.raises(InputError, match="write .keras, the format that took the place of .h5"):
        write(classifier(), tmp_path / "m.h5")


def test_an_activation_that_a_state_dict_does_not_hold_is_said(tmp_path: Path) -> None:
    for activation, said in ((IDENTITY, 0), (Activation("Affine", 2.0), 1), (SOFTMAX, 1)):
        dense = Dense("d", numbers(2, 4), numbers(2), activation)
        notes = write(Network((recurrent("r", "gru", 3, 4), dense)), tmp_path / "m.safetensors")
        assert sum("its activation" in note for note in notes) == said


def test_a_batch_without_rows_or_steps_gives_none() -> None:
    assert classifier().predict(np.zeros((0, 5, 3), np.float32)).shape == (0, 3)
    assert tagger("lstm").predict(np.zeros((2, 0), np.int64)).shape == (2, 0, 3)


@pytest.mark.parametrize("true_steps", [False, True])
@pytest.mark.parametrize("kind", ["mean", "max"])
def test_a_pooling_of_true_steps_gives_zero_where_there_are_none(
    kind: Any, true_steps: bool
) -> None:
    network = Network((recurrent("r", "gru", 3, 4), Pool("pool", kind, true_steps)))
    empty = [network.predict(np.ones((2, 0, 3))), network.predict(np.ones((2, 0, 3)), [0, 0])]
    if true_steps:
        some = network.predict(np.ones((2, 3, 3)), [0, 2])
        assert some[1].all()
        assert not np.any([*empty, some[:1].repeat(2, 0)])
    else:
        assert not np.isfinite(empty).any()  # as numpy and Keras have it


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"length": -1}, "length: expected a whole number from 0, got -1"),
        ({"length": 2.5}, "length: expected a whole number from 0, got 2.5"),
        ({"temperature": 0}, "temperature: expected a number above 0, got 0"),
        ({"seed": -1}, "seed: expected a whole number from 0, or None, got -1"),
    ],
)
def test_options_of_writing_are_refused_before_the_first_token(
    options: dict[str, Any], problem: str
) -> None:
    writer = Network(
        (
            Embedding("e", numbers(5, 3)),
            recurrent("r", "gru", 3, 4),
            Dense("d", numbers(5, 4), numbers(5)),
        )
    )
    assert list(writer.generate([1], 0)) == []
    with pytest.raises(InputError, match=problem):
        writer.generate([1], **{"length": 3, **options})
