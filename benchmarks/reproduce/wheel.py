"""The wheel: its size, how long it takes to build, and a step of a stream with its module.

    python benchmarks/reproduce/wheel.py

`make wheel` builds it and tries it.  Its module runs on any CPython from 3.11 on, and calls Python
through the package nanobind-backend; the one of an editable installation is linked for one version
of Python.  Their steps are timed in turns, in processes of their own, on one thread: the least time
of each, since what a busy neighbour adds is none of theirs.  `layer` is one step of 8 GRU units, of
which the call is the most; `stream` is the classifier of streaming.py, 2 x 128 units.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import timeit
import zipfile
from collections.abc import Callable
from importlib.machinery import ExtensionFileLoader
from pathlib import Path
from typing import Any

import numpy as np
from record import Record, markdown

TREE = Path(__file__).parents[2]
TURNS, REPEATS, CALLS = 8, 40, 500
MODULE = "tidegate._engine"


def use(path: str) -> None:
    """Let tidegate, which is not imported yet, find this compiled module."""
    spec = importlib.util.spec_from_loader(MODULE, ExtensionFileLoader(MODULE, path))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.modules[MODULE] = module


def steps() -> dict[str, float]:
    """Microseconds of each kind of step, the least."""
    from streaming import CHANNELS, classifier

    from tidegate.engine import EngineLayer

    rng = np.random.default_rng(0)
    shapes = {"weight_ih": (24, 8), "weight_hh": (24, 8), "bias_ih": (24,), "bias_hh": (24,)}
    layer = EngineLayer("gru", {n: rng.random(s, np.float32) for n, s in shapes.items()})
    x, state = rng.random((1, 8), np.float32), layer.initial_state(1)
    stream, row = classifier().stream(), rng.standard_normal(CHANNELS)
    return {"layer": least(lambda: layer.step(x, state)), "stream": least(lambda: stream.feed(row))}


def least(call: Callable[[], Any]) -> float:
    """Microseconds of one call."""
    return min(timeit.repeat(call, number=CALLS, repeat=REPEATS)) / CALLS * 1e6


def in_turns(modules: dict[str, str]) -> dict[str, dict[str, float]]:
    """By module the least microseconds of each kind of step."""
    best: dict[str, dict[str, float]] = {name: {} for name in modules}
    line = [sys.executable, __file__, "--steps-of"]
    variables = os.environ | {"OMP_NUM_THREADS": "1"}
    for _ in range(TURNS):
        for name, path in modules.items():
            told = subprocess.run([*line, path], check=True, stdout=subprocess.PIPE, env=variables)
            for kind, us in json.loads(told.stdout).items():
                best[name][kind] = round(min(us, best[name].get(kind, np.inf)), 3)
    return best


def wheels_module(folder: str) -> str:
    """The compiled module of the wheel in dist/, unpacked."""
    (wheel,) = (TREE / "dist").glob("tidegate-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.startswith("tidegate/_engine.abi3"))
        return archive.extract(name, folder)


def _of(module: str, kind: str) -> Callable[[dict[str, Any]], float]:
    return lambda row: row["microseconds"][module][kind]


COLUMNS: dict[str, Any] = {
    "MB": lambda r: r["megabytes"],
    "MB unpacked": lambda r: r["megabytes_unpacked"],
    "build, s of processor": lambda r: r["cpu_seconds"],
    "step of a layer, µs": _of("wheel", "layer"),
    "the same, linked": _of("linked", "layer"),
    "step of a stream, µs": _of("wheel", "stream"),
    "the same, linked ": _of("linked", "stream"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--steps-of", metavar="MODULE", help=argparse.SUPPRESS)
    if module := parser.parse_args().steps_of:
        use(module)
        print(json.dumps(steps()))
        return
    made = ["make", "wheel"]
    told = subprocess.run(made, cwd=TREE, check=True, stdout=subprocess.PIPE, text=True)
    figures = json.loads(told.stdout.strip().rpartition("\n")[2])
    from tidegate import _engine

    record = Record("wheel", ("tag",))
    with tempfile.TemporaryDirectory() as folder:
        modules = {"wheel": wheels_module(folder), "linked": str(_engine.__file__)}
        record.add(figures | {"microseconds": in_turns(modules)})
    print("\n" + markdown(record.rows, COLUMNS))


if __name__ == "__main__":
    main()
