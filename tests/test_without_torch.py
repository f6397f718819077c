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
from command_line import EVENTS, HALVES, TINY, write_data

import tidegate as tg
from tidegate.cli import main
from tidegate.data.files.items import as_texts
from tidegate.data.sequences.inputs import as_sequences
from tidegate.data.series.series import Series
from tidegate.data.series.windows import Rows, Windows
from tidegate.runtime.batches import forecast_windows, outputs_of, step_outputs
from tidegate.runtime.mixture import follow, nothing_read
from tidegate.runtime.rolls import outputs_by_step
from tidegate.runtime.scoring import score
from tidegate.runtime.series_answers import places
from tidegate.runtime.tags import log_probabilities
from tidegate.tasks.pairs import as_pairs
from tidegate.training.judging import TorchReader, as_function
from tidegate.training.transduction import Transduction

# Each task with options that differ from their defaults, cells among them.
TRAINED = {
    "classifier": [
        "reviews.csv --text review --label sentiment",
        "reviews.csv --text review --label sentiment --cell lstm --hidden-sizes 5,4 --batch-norm "
        "--readout last --no-evidence --no-bidirectional",
        "reviews.csv --text review --label sentiment --cell lstm_projected --projection-size 2 "
        "--no-bidirectional --embeddings vectors.txt --embedding-size 3",
        "reviews.csv --text review --label sentiment --level char --cell rnn --readout max+last",
        "graded.csv --text review --label tags --labels-separator ;",
    ],
    "regressor": ["graded.csv --text review --target stars"],
    "language-model": [
        "book.txt",
        "book.txt --level word --tie-embeddings --cell lstm --no-counts",
        "book.txt --level bpe --vocabulary-size 270 --reverse --hidden-sizes 5,4 --batch-norm "
        "--no-counts",
        "book.txt --level word",
        "book.txt --level bpe --vocabulary-size 270 --reverse",
    ],
    "forecaster": [
        "load.csv --time date --target OT",
        "load.csv --time date --target OT,day --cell lstm --hidden-sizes 4,3 --batch-norm --joint",
    ],
    "series-classifier": [
        "gestures.csv --id gesture --time t --values x,y --label kind --no-evidence",
        "gestures.csv --id gesture --time t --values x,y --label kind --cell gru_reset_before "
        "--hidden-sizes 4,3 --batch-norm --segment 3 --recurrent-dropout 0.5 --no-evidence",
        "gestures.csv --id gesture --time t --values x,y --label kind --no-own-scale "
        "--no-bidirectional --segment 2 --cell gru_light --precision bfloat16 --no-evidence",
        "gestures.csv --id gesture --time t --values x,y --label kind",
    ],
    "music": [EVENTS, f"{EVENTS} --cell lstm --hidden-sizes 5,4 --batch-norm --no-repeats"],
    "series-regressor": [
        "gestures.csv --id gesture --time t --values x,y --target force --no-evidence",
        "gestures.csv --id gesture --time t --values x,y --target force",
    ],
    "series-tagger": [
        "gestures.csv --id gesture --time t --values x,y --label phase",
        "gestures.csv --id gesture --time t --values x,y --label phase --cell lstm "
        "--hidden-sizes 4,3 --batch-norm --no-bidirectional",
    ],
    "tagger": [
        "names.conll",
        "names.conll --no-crf --cell lstm_projected --hidden-sizes 5,4 --batch-norm "
        "--no-bidirectional --no-evidence",
        "names.conll --cell gru_light --letter-hidden-size 0",
    ],
    "seq2seq": [
        "pairs.tsv --source question --target answer",
        "pairs.tsv --source question --target answer --cell lstm --hidden-sizes 4,3 --batch-norm "
        "--level word --attention additive --beam 3",
        "pairs.tsv --source question --target answer --level bpe --vocabulary-size 270 "
        "--no-bidirectional --attention general",
    ],
    "series-to-series": [
        HALVES,
        f"{HALVES} --cell lstm --hidden-sizes 4,3 --batch-norm --attention additive",
    ],
}
SENTENCES = [["We", "met", "Anna", "Lee"], [], ["Zoë", "\u00dcbermorgen" * 9]]
SEVERAL = "classifier-4"  # labels of each text
MIXED = ["language-model-3", "language-model-4"]  # with counts
NAMES = [f"{task}-{k}" for task, lines in TRAINED.items() for k in range(len(lines))]

# Nothing can be imported but what 'pip install tidegate' brings; of the extras, what `also` names.
WITHOUT = """
import sys

class BaseAlone:
    base = {"tidegate", "_editable_skbc_tidegate", "numpy", "safetensors", "click", *ALSO}

    def find_spec(self, name, *_):
        name = name.partition(".")[0]
        if name[:1] != "_" and name not in self.base | sys.stdlib_module_names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, BaseAlone())
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
    (folder / "vectors.txt").write_text("lovely 0.5 -1 2\ndreadful -1 0.25 1\nfilm 0 1 1\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for task, lines in TRAINED.items():
            for k, line in enumerate(lines):
                options = f"--verbose 0 -o {task}-{k}.safetensors {TINY[task]}"
                assert main(["train", task, *shlex.split(f"{options} {line}")]) == 0
    return folder


def run_without_torch(
    code: str, folder: Path, *arguments: str, also: tuple[str, ...] = ("tokenizers",)
) -> Any:
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"ALSO = {also!r}\n{WITHOUT}{code}", *arguments],
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
    elif name.startswith("regressor"):
        found[name] = model.predict(told["texts"]).tolist()
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
    elif name.startswith("tagger"):
        found[name] = [p.tolist() for p in model.predict_log_proba(told["sentences"])]
    elif name.startswith("music"):
        found[name] = [p.tolist() for p in model.predict_proba(told["baskets"])]
        found[name].append(model.generate(told["baskets"][:1], 12, seed=3).tolist())
    elif name.startswith("seq2seq"):
        texts = told["texts"]
        figures = model.evaluate(texts, texts[::-1])
        found[name] = [model.predict(texts), figures["cross_entropy"]]
    elif name.startswith("series-to-series"):
        found[name] = [a.tolist() for a in model.predict([s[:, :1] for s in sequences])]
    elif name.startswith("series-tagger"):
        found[name] = [p.tolist() for p in model.predict_log_proba(sequences)]
    elif "classifier" in name:
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
        "sentences": SENTENCES,
        "prompt": PROMPT,
        "baskets": [[["tea"], ["milk", "tea"], ["bread"]], [["bread", "milk"]] * 5],
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
        tokens = model._tokens(given["book"])
        theirs = score(TorchReader(network), tokens, opening, model.counts_)
        assert entropy == pytest.approx(theirs.cross_entropy, rel=1e-5)
        return
    if model.TASK == "forecaster":
        w, rows = model.windowing_, len(given["series"])
        times = np.datetime64("2030-01-01T00", "s") + 3600 * np.arange(rows)
        values = np.array(given["series"])[:, : len(w.names)]
        series = Series.of(times, values, names=w.names)
        windows = Windows(w, Rows(series.values, series.covariates), np.array([rows - w.context]))
        expected = forecast_windows(run, windows)[0]
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
        return
    if model.TASK in ("tagger", "series-tagger"):
        asked = SENTENCES if model.TASK == "tagger" else SEQUENCES
        outputs = step_outputs(run, model.encode(asked), len(model.classes_))
        expected = log_probabilities(outputs, model.transitions_)
        for ours, theirs in zip(found, expected, strict=True):
            ours = np.array(ours).reshape(theirs.shape)
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)
        return
    if model.TASK == "music":
        rolls = model._aligned(given["baskets"])
        outputs = outputs_by_step(run, model.inputs_of(rolls), 3)
        for one, other in zip(found, outputs, strict=False):
            np.testing.assert_allclose(one, 1 / (1 + np.exp(-other)), rtol=1e-5, atol=1e-5)
        assert found[2] == model.generate(given["baskets"][:1], 12, seed=3).tolist()
        return
    if model.TASK == "sequence-to-sequence":
        written, entropy = found
        assert written == model.predict(TEXTS)
        pairs = model._tokens(as_pairs(TEXTS, TEXTS[::-1]))
        theirs = Transduction(network, pairs, pairs, batch_size=4, seed=0, sampling=0, rare=None)
        assert entropy == pytest.approx(theirs.evaluate(network)["cross_entropy"], rel=1e-5)
        return
    if model.TASK == "series-to-series":
        for sequence, ours in zip(SEQUENCES, found, strict=True):
            read = torch.from_numpy(model.sources_read([sequence[:, :1]])[0])[:, None]
            steps = torch.from_numpy(places(len(ours), network.architecture.target.input_size))
            outputs = network(read, torch.tensor([len(read)]), steps[:, None])[:, 0, :-1]
            expected = model.target_.inverse(outputs.detach().numpy().astype(np.float64))
            np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-5)
        return
    if model.TASK in ("text-classifier", "text-regressor"):
        outputs = outputs_of(run, model.encode(as_texts(TEXTS)), model.kind_.outputs)
    else:
        read = model._read(as_sequences(SEQUENCES, 2))
        outputs = outputs_of(run, read, network.architecture.output_size)
    if model.TASK in ("series-regressor", "text-regressor"):
        expected = model.target_.inverse(outputs.astype(np.float64))[:, 0]
    elif model.TASK == "text-classifier" and hasattr(model.kind_, "thresholds"):
        expected = torch.nn.functional.logsigmoid(torch.from_numpy(outputs)).numpy()
    else:
        expected = torch.log_softmax(torch.from_numpy(outputs), 1).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


SCORING = ("sacrebleu", "regex", "portalocker", "tabulate", "lxml", "colorama")
DRAWING = (
    "matplotlib",
    "PIL",
    "cycler",
    "dateutil",
    "six",
    "kiwisolver",
    "packaging",
    "pyparsing",
    "mpl_toolkits",
    "contourpy",
    "fontTools",
)
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
    "regressor": "graded.csv",
    "language-model": "book.txt",
    "forecaster": "load.csv",
    "series-classifier": "gestures.csv",
    "series-regressor": "gestures.csv",
    "series-tagger": "gestures.csv",
    "tagger": "names.conll",
    "music": "baskets.csv",
    "seq2seq": "pairs.tsv",
    "series-to-series": "halves.csv",
}


def lines_of(name: str) -> list[str]:
    task, model = name.rpartition("-")[0], f"{name}.safetensors"
    file = "graded.csv" if name == SEVERAL else DATA[task]
    ask = {
        "language-model": [f"generate {model} --seed 4 --length 20 --json"],
        "music": [f"generate {model} --seed 4 --length 20 --json --prompt baskets.csv"],
        "forecaster": [
            f"forecast {model} {DATA[task]} --json",
        ],
    }
    predict = [f"predict {model} {file} --json"]
    always = [f"evaluate {model} {file} --json", f"info {model} --json"]
    always.append(f"inspect {model} {file} --json")
    if task in ("classifier", "regressor"):
        always.append(f"explain {model} 'a lovely film' --json")
    return always + ask.get(task, predict)


def test_every_command_that_uses_a_model_answers_the_same_without_torch(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    lines = [shlex.split(line) for name in NAMES for line in lines_of(name)]
    # the one that draws needs what draws
    lines_that_draw = [
        shlex.split(f"forecast {name}.safetensors load.csv --plot {name}.png --force --json")
        for name in NAMES
        if name.startswith("forecaster")
    ]
    also = ("tokenizers", *SCORING)  # else figures would lack those of sacrebleu
    found = run_without_torch(COMMANDS, folder, json.dumps(lines), also=also)
    found += run_without_torch(COMMANDS, folder, json.dumps(lines_that_draw), also=DRAWING)
    lines += lines_that_draw
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
    lambda: tidegate.MusicModel().fit([[["tea"], ["milk"]]] * 9),
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
    for device, problem in zip(("cuda", "cuda", "auto", "auto", "auto"), found, strict=False):
        expected = f"expected torch to train with on {device!r}, got none"
        assert problem == f"option device: {expected}; {remedy}"
    assert "hidden_sizes" in found[5]
    assert found[6].endswith(remedy)
    assert found[7] == "torch"


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


GUARD = """
import json
import tidegate

assert "numpy" not in sys.modules
model = tidegate.load("classifier-2.safetensors")
model.predict(["a film"])
model.evaluate(["a film"], ["positive"])
sequences = tidegate.load("series-classifier-2.safetensors")
sequences.stream().feed([[0.0, 1.0], [0.5, 2.0]])
loaded = {name.partition(".")[0] for name in sys.modules if not name.startswith("_")}
print(json.dumps(sorted(loaded - set(sys.stdlib_module_names))))
"""


def test_prediction_imports_numpy_and_safetensors_alone(folder: Path) -> None:
    assert run_without_torch(GUARD, folder, also=()) == ["numpy", "safetensors", "tidegate"]


def test_without_polars_a_format_that_needs_it_says_what_to_install(folder: Path) -> None:
    (folder / "test.parquet").write_bytes(b"PAR1")
    line = ["predict", "classifier-0.safetensors", "test.parquet"]
    ((code, _, err),) = run_without_torch(COMMANDS, folder, json.dumps([line]))
    assert code == 2
    assert "this command needs polars; install it with: pip install 'tidegate[train]'" in err


STREAMED = """
import json
import numpy as np
import tidegate

found = []
told = json.loads(sys.argv[1])
for name, pieces in told.items():
    stream = tidegate.load(f"{name}.safetensors").stream()
    for piece in pieces:
        answer = stream.feed(piece)
    found.append(getattr(answer, "probabilities", answer).tolist())
print(json.dumps(found))
"""


def test_streams_without_torch_answer_as_the_model_does(folder: Path) -> None:
    rows = np.random.default_rng(1).standard_normal((30, 2)).cumsum(0)
    pieces: dict[str, list[Any]] = {
        "classifier-1": ["a lovely film", "number 3 ,"],
        "classifier-2": ["dreadful", "unheard of"],
        "language-model-3": ["the cat sat\nthe ", "dog"],
        "forecaster-1": [rows[:20].tolist(), rows[20:].tolist()],
        "series-classifier-2": [rows[:5].tolist(), rows[5:].tolist()],
        "music-1": [[["tea"], ["bread", "milk"]], [["milk"]]],
    }
    found = run_without_torch(STREAMED, folder, json.dumps(pieces))
    for (name, given), answer in zip(pieces.items(), found, strict=True):
        model: Any = tg.load(folder / f"{name}.safetensors")
        if name.startswith("classifier"):
            expected = model.predict_proba([" ".join(given)])[0]
        elif name.startswith("series"):
            expected = model.predict_proba([rows])[0]
        elif name.startswith("music"):
            expected = model.predict_proba([[*given[0], *given[1], ["tea"]]])[0][-1]
        elif name.startswith("forecaster"):
            times = np.datetime64("2030-01-01T00", "s") + 3600 * np.arange(len(rows))
            expected = model.predict(Series.of(times, rows, names=model.windowing_.names))
        else:
            read = model.encoder_.encode_prompt("".join(given))
            recent = nothing_read(1)
            follow(recent[0], read)
            logits = model.runtime_(read[:, None])[-1]
            expected = np.exp(model.counts_.log_probabilities(logits, recent)[0])
        np.testing.assert_allclose(answer, expected, rtol=1e-5, atol=1e-5)
