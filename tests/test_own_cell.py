"""A reader's own cell: what its compiled kernels answer, where they are kept, what is refused."""

from __future__ import annotations

import copy
import io
import linecache
import os
import pickle
import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from any_cell import flat, layer_of, state_of
from compiled_cells import cells_kept  # noqa: F401  a fixture

import tidegate as tg
from tidegate import _engine, cell, gates, states
from tidegate.cells import CELLS, get_cell
from tidegate.compiling import compiler, kept, kernels
from tidegate.errors import InputError
from tidegate.nn.functional import recurrence

TOLERANCE = 2e-5  # float32 over nine steps, of values about 1


@cell(gates="z n", state="h")
def mine(ops, w, u, h):
    """The smallest."""
    z = ops.sigmoid(w.z + u.z(h))
    n = ops.tanh(w.n + u.n(h))
    return states(h=z * h + (1 - z) * n), gates(z=z, n=n)


@cell(
    gates={"i": "writes", "f": tg.Gate("forget gate", "keeps"), "g": ""},
    states="h c",
    vectors={"peep": "i f", "gain": ("g",)},
)
def twofold(ops, w, u, peep, gain, h, c):
    """Two states, vectors, a product of a computed value, a mean and what only few cells ask."""
    i = ops.sigmoid(w.i + u.i(h) + peep.i * c)
    f = ops.sigmoid(w.f + u.f(h) + peep.f * c)
    g = ops.tanh(w.g + u.g(f * h) - gain.g * ops.mean(c))
    c = f * c + ops.minimum(i, 0.9) * g
    return states(h=ops.tanh(c) / (1 + ops.exp(-i)), c=c), gates(i=i, f=f)


MINE = """
@cell(gates="z n", state="h")
def {name}(ops, w, u, h):
    z = ops.sigmoid(w.z + u.z(h))
    n = ops.tanh(w.n + {factor} * u.n(h))
    return states(h=z * h + (1 - z) * n), gates(z=z)
"""


def declared(text: str, name: str, file: str = "<a notebook>") -> Any:
    """The cell of that name as a notebook defines it: no file, but lines that are known."""
    names: dict[str, Any] = {"__name__": __name__, "tg": tg, "np": np, "torch": torch}
    names |= {"cell": cell, "gates": gates, "states": states}
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    exec(compile(text, file, "exec"), names)  # noqa: S102
    return names[name]


pytestmark = pytest.mark.usefixtures("cells_kept")


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process that has asked for no cell yet."""
    monkeypatch.setattr(kernels, "_reasons", {})


def library(own: Any) -> bytes:
    """A compiled cell's library as it was kept."""
    assert kernels.reason_against_kernels(own) is None
    return next(kept.folder().glob(f"{own.name}-*.so")).read_bytes()[:-32]


# what it answers


def compared(layer: tg.Recurrent, lengths: list[int] | None) -> None:
    """Outputs and all gradients of the engine, beside those of the reference in float64."""
    exact = copy.deepcopy(layer).double()
    assert layer.explain().startswith("engine: ")
    assert exact.explain().startswith("reference: ")
    x = torch.randn(9, 5, layer.input_size, requires_grad=True)
    start = tuple(s.requires_grad_() for s in flat(state_of(layer, 5)))
    found = []
    for run, kind in ((layer, torch.float32), (exact, torch.float64)):
        own = [t.detach().to(kind).requires_grad_() for t in (x, *start)]
        hx = tuple(own[1:]) if len(start) > 1 else own[1]
        y, final = run(own[0], hx, lengths)
        torch.manual_seed(1)
        outputs = [y, *flat(final)]
        torch.autograd.backward(outputs, [torch.randn(o.shape).to(kind) for o in outputs])
        found.append(
            [
                *(o.detach() for o in outputs),
                *(t.grad for t in own),
                *(p.grad for p in run.parameters()),
            ]
        )
    for got, expected in zip(*found, strict=True):
        scale = max(1.0, float(expected.abs().max()))
        torch.testing.assert_close(got.double(), expected, rtol=0, atol=TOLERANCE * scale)


@pytest.mark.parametrize("lengths", [None, [9, 0, 1, 4, 9]], ids=["full", "ragged"])
@pytest.mark.parametrize("isa", _engine.available_isas())
def test_outputs_and_gradients_are_the_references(isa, lengths):
    used = _engine.isa()
    _engine.select_isa(isa)
    try:
        torch.manual_seed(0)
        layer = layer_of(twofold, 7, 19, num_layers=2, bidirectional=True)
        for parameter in layer.parameters():
            torch.nn.init.normal_(parameter, std=0.4)
        compared(layer, lengths)
    finally:
        _engine.select_isa(used)


@pytest.mark.parametrize("per_gate", [False, True])
def test_masks_are_the_references(per_gate):
    torch.manual_seed(0)
    layer = layer_of(twofold, 7, 19)
    exact, x, answers = copy.deepcopy(layer).double(), torch.randn(9, 5, 7), []
    shape = (3, 5, 19) if per_gate else (5, 19)
    mask = torch.bernoulli(torch.full(shape, 0.6)) / 0.6
    for run, kind in ((layer, torch.float32), (exact, torch.float64)):
        state = tuple(torch.zeros(2, 5, 19, dtype=kind))
        y, _ = recurrence(
            twofold, x.to(kind), state, run.layer_weights(0), recurrent_mask=mask.to(kind)
        )
        answers.append(y)
    torch.testing.assert_close(answers[0].double(), answers[1], rtol=0, atol=TOLERANCE)


def test_its_parameters_are_named_as_torch_names_them():
    layer = tg.Recurrent(mine, 128, 256)
    shapes = {name: tuple(p.shape) for name, p in layer.named_parameters()}
    assert shapes == {
        "weight_ih_l0": (512, 128), "weight_hh_l0": (512, 256), "bias_ih_l0": (512,),
        "bias_hh_l0": (512,),
    }  # fmt: skip


def test_the_roles_of_gates_start_its_weights():
    assert twofold.forget_gates == ("f",)
    assert [gate.role for gate in twofold.gates.values()] == ["writes", "keeps", ""]
    assert twofold.vectors == {"peep": ("i", "f"), "gain": ("g",)}


def test_under_compile_and_autocast_the_kernels_run():
    layer, x = tg.Recurrent(mine, 3, 8, strict=True), torch.randn(6, 2, 3)
    expected = layer(x)[0]
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x)[0], expected)
    compiled(x)[0].sum().backward()
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)[0]
    assert "float32" in str(y.dtype)  # its states are added to
    torch.testing.assert_close(y, expected)


def test_steps_of_a_stream_are_the_whole():
    layer, x = tg.Recurrent(twofold, 3, 8).eval(), torch.randn(6, 2, 3)
    with torch.no_grad():
        state, outputs = None, []
        for step in x:
            y, state = layer.step(step, state)
            outputs.append(y)
        torch.testing.assert_close(torch.stack(outputs), layer(x)[0])


def test_rounded_products_leave_it_in_float32():
    before, x = torch.get_float32_matmul_precision(), torch.randn(6, 2, 3)
    layer = tg.Recurrent(mine, 3, 8, strict=True)
    expected = layer(x)[0]
    torch.set_float32_matmul_precision("medium")
    try:
        y = layer(x)[0]
        y.sum().backward()
    finally:
        torch.set_float32_matmul_precision(before)
    torch.testing.assert_close(y, expected, rtol=0, atol=0.05)  # the input's product rounds


# its definition


def test_defined_anew_it_is_another_and_the_old_one_stays():
    first = declared(MINE.format(name="anew", factor=1), "anew")
    layer, x = tg.Recurrent(first, 3, 4, dtype=torch.float64), torch.randn(5, 2, 3)
    y = layer(x.double())[0]
    again = declared(MINE.format(name="anew", factor=1), "anew")
    second = declared(MINE.format(name="anew", factor=2), "anew")
    assert again.key == first.key != second.key
    assert get_cell("anew") is second
    other = tg.Recurrent(second, 3, 4)
    other.load_state_dict(layer.state_dict())
    compared(other, None)
    assert not torch.allclose(other(x)[0].double(), y, atol=1e-3)
    assert torch.equal(layer(x.double())[0], y)


def test_it_is_copied_pickled_and_saved():
    layer, x = tg.Recurrent(twofold, 3, 5), torch.randn(4, 2, 3)
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    ways = (
        copy.deepcopy(layer),
        pickle.loads(pickle.dumps(layer)),
        torch.load(file, weights_only=False),
    )
    for again in ways:
        assert again.cell is twofold
        torch.testing.assert_close(again(x)[0], layer(x)[0], rtol=0, atol=0)


def test_a_pickle_of_other_equations_is_refused(monkeypatch):
    data = pickle.dumps(mine)
    monkeypatch.setattr(sys.modules[__name__], "mine", twofold)
    with pytest.raises(ValueError, match="cell mine: .*got one of other equations; define it"):
        pickle.loads(data)
    monkeypatch.delattr(sys.modules[__name__], "mine")
    with pytest.raises(ValueError, match="cell mine: .*got none; define it"):
        pickle.loads(data)


def test_a_task_learns_with_it_and_its_file_brings_it_or_asks_for_it(tmp_path, monkeypatch):
    texts, moods = ["a lovely film", "a dreadful film"] * 12, ["good", "bad"] * 12
    model = tg.TextClassifier(
        cell=mine, hidden_sizes=(4,), embedding_size=4, epochs=None, max_steps=3, verbose=0
    ).fit(texts, moods)
    model.save(tmp_path / "m.safetensors")
    again = tg.load(tmp_path / "m.safetensors")
    assert again.cell == mine.key
    np.testing.assert_array_equal(again.predict_proba(texts[:3]), model.predict_proba(texts[:3]))
    monkeypatch.setattr("tidegate.cells._OWN", {})
    declared(MINE.format(name="mine", factor=3), "mine")
    again = tg.load(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(again.predict_proba(texts[:3]), model.predict_proba(texts[:3]))
    monkeypatch.setattr("tidegate.model.checkpoint.own_cells", lambda _: [])
    again.save(tmp_path / "m.safetensors")  # as of a cell that a file cannot hold
    monkeypatch.setattr("tidegate.cells._OWN", {})
    with pytest.raises(InputError, match="own cell mine, .* got none of this name; define it"):
        tg.load(tmp_path / "m.safetensors")
    declared(MINE.format(name="mine", factor=3), "mine")
    with pytest.raises(InputError, match="own cell mine, .* got one of other equations; define"):
        tg.load(tmp_path / "m.safetensors")


# where it is kept

ONCE = """
from tidegate import cell, gates, states
from tidegate.compiling.kernels import reason_against_kernels
@cell(gates="n", state="h")
def at_once(ops, w, u, h):
    n = ops.tanh(w.n + u.n(h))
    return states(h=n), gates(n=n)
print(reason_against_kernels(at_once))
"""


def test_of_two_processes_one_compiles(tmp_path):
    environment = os.environ | {"TIDEGATE_CACHE": str(tmp_path / "new")}
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", ONCE], env=environment, text=True, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for _ in range(2)
    ]  # fmt: skip
    told = [run.communicate() for run in runs]
    assert [out for out, _ in told] == ["None\n"] * 2
    assert sorted(error.count("compiling the cell at_once") for _, error in told) == [0, 1]
    (path,) = (tmp_path / "new").iterdir()
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.fixture
def compilations(monkeypatch: pytest.MonkeyPatch, fresh: None) -> list[str]:  # noqa: ARG001
    """The sources of what is compiled from now on, each of which becomes the library of mine."""
    sources, done = [], library(mine)

    def compile_library(source: str, *_: Any) -> bytes:
        sources.append(source)
        return done

    monkeypatch.setattr(kernels, "compile_library", compile_library)
    monkeypatch.setattr(kernels, "_reasons", {})
    return sources


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-1], lambda _: b"", lambda data: data[:5000], bytes.swapcase]
)
def test_half_a_file_is_made_again(compilations, monkeypatch, damage):
    path = next(kept.folder().glob("mine-*.so"))
    data = path.read_bytes()
    path.unlink()  # which this process has mapped
    path.write_bytes(damage(data))
    assert kernels.reason_against_kernels(mine) is None
    assert len(compilations) == 1
    monkeypatch.setattr(kernels, "_reasons", {})
    assert kernels.reason_against_kernels(mine) is None
    assert len(compilations) == 1


@pytest.mark.parametrize("changed", ["CXXFLAGS", "headers", "compiler"])
def test_another_compiler_or_engine_compiles_anew(compilations, monkeypatch, tmp_path, changed):
    assert kernels.reason_against_kernels(mine) is None
    assert compilations == []
    monkeypatch.setattr(kernels, "_reasons", {})
    if changed == "headers":
        monkeypatch.setattr(_engine, "own_cell_headers", "other")
        monkeypatch.setattr("tidegate.engine.compiled.own_cell_headers", "other")
        monkeypatch.setattr(kernels, "find_headers", lambda: tmp_path)
    elif changed == "compiler":
        monkeypatch.setenv("CXX", script(tmp_path, "echo another 1.0"))
    else:
        monkeypatch.setattr(kernels, "flags_for", lambda _: ("-O1",))
    assert kernels.reason_against_kernels(mine) is None
    assert len(compilations) == 1


def test_where_nothing_can_be_kept_it_runs_and_says_so(compilations, monkeypatch):
    monkeypatch.setenv("TIDEGATE_CACHE", "/dev/null/cells")
    with pytest.warns(RuntimeWarning, match="cannot be kept .*; name a folder .* TIDEGATE_CACHE"):
        assert kernels.reason_against_kernels(mine) is None
    assert len(compilations) == 1


def test_the_folder_is_the_systems_for_what_can_be_made_again(monkeypatch):
    monkeypatch.delenv("TIDEGATE_CACHE")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", "/some/where")
    assert kept.folder() == Path("/some/where/tidegate")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert kept.folder() == Path.home() / ".cache/tidegate"


# without kernels


def script(folder: Path, line: str) -> str:
    path = folder / "compiler"
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)
    return str(path)


FAILING = (
    'if [ "$1" = --version ]; then echo c 1.0; else echo "cell.cpp:3: error: no" >&2; exit 1; fi'
)


@pytest.mark.parametrize(
    ("command", "told"),
    {
        None: "CXX names 'no-such-compiler', which is not there; install one",
        "exit 1": "compiler does not run; install one",
        FAILING: r"compiler failed: cell.cpp:3: error: no; name another compiler .* CXX",
    }.items(),
)
@pytest.mark.usefixtures("fresh")
def test_without_a_compiler_the_reference_runs_and_says_so_once(
    monkeypatch, tmp_path, recwarn, command, told
):
    monkeypatch.setenv("CXX", "no-such-compiler" if command is None else script(tmp_path, command))
    monkeypatch.setenv("TIDEGATE_CACHE", str(tmp_path / "new"))
    slow = declared(MINE.format(name="slow", factor=len(told)), "slow")
    layer, x = tg.Recurrent(slow, 3, 4), torch.randn(5, 2, 3)
    for _ in range(2):
        y = layer(x)[0]
    (warning,) = recwarn
    assert re.search(
        f"^the cell slow runs step by step, which is slow: .*{told}", str(warning.message)
    )
    assert "\n" not in str(warning.message)
    assert re.match(f"reference: the engine has no kernel for slow: .*{told}", layer.explain())
    exact = copy.deepcopy(layer).double()(x.double())[0]
    torch.testing.assert_close(y.double(), exact, rtol=0, atol=TOLERANCE)
    with pytest.raises(RuntimeError, match="strict: expected a fused path.*no kernel for slow"):
        tg.Recurrent(slow, 3, 4, strict=True)(x)


@pytest.mark.usefixtures("fresh")
def test_headers_of_another_engine_are_told(monkeypatch):
    compiler.find_headers.cache_clear()
    monkeypatch.setattr("tidegate.engine.compiled.own_cell_headers", "other")
    with pytest.warns(RuntimeWarning, match="headers .* are not there; install tidegate again"):
        assert "headers" in str(kernels.reason_against_kernels(mine))
    compiler.find_headers.cache_clear()


# what is refused

GOOD = """\
@cell(gates="z n", state="h")
def wrong(ops, w, u, h):
    z = ops.sigmoid(w.z + u.z(h))
    n = ops.tanh(w.n + u.n(h))
    return states(h=z * h + (1 - z) * n), gates(z=z)
"""
REFUSED = {
    "an unknown gate": ("w.z", "w.q", "line 3, z = .*: wrong: w.q: expected a gate, one of z, n"),
    "an idle gate": ('"z n"', '"z n o"', r"wrong: expected w.o or u.o; leave the gate out"),
    "a missing state": ("h=z", "k=z", "line 5, return .*: wrong: expected the states h .*got k"),
    "a function of numpy": ("ops.tanh", "np.tanh", "line 4, n = .*: tanh: .*write ops.tanh"),
    "a branch": ("n = ops", "n = z if z > 0 else ops", "line 4, .*cannot branch on a value"),
    "too many arguments": ("u, h", "u, h, c", r"wrong: expected a function of \(ops, w, u, h\)"),
    "a name that is taken": ("def wrong", "def gru", "gru: expected a name that no cell of tide"),
    "no state": (', state="h"', "", 'expected state or states, got none; write state="h"'),
    "two kinds of states": ('"h"', '"h", states="h c"', "expected state or states, got both"),
    "a gate twice": ('"z n"', '"z n z"', "gates: expected z once, got it twice"),
    "no gates": ('"z n"', '""', 'gates: expected one at least, got none; write gates="a b"'),
    "a gate that is no name": ('"z n"', '"z n 1"', "gates: expected names as Python has them, got"),
    "gates that are a number": ('"z n"', "2", "gates: expected names, got int; write gates="),
    "an unknown role": ('"z n"', '{"z": "forgets", "n": ""}', "for z a tidegate.Gate or a role"),
    "a state without meaning": ('"h"', '{"h": 1}', "state.*: expected for h a tidegate.State, got"),
    "a vector of no gate": (
        'state="h"', 'state="h", vectors={"p": "x"}', "for p gates or states, z, n, h, got x",
    ),
    "a vector with a taken name": (
        'state="h"', 'state="h", vectors={"bias_ih": "z"}', "bias_ih: .* name that no other",
    ),
    "vectors that are no dict": (
        'state="h"', 'state="h", vectors="p"', "vectors: expected a dict, got str; write",
    ),
}  # fmt: skip


@pytest.mark.parametrize("mistake", REFUSED)
def test_a_mistake_is_told_when_the_cell_is_defined(mistake):
    old, new, told = REFUSED[mistake]
    assert declared(GOOD, "wrong").name == "wrong"
    assert old in GOOD
    with pytest.raises((ValueError, TypeError, AttributeError)) as caught:
        declared(GOOD.replace(old, new, 1), "wrong", f"<{mistake}>")
    assert re.search(told, str(caught.value)), caught.value
    assert "\n" not in str(caught.value)


def test_an_own_cell_is_no_cell_of_tidegate():
    assert mine.name not in CELLS
    assert get_cell("mine").key == mine.key
    assert re.fullmatch("mine@[0-9a-f]{12}", mine.key)
