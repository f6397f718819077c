"""libtidegate, the engine for C, and the example that streams a saved model with it."""

from __future__ import annotations

import ctypes
import math
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from any_cell import CELL_KINDS, random_case, sizes_of

import tidegate
from tidegate.cells import CELLS
from tidegate.engine import EngineLayer

ROOT = Path(__file__).parents[1]
BUILT = sorted(ROOT.glob("build/cp*/libtidegate.so"))
pytestmark = pytest.mark.skipif(
    not BUILT and not os.environ.get("CI"), reason="libtidegate is not built here; run `make ready`"
)
INPUTS, HIDDEN = 5, 7
STEPS, ROWS = 6, 4


class Sizes(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int64) for name in ("inputs", "hidden", "projected")]


class Parameter(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p),
        ("rows", ctypes.c_int64),
        ("columns", ctypes.c_int64),
        ("is_bias", ctypes.c_int),
    ]


@pytest.fixture(scope="module")
def library() -> ctypes.CDLL:
    loaded = ctypes.CDLL(str(BUILT[-1]))
    for name in ("problem", "instructions", "cell"):
        getattr(loaded, f"tidegate_{name}").restype = ctypes.c_char_p
    loaded.tidegate_layer_new.restype = ctypes.c_void_p
    loaded.tidegate_layer_width.restype = ctypes.c_int64
    return loaded


def sizes_in_c(cell: str) -> Sizes:
    return Sizes(*sizes_of(CELLS[cell], INPUTS, HIDDEN).values())


def random_weights(cell: str) -> dict[str, np.ndarray]:
    weights = random_case(CELLS[cell], inputs=INPUTS, hidden=HIDDEN)[2]
    return {name: weight.astype(np.float32) for name, weight in weights.items()}


def pointers(arrays):
    return (ctypes.c_void_p * len(arrays))(*(None if a is None else a.ctypes.data for a in arrays))


def new_layer(library, cell, weights):
    sizes = sizes_in_c(cell)
    given = pointers([weights.get(name) for name in CELLS[cell].parameters])
    layer = library.tidegate_layer_new(cell.encode(), ctypes.byref(sizes), given)
    assert layer, library.tidegate_problem()
    return ctypes.c_void_p(layer)


def data(array):
    return ctypes.c_void_p(array.ctypes.data)


def test_the_library_has_every_cell_and_names_its_parameters_in_the_declared_order(library):
    names, k = [], 0
    while (name := library.tidegate_cell(k)) is not None:
        names.append(name.decode())
        k += 1
    assert sorted(names) == sorted(CELLS)
    assert f"expected 0 to {k - 1}, got {k}" in library.tidegate_problem().decode()
    for cell in names:
        weights = random_weights(cell)
        found, parameter = {}, Parameter()
        for k in range(len(weights)):
            count = library.tidegate_parameter_of(
                cell.encode(), ctypes.byref(sizes_in_c(cell)), k, ctypes.byref(parameter)
            )
            assert count == len(CELLS[cell].parameters)
            shape = (parameter.rows, parameter.columns) if parameter.columns else (parameter.rows,)
            found[parameter.name.decode()] = shape
            assert parameter.is_bias == CELLS[cell].parameters[parameter.name.decode()].is_bias
        assert found == {name: array.shape for name, array in weights.items()}


@pytest.mark.parametrize("cell", CELL_KINDS)
def test_steps_and_sequences_in_c_are_bit_for_bit_those_of_python(library, cell):
    weights = random_weights(cell)
    rng = np.random.default_rng(1)
    x = rng.standard_normal((STEPS, ROWS, INPUTS)).astype(np.float32)
    lengths = np.array([STEPS, 0, 1, 3], np.int64)
    ours, layer = EngineLayer(cell, weights), new_layer(library, cell, weights)
    widths = [library.tidegate_layer_width(layer, k) for k in range(len(ours.state_sizes))]
    assert tuple(widths) == ours.state_sizes
    initial = [rng.standard_normal((ROWS, w)).astype(np.float32) for w in widths]

    for reverse in (False, True):
        final = [np.full((ROWS, w), np.nan, np.float32) for w in widths]
        y = np.full((STEPS, ROWS, widths[0]), np.nan, np.float32)
        status = library.tidegate_layer_forward(
            *(layer, data(x), ctypes.c_int64(STEPS), ctypes.c_int64(ROWS), data(lengths)),
            *(int(reverse), 2, pointers(initial), pointers(final), data(y)),
        )
        assert status == 0
        expected, after = ours.forward(x, tuple(initial), lengths, reverse, threads=2)
        np.testing.assert_array_equal(y, expected)
        for mine, theirs in zip(final, after, strict=True):
            np.testing.assert_array_equal(mine, theirs)

    state, streamed = ours.initial_state(ROWS), ours.initial_state(ROWS)
    for step in x:
        expected = ours.step(step, state).copy()
        assert library.tidegate_layer_step(layer, data(step), ROWS, pointers(streamed)) == 0
        np.testing.assert_array_equal(streamed[0], expected)
    library.tidegate_layer_free(layer)


def test_wrong_arguments_are_named_and_end_no_process(library):
    weights = random_weights("gru")
    arrays = list(weights.values())

    def problem(cell=b"gru", inputs=INPUTS, projected=0, given=arrays):
        sizes = Sizes(inputs, HIDDEN, projected)
        made = library.tidegate_layer_new(cell, ctypes.byref(sizes), given and pointers(given))
        assert made is None
        return library.tidegate_problem().decode()

    assert problem(cell=b"gr\xc3\xbc").startswith("cell: expected one of gru")
    assert problem(cell=None) == "cell: expected a name, got NULL"
    assert problem(inputs=0) == "sizes->inputs: expected 1 to 2^28, got 0"
    assert "gru does not project" in problem(projected=2)
    assert problem(given=None).startswith("weights: expected an array for each parameter")
    assert problem(given=[None, *arrays[1:]]) == "weight_ih: expected an array, got NULL"
    assert problem(given=[*arrays[:3], None]) == "weights: expected all biases or none"
    layer = new_layer(library, "gru", weights)
    x = np.zeros((1, INPUTS), np.float32)
    assert library.tidegate_layer_step(layer, data(x), ctypes.c_int64(-1), None) == -1
    assert library.tidegate_problem() == b"B: expected 0 to 1099511627776, got -1"
    assert library.tidegate_layer_step(layer, data(x), ctypes.c_int64(1), pointers([None])) == -1
    assert library.tidegate_problem() == b"states[0]: expected the array of h, got NULL"
    library.tidegate_layer_free(layer)
    library.tidegate_layer_free(None)


def test_a_step_that_finds_no_memory_leaves_the_layer_as_it_was(library):
    hidden = 64  # of so many rows no address space can hold the products
    shapes = CELLS["gru"].shapes({"I": 1, "H": hidden, "P": 0})
    weights = {n: np.full(s, 0.1, np.float32) for n, s in shapes.items()}
    given = pointers(list(weights.values()))
    layer = library.tidegate_layer_new(b"gru", ctypes.byref(Sizes(1, hidden, 0)), given)
    layer = ctypes.c_void_p(layer)
    x, state = np.ones((1, 1), np.float32), np.zeros((1, hidden), np.float32)
    ours = EngineLayer("gru", weights)
    expected = ours.initial_state(1)
    for _ in range(2):
        ours.step(x, expected)
        assert (
            library.tidegate_layer_step(layer, data(x), ctypes.c_int64(1), pointers([state])) == 0
        )
        np.testing.assert_array_equal(state, expected[0])
        rows = ctypes.c_int64(1 << 40)
        assert library.tidegate_layer_step(layer, data(x), rows, pointers([state])) == -1
        assert library.tidegate_problem() == b"not enough memory"
    library.tidegate_layer_free(layer)


def test_rows_whose_bytes_no_integer_counts_are_refused(library):
    hidden, cell = 1 << 17, CELLS["lstm_projected"]  # wide, and of few weights
    weights = [np.zeros(s, np.float32) for s in cell.shapes({"I": 1, "H": hidden, "P": 1}).values()]
    sizes = Sizes(1, hidden, 1)
    layer = library.tidegate_layer_new(b"lstm_projected", ctypes.byref(sizes), pointers(weights))
    layer, most = ctypes.c_void_p(layer), (1 << 56) // (4 * hidden)
    x, states = data(np.zeros(1, np.float32)), pointers([np.zeros(1, np.float32)] * 2)
    rows = ctypes.c_int64(most + 1)
    assert library.tidegate_layer_step(layer, x, rows, states) == -1
    assert library.tidegate_problem().decode() == f"B: expected 0 to {most}, got {most + 1}"
    whole = (layer, x, ctypes.c_int64(0), rows, None, 0, 1, None, states, x)
    assert library.tidegate_layer_forward(*whole) == -1
    assert (
        library.tidegate_problem().decode().startswith(f"T, B: expected B and T * B of 0 to {most}")
    )
    library.tidegate_layer_free(layer)


TEXT = 'Ünder the sea "über" наука, 你好 \\ the sea the sea\n' * 30


@pytest.mark.parametrize("options", [{}, {"cell": "lstm_projected"}, {"tie_embeddings": True}])
def test_the_example_needs_the_same_bits_and_writes_the_same_text_as_python(tmp_path, options):
    model = tidegate.LanguageModel(
        level="char", hidden_sizes=(24, 20), embedding_size=20, max_steps=30, seed=1, verbose=0,
        counts=False, run_folder=tmp_path / "run", **options,
    ).fit(TEXT)  # fmt: skip
    path, text = tmp_path / "model.safetensors", TEXT[:200]
    model.save(path)
    program = BUILT[-1].parent / "next_character"
    ran = subprocess.run(
        [program, path, "20"], input=text.encode(), capture_output=True, check=True
    )

    network, encoder = model.runtime_, model.encoder_
    tokens = np.array([encoder.encode(text)]).reshape(-1, 1)
    logits = network(tokens[:-1]).astype(np.float64)[:, 0]
    nats = np.log(np.exp(logits).sum(-1)) - logits[np.arange(len(logits)), tokens[1:, 0]]
    assert ran.stderr.decode() == f"{nats.mean() / math.log(2):.4f} bits per character\n"
    for _ in range(20):
        likeliest = network(tokens)[-1].argmax(axis=1)
        tokens = np.concatenate([tokens, likeliest[None]])
    assert ran.stdout.decode() == encoder.decode(tokens[len(text) :, 0].tolist()) + "\n"


def test_the_example_says_what_it_cannot_read(tmp_path):
    program = BUILT[-1].parent / "next_character"
    (tmp_path / "text").write_text("no model at all", encoding="utf-8")
    options: dict = {"level": "char", "max_steps": 2, "bptt": 4, "hidden_sizes": (4,)}
    model = tidegate.LanguageModel(verbose=0, counts=False, **options).fit("a tide " * 20)
    for weights in ("int8", "bfloat16"):
        model.save(tmp_path / weights, weights=weights)
    for level in ("char", "word"):
        mixed = tidegate.LanguageModel(verbose=0, **options | {"level": level}, counts=True)
        mixed.fit("a tide\n" * 40).save(tmp_path / level)
    numbers: dict = {"max_steps": 1, "hidden_sizes": (4,), "verbose": 0}
    walks = np.random.default_rng(0).standard_normal((20, 12))
    tidegate.SequenceClassifier(**numbers).fit(walks, [0, 1] * 10).save(tmp_path / "numbers")
    for arguments, expected in (
        ([], "expected MODEL [LENGTH] < TEXT"),
        ([tmp_path / "none", "ten"], "expected MODEL [LENGTH] < TEXT"),
        ([tmp_path / "int8"], "convert --weights float32"),
        ([tmp_path / "bfloat16"], "convert --weights float32"),
        ([tmp_path / "char"], "train the model with --no-counts"),
        ([tmp_path / "word"], "expected a language model of characters (--level char)"),
        ([tmp_path / "numbers"], "expected a language model of characters (--level char)"),
        ([tmp_path / "none"], "cannot be opened"),
        ([tmp_path / "text"], "is not a safetensors file"),
    ):
        ran = subprocess.run([program, *arguments], input=b"", capture_output=True, check=False)
        assert ran.returncode != 0
        assert expected in ran.stderr.decode()
