"""``tidegate convert``, the tutorial's .npz, and models of tidegate's own on their way out."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import model_files
import numpy as np
import pytest
from any_cell import CELL_KINDS
from command_line import Tidegate

from tidegate.cells import CELLS
from tidegate.errors import InputError
from tidegate.interchange import read, write
from tidegate.interchange.layers import Pool
from tidegate.model.architecture import Architecture
from tidegate.model.checkpoint import ModelFile, load_model, save_model
from tidegate.runtime.network import Network as Runtime

numpy_runs = pytest.mark.filterwarnings("ignore:the cell .* runs step by step:RuntimeWarning")


# the tutorial


def tutorial(path: Path, **changed: np.ndarray) -> Path:
    rng, hidden, words = np.random.default_rng(2), 4, 7
    shapes = {
        "E": (hidden, words), "U": (6, hidden, hidden), "W": (6, hidden, hidden),
        "V": (words, hidden), "b": (6, hidden), "c": (words,),
    }  # fmt: skip
    arrays = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    np.savez(path, **(arrays | changed))  # pyright: ignore[reportArgumentType]
    return path


def steps_of_the_tutorial(path: Path, tokens: list[int], *, writes: bool = False) -> np.ndarray:
    """Its forward_prop_step, in float64, written from its equations."""
    held = np.load(path)
    e, u, w, v, b, c = (held[name] for name in "EUWVbc")

    def hard_sigmoid(a: np.ndarray) -> np.ndarray:
        return np.clip(0.2 * a + 0.5, 0, 1)

    states, outputs = [np.zeros(len(e)), np.zeros(len(e))], []
    for token in tokens:
        x = e[:, token]
        for k in range(2):
            s, (uz, ur, uc), (wz, wr, wc) = states[k], u[3 * k : 3 * k + 3], w[3 * k : 3 * k + 3]
            bz, br, bc = b[3 * k : 3 * k + 3]
            z = hard_sigmoid(uz @ x + wz @ s + bz)
            r = hard_sigmoid(ur @ x + wr @ s + br)
            n = np.tanh(uc @ x + wc @ (s * r) + bc)
            x = states[k] = (1 - z) * s + z * n if writes else (1 - z) * n + z * s
        a = np.exp(v @ x + c)
        outputs.append(a / a.sum())
    return np.array(outputs)


@numpy_runs
@pytest.mark.usefixtures("no_compiler")
@pytest.mark.parametrize("gate", ["keeps", "writes"])
def test_the_tutorial_s_model_predicts_as_its_equations(tmp_path: Path, gate: str) -> None:
    path, tokens = tutorial(tmp_path / "t.npz"), [1, 6, 0, 3, 3, 2]
    network = read(path) if gate == "keeps" else read(path, update_gate=gate)
    expected = steps_of_the_tutorial(path, tokens, writes=gate == "writes")
    np.testing.assert_allclose(network.predict([tokens])[0], expected, atol=1e-6)


@numpy_runs
@pytest.mark.usefixtures("no_compiler")
def test_the_tutorial_s_model_writes_the_likeliest_tokens(tmp_path: Path) -> None:
    path, tokens = tutorial(tmp_path / "t.npz"), [1, 6]
    written = list(read(path).generate(tokens, 5, greedy=True))
    for token in written:
        assert token == steps_of_the_tutorial(path, tokens)[-1].argmax()
        tokens = [*tokens, token]


@pytest.mark.usefixtures("no_compiler")
def test_without_a_compiler_it_is_said_that_the_tutorial_s_cell_is_slow(tmp_path: Path) -> None:
    said = "gru_reset_before_hard_sigmoid_tanh runs step by step, which is slow: CXX names"
    with pytest.warns(RuntimeWarning, match=said):
        read(tutorial(tmp_path / "t.npz")).predict([[1]])


@numpy_runs
@pytest.mark.usefixtures("no_compiler")
def test_the_tutorial_s_model_writes_words_on_the_command_line(tidegate: Tidegate) -> None:
    tutorial(Path("t.npz"))
    Path("words.txt").write_text("<MASK/>\nUNKNOWN\nthe\ncat\nsat\ndown\n.\n")
    line = "generate t.npz --prompt 'the cat' --length 4 --seed 1"
    named = tidegate(f"{line} --vocabulary words.txt")
    assert named.code == 0
    assert named.out.startswith("the cat ")
    numbered = tidegate("generate t.npz --prompt '2 3' --length 4 --seed 1 --json")
    names = Path("words.txt").read_text().split("\n")
    assert named.out.split()[2:] == [names[int(t)] for t in numbered.json["text"].split()]
    assert "expected token numbers, got 'the'" in tidegate(line).err
    Path("words.txt").write_text("the\ncat\n")
    assert "expected 7 lines" in tidegate(f"{line} --vocabulary words.txt").err


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"U": np.ones((5, 4, 4))}, "array U: expected .3, 4, 4."),
        ({"b": np.ones((6, 4, 1))}, "array b: expected finite numbers of 2 axes"),
        ({"c": np.full(7, np.nan)}, "array c: expected finite numbers"),
        ({"V": np.array([None, 1])}, "array V: expected numbers, got what cannot be read"),
        ({"more": np.ones(3)}, "expected the arrays E, U, W, V, b and c, got"),
    ],
)
def test_arrays_that_do_not_fit_are_named(
    tmp_path: Path, changed: dict[str, np.ndarray], problem: str
) -> None:
    with pytest.raises(InputError, match=problem):
        read(tutorial(tmp_path / "t.npz", **changed))


def test_weights_alone_are_converted_beside_their_architecture(tidegate: Tidegate) -> None:
    h5py = pytest.importorskip("h5py")
    dense = {"class_name": "Dense", "config": {"name": "d", "activation": "tanh"}}
    gru = {"class_name": "GRU", "config": {"name": "g", "recurrent_activation": "sigmoid"}}
    model = {"class_name": "Sequential", "config": {"layers": [gru, dense]}}
    Path("model.json").write_text(json.dumps(model))
    rng = np.random.default_rng(0)
    with h5py.File("m.weights.h5", "w") as file:
        for k, shape in enumerate([(3, 12), (4, 12), (2, 12)]):
            file[f"layers/gru/cell/vars/{k}"] = rng.normal(size=shape).astype(np.float32)
        for k, shape in enumerate([(4, 2), (2,)]):
            file[f"layers/dense/vars/{k}"] = rng.normal(size=shape).astype(np.float32)
    outcome = tidegate("convert m.weights.h5 m.keras")
    assert outcome.code == 2
    assert "m.weights.h5: expected a whole model, got weights alone" in outcome.err
    assert "say --architecture model.json" in outcome.err
    assert tidegate("convert m.weights.h5 m.keras --architecture model.json").code == 0
    assert [layer.name for layer in read("m.keras").layers] == ["g", "d"]
    refused = tidegate("convert m.weights.h5 model.json --to keras --architecture model.json -- ")
    assert "the same file" in refused.err


# tidegate's own models


def model_of(architecture: Architecture) -> ModelFile:
    """With random weights; what else it holds does not matter here."""
    rng = np.random.default_rng(4)
    shapes = architecture.tensor_shapes()
    tensors = {
        n: rng.normal(size=s).astype(np.float32) * np.float32(0.5) for n, s in shapes.items()
    }
    for name in shapes:
        if name.endswith("running_var"):
            tensors[name] = np.abs(tensors[name]) + np.float32(0.1)
    return replace(model_files.classifier(), architecture=architecture, tensors=tensors)


def saved(path: Path, architecture: Architecture) -> tuple[Path, Runtime]:
    model = model_of(architecture)
    network = Runtime(architecture, model.tensors)
    tokens = np.random.default_rng(0).integers(0, 5, (4, 2))
    vector = {"input": tokens, "lengths": np.array([4, 2])}
    vector["output"] = network(tokens, vector["lengths"])
    save_model(path, replace(model, test_vector=vector))
    return path, network


@pytest.mark.parametrize("readout", ["last", "mean", "max"])
@pytest.mark.parametrize("cell", CELL_KINDS)
def test_a_tidegate_model_s_network_gives_what_the_model_gives(
    tmp_path: Path, cell: str, readout: str
) -> None:
    made = replace(
        model_files.TEXT, cell=cell, readout=readout, hidden_sizes=(3, 4), batch_norm=True,
    )  # fmt: skip
    path, network = saved(tmp_path / "m.safetensors", made)
    tokens, lengths = np.random.default_rng(1).integers(0, 5, (6, 3)), np.array([6, 0, 3])
    expected = network(tokens, lengths)
    np.testing.assert_allclose(read(path).predict(tokens.T, lengths), expected, atol=1e-6)


def test_layers_of_different_cells_are_taken_and_what_goes_past_them_is_refused(
    tmp_path: Path,
) -> None:
    made = replace(model_files.TEXT, cell=("lstm", "gru"), hidden_sizes=(3, 4))
    path, network = saved(tmp_path / "m.safetensors", made)
    tokens = np.random.default_rng(1).integers(0, 5, (6, 3))
    np.testing.assert_allclose(read(path).predict(tokens.T), network(tokens), atol=1e-6)
    for name in ("residual", "layer_norm"):
        path, _ = saved(tmp_path / f"{name}.safetensors", replace(made, **{name: True}))
        with pytest.raises(InputError, match=f"train it with {name}=False, or .* export onnx"):
            read(path)


def test_of_a_readout_of_two_parts_the_recurrent_layers_are_taken(tmp_path: Path) -> None:
    path, _ = saved(tmp_path / "m.safetensors", replace(model_files.TEXT, readout="last+max"))
    network = read(path)
    assert [a.name for a in network.layers] == ["recurrent.0.l0"]
    assert "no other library has the readout last+max" in network.notes[1]
    write(network, tmp_path / "t.safetensors")
    assert np.array_equal(
        read(tmp_path / "t.safetensors").kept["dense.weight"], network.kept["dense.weight"]
    )


def test_a_tidegate_model_leaves_for_every_library_and_its_network_returns(
    tidegate: Tidegate, tmp_path: Path
) -> None:
    made = replace(model_files.TEXT, readout="max")
    _, network = saved(tmp_path / "m.safetensors", made)
    tokens = np.random.default_rng(1).integers(0, 5, (6, 3))
    for name in ("t.safetensors", "k.keras", "o.onnx"):
        outcome = tidegate(f"convert m.safetensors {name}")
        assert outcome.code == 0, outcome.err
        assert "gru, 2 to 3, both directions" in outcome.out
        assert "not its tokens and its labels" in outcome.out
        came = read(name)
        if name != "t.safetensors":  # a state_dict does not say the readout
            np.testing.assert_allclose(came.predict(tokens.T), network(tokens), atol=1e-6)
        else:
            assert "a state_dict does not say: max: max over time" in outcome.out
            assert not any(isinstance(a, Pool) for a in came.layers)


def test_a_copy_is_the_same_model_and_another_file_cannot_become_one(
    tidegate: Tidegate, tmp_path: Path
) -> None:
    saved(tmp_path / "m.safetensors", model_files.TEXT)
    assert tidegate("convert m.safetensors n.safetensors --to tidegate").code == 0
    assert (tmp_path / "m.safetensors").read_bytes() == (tmp_path / "n.safetensors").read_bytes()
    assert load_model("n.safetensors").task == "text-classifier"
    tutorial(Path("t.npz"))
    outcome = tidegate("convert t.npz n.safetensors --to tidegate")
    assert outcome.code == 2
    assert "does not hold the tokens, labels or scaling" in outcome.err


def test_a_model_in_fewer_bits_is_not_written_under_another_library_s_name(
    tidegate: Tidegate, tmp_path: Path
) -> None:
    saved(tmp_path / "m.safetensors", model_files.TEXT)
    for option in ("--weights int8", "--to tidegate"):
        for name in ("m.onnx", "m.keras"):
            outcome = tidegate(f"convert m.safetensors {name} {option}")
            assert outcome.code == 2
            assert f"leave out {option.split()[0]}" in outcome.err
            assert not Path(name).exists()
    assert tidegate("convert m.safetensors m.onnx").code == 0


# the command


def test_an_output_replaces_what_tidegate_wrote_and_nothing_else(
    tidegate: Tidegate, tmp_path: Path
) -> None:
    saved(tmp_path / "m.safetensors", model_files.TEXT)
    for name in ("t.safetensors", "k.keras", "o.onnx"):
        assert tidegate(f"convert m.safetensors {name}").code == 0
        assert tidegate(f"convert m.safetensors {name}").code == 0  # its own
        Path(name).write_text("mine")
        refused = tidegate(f"convert m.safetensors {name}")
        assert refused.code == 2
        assert "replace this one with --force" in refused.err
        assert Path(name).read_text() == "mine"
        assert tidegate(f"convert m.safetensors {name} --force").code == 0
    assert "none of the files that are read" in tidegate("convert m.safetensors m.safetensors").err


def test_a_question_is_asked_in_the_words_of_the_command_line(tidegate: Tidegate) -> None:
    from safetensors.numpy import save_file

    shapes = CELLS["rnn_relu"].shapes({"I": 2, "H": 3, "P": 0})
    save_file({f"{n}_l0": np.ones(s, np.float32) for n, s in shapes.items()}, "r.safetensors")
    asked = tidegate("convert r.safetensors r.onnx")
    assert asked.code == 2
    assert "say it with --cell rnn_tanh" in asked.err
    answered = tidegate("convert r.safetensors r.onnx --cell rnn_relu --json")
    assert answered.json["layers"] == {"l0": "rnn_relu, 2 to 3"}
    assert (
        "--keras-version: expected none"
        in tidegate("convert r.safetensors r.onnx --keras-version 2").err
    )
    assert "expected 1, 2 or 3, got 4" in tidegate("convert r.onnx r.keras --keras-version 4").err
    assert "expected one of torch, keras, onnx" in tidegate("convert r.onnx r.x --to tflite").err


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"keras_version": 7}, "keras_version: expected 1, 2 or 3, got 7"),
        ({"keras_version": True}, "keras_version: expected 1, 2 or 3, got True"),
        ({"update_gate": "write"}, "update_gate: expected keeps or writes, got 'write'"),
        ({"reset_after": "no"}, "reset_after: expected True or False, got 'no'"),
        ({"layer": 0}, "layer: expected a name, got 0"),
    ],
)
def test_an_answer_of_no_meaning_is_refused_before_the_file_is_read(
    answer: dict[str, object], expected: str
) -> None:
    with pytest.raises(InputError, match=expected):
        read("none.keras", **answer)


def test_the_npz_of_sequences_is_no_network(tmp_path: Path) -> None:
    held = io.BytesIO()
    np.savez(held, X=np.ones((2, 3)), y=[1, 2])
    (tmp_path / "d.npz").write_bytes(held.getvalue())
    with pytest.raises(InputError, match="expected the arrays E, U, W, V, b and c, got"):
        read(tmp_path / "d.npz")
