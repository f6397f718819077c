"""Whether tidegate works as it is installed: of this tree only model files are read.

    python tests/installed.py            # where its requirements are, and no torch
    python tests/installed.py --torch    # where torch is, too

Run by `make wheel`, and by cibuildwheel on each system, in an environment that holds the wheel.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import tidegate as tg
from tidegate.compiling.compiler import find_headers
from tidegate.engine import EngineLayer, compiled

DATA = Path(__file__).parent / "data"
# of SequenceRegressor(cell, hidden_sizes=(3, 2), max_steps=3) after 24 sequences of 6 steps
ANSWERS = {
    "rnn": [-2.52570905, -2.17914139],
    "gru": [1.32412477, 0.36274832],
    "lstm": [0.80766224, 0.89354826],
}
CLOSE: dict[str, Any] = {"rtol": 0, "atol": 1e-5}  # each set of instructions sums in its order


def where_it_is() -> str:
    """The compiled module's name; it is no part of this tree, and for later Pythons, too."""
    from tidegate import _engine

    file = Path(str(_engine.__file__))
    assert Path(tg.__file__).parent == file.parent, file
    assert not file.is_relative_to(Path(__file__).parents[1]), file
    assert file.suffix == ".pyd" or file.name.endswith(".abi3.so"), file
    return file.name


def a_file_answers(cell: str) -> None:
    """A model file gives what it gave when it was written, saved anew, too."""
    x = np.random.default_rng(0).standard_normal((24, 6, 1)).astype(np.float32)
    model = tg.load(DATA / f"{cell}.safetensors")
    np.testing.assert_allclose(model.predict(x[:2]), ANSWERS[cell], **CLOSE)
    with tempfile.TemporaryDirectory() as folder:
        model.save(path := Path(folder) / "again.safetensors")
        np.testing.assert_array_equal(tg.load(path).predict(x), model.predict(x))


def every_instruction_set() -> list[str]:
    """Those that this machine runs: each answers as the files say."""
    best, sets = compiled.isa(), compiled.available_isas()
    for each in sets:
        compiled.select_isa(each)
        for cell in ANSWERS:
            a_file_answers(cell)
    compiled.select_isa(best)
    return sets


def threads_share_the_work() -> None:
    """They come to the same bits, however many they are."""
    rng = np.random.default_rng(1)
    shapes = {"weight_ih": (96, 8), "weight_hh": (96, 32), "bias_ih": (96,), "bias_hh": (96,)}
    weights = {n: rng.normal(size=s).astype(np.float32) / 4 for n, s in shapes.items()}
    layer = EngineLayer("gru", weights)
    x = rng.normal(size=(50, 64, 8)).astype(np.float32)
    alone, _ = layer.forward(x, threads=1)
    for threads in (2, 3):
        shared, _ = layer.forward(x, threads=threads)
        np.testing.assert_array_equal(shared, alone)


def the_command_answers() -> None:
    line = [sys.executable, "-m", "tidegate", "info", str(DATA / "gru.safetensors")]
    run = subprocess.run(line, capture_output=True, text=True, check=True)
    assert "gru" in run.stdout, run.stdout


def torch_trains() -> None:
    """A layer is torch.nn's on the engine, and a classifier learns."""
    import torch

    torch.manual_seed(0)
    x = torch.randn(7, 3, 5)
    theirs = torch.nn.GRU(5, 9)
    ours = tg.GRU(5, 9)
    ours.load_state_dict(theirs.state_dict())
    torch.testing.assert_close(ours(x)[0], theirs(x)[0])
    assert "engine" in str(ours.explain(x)), ours.explain(x)
    texts = ["a lovely film", "a dreadful film"] * 40
    model = tg.TextClassifier(max_steps=30, verbose=0, seed=1).fit(texts, ["good", "bad"] * 40)
    assert list(model.predict(texts[:2])) == ["good", "bad"]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--torch", action="store_true")
    with_torch = parser.parse_args().torch
    assert with_torch == (importlib.util.find_spec("torch") is not None), "torch: there or not?"
    name, sets = where_it_is(), every_instruction_set()
    find_headers()  # which a reader's own cell is compiled of; raises
    threads_share_the_work()
    the_command_answers()
    if with_torch:
        torch_trains()
    else:
        assert "torch" not in sys.modules
    version = ".".join(map(str, sys.version_info[:3]))
    print(f"{name} on Python {version}, {', '.join(sets)}, {'with' if with_torch else 'no'} torch")


if __name__ == "__main__":
    main()
