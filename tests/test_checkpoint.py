from __future__ import annotations

import hashlib
import json
import math
import re
import signal
import subprocess
import sys
import time
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from model_files import SERIES, classifier, forecaster

from tidegate.errors import InputError
from tidegate.model.architecture import Architecture
from tidegate.model.checkpoint import (
    ModelFile,
    ModelFileError,
    load_model,
    save_model,
    verify,
)
from tidegate.output.writing import write_atomically

SOURCES = Path(__file__).resolve().parents[1] / "src" / "tidegate"
GOLDEN = "b0889066fa1bbc3d5801fb3db1160c85c7f67dda640ee5f1fa434fd3c59593e7"  # of classifier()


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    save_model(path, classifier())
    return path


def canonical(value: Any) -> str:
    """As text, so that NaN equals NaN and the order of keys does not count."""
    return json.dumps(value, sort_keys=True, default=Architecture.to_json)


@pytest.mark.parametrize("model", [classifier(), forecaster()], ids=["classifier", "forecaster"])
def test_loading_gives_what_was_saved(tmp_path: Path, model: ModelFile) -> None:
    path = tmp_path / "model.safetensors"
    save_model(path, model)
    loaded = load_model(path)
    for f in fields(ModelFile):
        before, after = getattr(model, f.name), getattr(loaded, f.name)
        if f.name in ("tensors", "test_vector"):
            assert before.keys() == after.keys()
            for name, array in before.items():
                assert after[name].dtype == array.dtype
                np.testing.assert_array_equal(after[name], array)
        else:
            assert canonical(before) == canonical(after)


def test_saving_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    paths = [tmp_path / "a.safetensors", tmp_path / "b" / "b.safetensors"]
    paths[1].parent.mkdir()
    for path in paths:
        save_model(path, classifier())
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_bytes_of_format_2_do_not_change(saved: Path) -> None:
    digest = hashlib.sha256(saved.read_bytes()).hexdigest()
    assert digest == GOLDEN, (
        "the bytes of a model file have changed.  If the format is meant to change, raise "
        f"metadata.FORMAT, say so in CHANGELOG and put {digest} here"
    )


def test_safetensors_itself_reads_the_file(saved: Path) -> None:
    from safetensors.numpy import load_file

    tensors = load_file(saved)
    np.testing.assert_array_equal(
        tensors["network.dense.weight"], classifier().tensors["dense.weight"]
    )


def test_weights_that_are_not_finite_are_not_saved(tmp_path: Path) -> None:
    model = classifier()
    for value in (math.nan, math.inf):
        model.tensors["dense.bias"][0] = value
        with pytest.raises(InputError, match="expected finite values, .* a lower learning_rate"):
            save_model(tmp_path / "model.safetensors", model)
    assert not list(tmp_path.iterdir())


def test_the_digest_is_of_all_bytes_before_it(saved: Path) -> None:
    data = saved.read_bytes()
    assert hashlib.sha256(data[:-32]).digest() == data[-32:]


@pytest.mark.parametrize(
    "change",
    [
        {"labels": ["only one"]},
        {"tensors": {}},
        {"metrics": {"a": math.inf}},
        {"test_vector": {"input": np.array([[9]]), "output": np.zeros((1, 2), np.float32)}},
        {"architecture": SERIES},
    ],
)
def test_what_would_not_load_is_not_saved(tmp_path: Path, change: dict[str, Any]) -> None:
    model = replace(classifier(), **change)
    with pytest.raises(ValueError, match=r"expected|JSON"):
        save_model(tmp_path / "model.safetensors", model)
    assert not list(tmp_path.iterdir())


def test_verify_tells_rounding_from_another_network(saved: Path) -> None:
    model = load_model(saved)
    output = model.test_vector["output"]
    verify(saved, model, output * (1 + 1e-6))
    for other in (output + 0.01, output * np.nan, output[:1]):
        with pytest.raises(ModelFileError, match="test vector: expected"):
            verify(saved, model, other)


def test_unwritable_place_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a place to write .* No such file or directory"):
        write_atomically(tmp_path / "none" / "x", b"1")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="expected a place to write"):
        write_atomically(tmp_path / "folder", b"1")
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]  # nothing half-written is left


def test_writing_through_a_link_keeps_the_link(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write_atomically(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"


def test_kill_in_the_middle_of_saves_leaves_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from model_files import classifier\n"
        "from tidegate.model.checkpoint import save_model\n"
        "model, i = classifier(), 0\n"
        "while True:\n"
        "    i += 1\n"
        "    model.metrics = {'save': i}\n"
        "    save_model(sys.argv[2], model)\n"
    )
    rng = np.random.default_rng(2)
    last = 0
    for _ in range(4):
        writer = subprocess.Popen([sys.executable, "-c", program, Path(__file__).parent, path])
        path.unlink(missing_ok=True)
        for _ in range(1000):
            if path.exists():
                break
            time.sleep(0.02)
        time.sleep(rng.uniform(0, 0.1))
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        last = max(last, int(load_model(path).metrics["save"]))
    assert last > 1  # it was in the middle of many


FORBIDDEN = r"\b(pickle|cPickle|dill|joblib|marshal|shelve)\b|torch\.(load|save)\b|\b(eval|exec)\("

# what is said of it, a format that is refused by name, a network's eval(), a line for users to type
ALLOWED = ("eval()", "no pickle", '"pickle"', "torch pickle", "may run code", "weights_only=True")


def test_no_code_runs_from_a_file() -> None:
    """Opening a model runs no code: the package has none of the means (.eval() is none)."""
    found = [
        f"{path.name}:{number}: {line.strip()}"
        for path in SOURCES.rglob("*.py")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if re.search(FORBIDDEN, line) and not any(words in line for words in ALLOWED)
    ]
    assert not found
