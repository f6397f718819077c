"""A program that damages files of other libraries, reads them and uses what was read.

``python fuzz_foreign_files.py FOLDER EXAMPLES SEED [KIND ...]`` makes EXAMPLES damaged files of
each kind.  It ends with 0 unless something other than a clear refusal came of one: a traceback, a
crash, more than 10 seconds or 2 GiB.  Of HDF5, whose library may crash or run for ever, reading in
a process of its own must make a refusal of that.
"""

from __future__ import annotations

import io
import json
import os
import random
import resource
import signal
import sys
import time
import traceback
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from damage import damaged_archive, damaged_bytes, damaged_h5, damaged_onnx
from onnx_cases import case

from tidegate.cells import CELLS
from tidegate.errors import InputError
from tidegate.interchange import Network, hdf5, read, write
from tidegate.interchange.conventions.activations import SOFTMAX
from tidegate.interchange.layers import Dense, Direction, Embedding, Normalisation, Recurrent

SECONDS = 10
MEMORY = 2**31
Kind = tuple[str, list[bytes], Callable[[bytes, random.Random], bytes]]


def network() -> Network:
    """Tokens to classes, by layers of three kinds."""
    rng = np.random.default_rng(0)

    def numbers(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(np.float32)

    def directions(cell: str, inputs: int, count: int) -> tuple[Direction, ...]:
        shapes = CELLS[cell].shapes({"I": inputs, "H": 3, "P": 0})
        return tuple(
            Direction({n: numbers(*s) for n, s in shapes.items()}, bool(d)) for d in range(count)
        )

    return Network(
        (
            Embedding("embedding", numbers(6, 2)),
            Recurrent("first", CELLS["gru"], directions("gru", 2, 2)),
            Normalisation("norm", None, numbers(6), numbers(6), numbers(6) ** 2, 1e-3),
            Recurrent("second", CELLS["lstm"], directions("lstm", 6, 1)),
            Dense("dense", numbers(2, 3), numbers(2), SOFTMAX),
        )
    )


def kinds(folder: Path) -> dict[str, Kind]:
    """By name: the suffix, whole files, and what damages one."""

    def written(name: str, what: Network) -> bytes:
        write(what, folder / name, force=True)
        return (folder / name).read_bytes()

    whole = network()
    keras = written("m.keras", whole)
    nodes = [case(seed).model(0).SerializeToString() for seed in (1, 2, 3, 5)]
    torch_part = Network((whole.layers[0], whole.layers[1]))
    held = io.BytesIO()
    rng = np.random.default_rng(1)
    np.savez(
        held, E=rng.normal(size=(3, 5)), U=rng.normal(size=(6, 3, 3)), W=rng.normal(size=(6, 3, 3)),
        V=rng.normal(size=(5, 3)), b=rng.normal(size=(6, 3)), c=rng.normal(size=5),
    )  # fmt: skip
    return {
        "safetensors": (".safetensors", [written("m.safetensors", torch_part)], damaged_bytes),
        "npz": (".npz", [held.getvalue()], damaged_archive),
        "onnx": (".onnx", [written("m.onnx", whole), *nodes], damaged_onnx),
        "keras": (".keras", [keras, in_cells(keras)], damaged_archive),
        "h5": (".h5", [legacy(cells=False), legacy(cells=True)], damaged_h5),
    }


def in_cells(keras: bytes) -> bytes:
    """The same model, whose recurrent layers are ``RNN`` of a cell."""
    held = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(keras)) as whole, zipfile.ZipFile(held, "w") as made:
        for name in whole.namelist():
            content = whole.read(name)
            if name == "config.json":
                model = json.loads(content)
                of_both = model["config"]["layers"][2]["config"]
                for layer in (
                    model["config"]["layers"][4],
                    of_both["layer"],
                    of_both["backward_layer"],
                ):
                    cell = {"class_name": f"{layer['class_name']}Cell", "config": layer["config"]}
                    layer["class_name"], layer["config"] = "RNN", {**layer["config"], "cell": cell}
                content = json.dumps(model).encode()
            made.writestr(name, content)
    return held.getvalue()


def legacy(*, cells: bool) -> bytes:
    """A legacy file as Keras 2 wrote it: a recurrent layer, of two ``cells`` or a plain one, and a
    dense one.
    """
    import h5py

    rng = np.random.default_rng(2)
    recurrent = {"name": "gru", "return_sequences": True, "recurrent_activation": "hard_sigmoid"}
    kind = "GRU"
    if cells:
        of = [{"class_name": f"{kind}Cell", "config": recurrent} for kind in ("GRU", "LSTM")]
        cell = {"class_name": "StackedRNNCells", "config": {"cells": of}}
        kind, recurrent = "RNN", {"name": "gru", "cell": cell}
    layers = [
        {"class_name": kind, "config": recurrent},
        {"class_name": "Dense", "config": {"name": "dense", "activation": "softmax"}},
    ]
    arrays = {
        "gru": {"kernel": (3, 12), "recurrent_kernel": (4, 12), "bias": (2, 12)},
        "dense": {"kernel": (4, 2), "bias": (2,)},
    }
    if cells:
        arrays["gru"] |= {"of_2": (4, 16), "recurrent_of_2": (4, 16), "bias_of_2": (16,)}
    held = io.BytesIO()
    with h5py.File(held, "w") as file:
        model = {"class_name": "Sequential", "config": {"layers": layers}}
        file.attrs["model_config"], file.attrs["keras_version"] = json.dumps(model), "2.4.0"
        for name, shapes in arrays.items():
            group = file.create_group(f"model_weights/{name}")
            group.attrs["weight_names"] = [f"{name}/{key}:0".encode() for key in shapes]
            for key, shape in shapes.items():
                group[f"{name}/{key}:0"] = rng.normal(size=shape).astype(np.float32)
    return held.getvalue()


def use(path: Path) -> None:
    """Read a file and predict, if its input is small."""
    found = read(path)
    size = found.input_size
    if size is None:
        found.predict(np.zeros((1, 2), np.int64))
    elif size <= 1000:
        found.predict(np.ones((1, 2, size), np.float32))


def in_a_process(path: Path) -> str:
    """What comes of a file whose reader may crash: "used", "refused", or a failure."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            hdf5.read_tree = lambda data: hdf5._unpacked(hdf5.packed(hdf5.parsed(data)))
            signal.setitimer(signal.ITIMER_REAL, SECONDS)
            use_here(path)
            code = 0
        except InputError as e:
            code = 3 if told_well(e) else 4
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return guarded(path)
    return {0: "used", 3: "refused"}.get(os.WEXITSTATUS(status), "failed")


def guarded(path: Path) -> str:
    """What the process with bounds makes of a file that crashes its reader or holds it for ever."""
    hdf5._SECONDS = SECONDS
    try:
        use_here(path)
    except InputError as e:
        return "refused by the guard" if told_well(e) else "failed"
    return "used"


def use_here(path: Path) -> None:
    """As ``use``, by the readers that took their own names of ``read_tree``."""
    from tidegate.interchange import keras_reader

    keras_reader.read_tree = hdf5.read_tree
    use(path)


def told_well(error: InputError) -> bool:
    """One line for people."""
    if len(str(error)) <= 1000 and str(error).isprintable():
        return True
    print(f"no line for people: {error}", file=sys.stderr)
    return False


def in_this_process(path: Path) -> str:
    """The same, of files that are read by what cannot crash: else this program ends."""
    try:
        use(path)
    except InputError as e:
        return "refused" if told_well(e) else "failed"
    except BaseException:
        traceback.print_exc()
        return "failed"
    return "used"


def main() -> int:
    folder, examples, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    warnings.simplefilter("error")
    warnings.filterwarnings("ignore", "the cell .* runs step by step", RuntimeWarning)
    os.environ["CXX"] = "no-such-compiler"  # of thousands of cells each would take seconds
    made = kinds(folder)
    for suffix, files, _ in made.values():  # what is imported late is imported now
        (folder / f"whole{suffix}").write_bytes(files[0])
        if suffix == ".h5":
            hdf5.parsed(files[0])
        use(folder / f"whole{suffix}")
    resource.setrlimit(resource.RLIMIT_AS, (_size() + MEMORY, resource.RLIM_INFINITY))
    code = 0
    for name in sys.argv[4:] or made:
        suffix, files, damage = made[name]
        draw, counts, longest = random.Random(f"{seed} {name}"), Counter[str](), 0.0
        run = in_a_process if name in ("keras", "h5") else in_this_process
        for i in range(examples):
            path = folder / f"damaged{suffix}"
            path.write_bytes(damage(files[i % len(files)], draw) or b"\0")
            started = time.monotonic()
            came = run(path)
            longest = max(longest, 0.0 if "guard" in came else time.monotonic() - started)
            counts[came] += 1
            if came == "failed" or longest > SECONDS:
                kept = folder / f"failed_{name}_{i}{suffix}"
                kept.write_bytes(path.read_bytes())
                print(f"{name}: example {i} of seed {seed}: {kept}", file=sys.stderr)
                code = 1
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print(f"{name}: {dict(counts)}, at most {longest:.1f} s and {peak} MB", flush=True)
        if min(counts["used"], counts["refused"]) <= examples // 100:
            print(f"{name}: too few were used or refused to tell", file=sys.stderr)
            code = 2
    return code


def _size() -> int:
    """Of this process's memory, in bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()


if __name__ == "__main__":
    sys.exit(main())
