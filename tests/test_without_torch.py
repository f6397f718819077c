"""A trained model answers where torch cannot be imported, as its torch network would."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import TINY, write_data

import tidegate as tg
from tidegate.cli import main
from tidegate.data.files.items import as_texts
from tidegate.data.sequences.inputs import as_sequences
from tidegate.data.series.series import Series
from tidegate.data.series.windowing import Windows
from tidegate.runtime.batches import forecast_windows, outputs_of
from tidegate.runtime.scoring import score
from tidegate.training.judging import TorchReader, as_function

# Each task with options that differ from their defaults, cells among them.
TRAINED = {
    "classifier": [
        "reviews.csv --text review --label sentiment",
        "reviews.csv --text review --label sentiment --cell lstm --hidden-sizes 5,4 --batch-norm "
        "--readout last --no-evidence --no-bidirectional",
        "reviews.csv --text review --label sentiment --level char --cell rnn --readout max+last",
    ],
    "language-model": [
        "book.txt",
        "book.txt --level word --tie-embeddings --cell lstm",
        "book.txt --level bpe --vocabulary-size 270 --reverse --hidden-sizes 5,4 --batch-norm",
    ],
    "forecaster": [
        "load.csv --time date --target OT",
        "load.csv --time date --target OT,day --cell lstm --hidden-sizes 4,3 --batch-norm --joint",
    ],
    "series-classifier": [
        "gestures.csv --id gesture --time t --values x,y --label kind",
        "gestures.csv --id gesture --time t --values x,y --label kind --cell gru_reset_before "
        "--hidden-sizes 4,3 --batch-norm --segment 3 --recurrent-dropout 0.5",
    ],
    "series-regressor": ["gestures.csv --id gesture --time t --values x,y --target force"],
}
NAMES = [f"{task}-{k}" for task, lines in TRAINED.items() for k in range(len(lines))]

WITHOUT = """
import sys

class NoTorch:
    def find_spec(self, name, *_):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, NoTorch())
"""
TEXTS = ["a lovely film", "", "dreadful", "a lovely film number 3, dreadful unheard of"]
SEQUENCES = [np.linspace((n, -n), (1, 0.5), n + 1) for n in (0, 1, 4, 11)]
PROMPT = "the cat "


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of data, and a trained model of each of ``NAMES``."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("models")
    write_data(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for task, lines in TRAINED.items():
            for k, line in enumerate(lines):
                options = f"--verbose 0 -o {task}-{k}.safetensors {TINY[task]}"
                assert main(["train", task, *shlex.split(f"{options} {line}")]) == 0
    return folder


def run_without_torch(code: str, folder: Path, *arguments: str) -> Any:
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", WITHOUT + code, *arguments],
        cwd=folder, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


ANSWERS = """
import json
import numpy as np
import tidegate
from tidegate.data.series.series import Series

found = {}
told = json.loads(sys.argv[1])
sequences = [np.array(s).reshape(-1, 2) for s in told["sequences"]]
for name in told["names"]:
    model = tidegate.load(f"{name}.safetensors")
    if name.startswith("classifier"):
        found[name] = model.predict_log_proba(told["texts"]).tolist()
    elif name.startswith("language"):
        found[name] = [
            "".join(model.generate(told["prompt"], 12, greedy=True)),
            "".join(model.generate(told["prompt"], 12, seed=3)),
            model.evaluate(told["book"])["cross_entropy"],
        ]
    elif name.startswith("forecaster"):
        names = model.windowing_.names
        times = np.datetime64("2030-01-01T00", "s") + 3600 * np.arange(len(told["series"]))
        series = Series.of(times, np.array(told["series"])[:, : len(names)], names=names)
        found[name] = model.predict(series).tolist()
    elif name.endswith("classifier-0") or name.endswith("classifier-1"):
        found[name] = model.predict_log_proba(sequences).tolist()
    else:
        found[name] = model.predict(sequences).tolist()
assert "torch" not in sys.modules
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def answers(folder: Path) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return run_without_torch(ANSWERS, folder, json.dumps(told(rng)))


def told(rng: np.random.Generator) -> dict[str, Any]:
    return {
        "names": NAMES,
        "texts": TEXTS,
        "sequences": [s.tolist() for s in SEQUENCES],
        "prompt": PROMPT,
        "book": "the dog sat on the log\nand the cat sat on the mat\n" * 3,
        "series": rng.standard_normal((200, 2)).cumsum(0).tolist(),
    }


@pytest.mark.parametrize("name", NAMES)
def test_answers_without_torch_are_those_of_the_torch_network(
    name: str, folder: Path, answers: dict[str, Any]
) -> None:
    model: Any = tg.load(folder / f"{name}.safetensors")
    network, given, found = model.network_, told(np.random.default_rng(0)), answers[name]
    run = as_function(network)
    if model.TASK == "language-model":
        greedy, drawn, entropy = found
        assert greedy == "".join(model.generate(PROMPT, 12, greedy=True))
        assert drawn == "".join(model.generate(PROMPT, 12, seed=3))
        opening, _ = model._frame()
        theirs = score(TorchReader(network), model._tokens(given["book"]), opening)
        assert entropy == pytest.approx(theirs.cross_entropy, rel=1e-5)
        return
    if model.TASK == "forecaster":
        w, rows = model.windowing_, len(given["series"])
        times = np.datetime64("2030-01-01T00", "s") + 3600 * np.arange(rows)
        values = np.array(given["series"])[:, : len(w.names)]
        series = Series.of(times, values, names=w.names)
        windows = Windows(w, series, np.array([rows - w.context]))
        expected = forecast_windows(run, windows)[0]
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
        return
    if model.TASK == "text-classifier":
        outputs = outputs_of(run, model.encode(as_texts(TEXTS)), len(model.classes_))
    else:
        read = model._read(as_sequences(SEQUENCES, 2))
        outputs = outputs_of(run, read, network.architecture.output_size)
    if model.TASK == "series-regressor":
        expected = model.target_.inverse(outputs.astype(np.float64))[:, 0]
    else:
        expected = torch.log_softmax(torch.from_numpy(outputs), 1).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


COMMANDS = """
import io, json
from contextlib import redirect_stdout, redirect_stderr
from tidegate.cli import main

found = []
for line in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main(line)
    found.append([code, out.getvalue(), err.getvalue()])
assert "torch" not in sys.modules
print(json.dumps(found))
"""
DATA = {
    "classifier": "test.csv",
    "language-model": "book.txt",
    "forecaster": "load.csv",
    "series-classifier": "gestures.csv",
    "series-regressor": "gestures.csv",
}


def lines_of(name: str) -> list[str]:
    task, model = name.rpartition("-")[0], f"{name}.safetensors"
    ask = {
        "language-model": [f"generate {model} --seed 4 --length 20 --json"],
        "forecaster": [
            f"forecast {model} {DATA[task]} --json",
            f"forecast {model} {DATA[task]} --plot {name}.png --force --json",
        ],
    }
    predict = [f"predict {model} {DATA[task]} --json"]
    always = [f"evaluate {model} {DATA[task]} --json", f"info {model} --json"]
    return always + ask.get(task, predict)


def test_every_command_that_uses_a_model_answers_the_same_without_torch(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    lines = [shlex.split(line) for name in NAMES for line in lines_of(name)]
    found = run_without_torch(COMMANDS, folder, json.dumps(lines))
    for line, (code, out, err) in zip(lines, found, strict=True):
        capsys.readouterr()
        assert main(line) == 0
        expected = capsys.readouterr().out
        assert (code, err) == (0, ""), line
        assert_alike(json.loads(out), json.loads(expected), " ".join(line))


def assert_alike(one: Any, other: Any, what: str) -> None:
    if isinstance(one, dict | list):
        assert type(one) is type(other), what
        assert len(one) == len(other), what
        keys = one if isinstance(one, dict) else range(len(one))
        for key in keys:
            assert_alike(one[key], other[key], f"{what} {key}")
    elif isinstance(one, float):
        assert one == pytest.approx(other, rel=1e-5, abs=1e-6), what
    else:
        assert one == other, what


TRAINING = """
import json
import tidegate

found = []
for train in (
    lambda: tidegate.TextClassifier(device="cuda").fit(["a", "b"] * 20, ["x", "y"] * 20),
    lambda: tidegate.LanguageModel(device="cuda").fit("a tide " * 99),
    lambda: tidegate.Forecaster().fit([[1.0]] * 99),
    lambda: tidegate.SequenceClassifier().fit([[1.0]] * 20, ["x", "y"] * 10),
    lambda: tidegate.SequenceRegressor(hidden_sizes=(-1,)).fit([[1.0]] * 20, [1.0] * 20),
    lambda: tidegate.load("classifier-0.safetensors").fit(["a", "b"] * 20, ["x", "y"] * 20),
):
    try:
        train()
    except tidegate.errors.InputError as e:
        found.append(str(e))
model = tidegate.load("classifier-0.safetensors").set_params(device="cuda")
model.predict(["a lovely film"])
try:
    model.network_
except ModuleNotFoundError as e:
    found.append(e.name)
print(json.dumps(found))
"""


def test_training_without_torch_names_it_and_predicting_for_a_gpu_needs_none(folder: Path) -> None:
    found = run_without_torch(TRAINING, folder)
    remedy = "install it with: pip install 'tidegate[train]'; a trained model predicts without it"
    for device, problem in zip(("cuda", "cuda", "auto", "auto"), found[:4], strict=True):
        expected = f"expected torch to train with on {device!r}, got none"
        assert problem == f"option device: {expected}; {remedy}"
    assert "hidden_sizes" in found[4]
    assert found[5].endswith(remedy)
    assert found[6] == "torch"


def test_loading_and_predicting_do_not_import_torch_where_it_is(folder: Path) -> None:
    code = (
        "import sys, tidegate; m = tidegate.load('classifier-0.safetensors'); "
        "m.predict(['a film']); m.evaluate(['a film'], ['positive']); "
        "print({'torch', 'torchmetrics'} & set(sys.modules))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "set()"
