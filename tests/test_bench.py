"""Benchmarks: ratios of made-up times, equal results before any time, reports, a run of seconds."""

from __future__ import annotations

import hashlib
import json
import shlex
import subprocess
import sys
import threading
import time
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tidegate.bench import report
from tidegate.bench.catalogue import FIGURES, LIBRARIES
from tidegate.bench.figures import CASES, Choice
from tidegate.bench.hosts import Hosts
from tidegate.bench.onednn import fraction_of_peak
from tidegate.bench.run import as_json
from tidegate.bench.shapes import (
    MODES,
    SHAPES,
    Shape,
    drawn_shapes,
    least_bytes,
    operations,
    parse_shape,
)
from tidegate.bench.summary import ratios, summarise
from tidegate.bench.timing import in_turns, seconds_per_call
from tidegate.bench.torch_contestants import torch_nn
from tidegate.bench.work import LayerWork, Prepared, layer_work, random_lengths, step_work
from tidegate.cells import NAMES
from tidegate.cli import main
from tidegate.errors import InputError

REPOSITORY = Path(__file__).resolve().parents[1]
TINY = Shape(3, 5, 4, 8)


def _row(ratios: dict[str, float], **others: Any) -> dict[str, Any]:
    row = {"figure": "layers", "cell": "gru", "mode": "training", "shape": list(TINY), "turns": 5}
    return {**row, "seconds": {"tidegate": [0.1, 0.1, 0.1]}, "ratios": ratios, **others}


# from times to ratios


def test_a_ratio_is_of_medians_and_torch_is_the_faster_of_its_two_ways() -> None:
    seconds = {
        "tidegate": [2.0, 1.0, 9.0],
        "torch": [8.0, 1.0, 9.0],
        "torch-flushed": [6.0, 5.0, 7.0],
        "onnxruntime": [1.0, 1.0, 1.0],
    }
    assert ratios(seconds) == {"torch": 3.0, "onnxruntime": 0.5}
    del seconds["torch-flushed"]
    assert ratios(seconds)["torch"] == 4.0


def test_a_summary_has_the_geometric_mean_and_the_least_of_its_own_rows() -> None:
    rows = [
        _row({"torch": 2.0}),
        _row({"torch": 8.0, "onednn": 0.5}),
        _row({"torch": 100.0}, mode="inference"),
        _row({"torch": 100.0}, figure="ragged"),
    ]
    first, second, *_ = summarise(rows)
    assert first[:4] == ("layers", "gru", "training", "torch")
    assert (first.mean, first.least, first.count) == (pytest.approx(4.0), 2.0, 2)
    assert (second.peer, second.mean, second.count) == ("onednn", 0.5, 1)
    assert len(summarise(rows)) == 4


def test_a_tenth_of_the_rows_of_a_summary_are_below_its_decile() -> None:
    (summary,) = summarise(_row({"torch": 1 + number / 10}) for number in range(11))
    assert (summary.decile, summary.least) == (pytest.approx(1.1), 1.0)


@pytest.mark.parametrize(("cell", "gates"), [("rnn", 1), ("gru", 3), ("lstm", 4)])
def test_operations_are_those_of_the_products_and_training_has_thrice_as_many(
    cell: str, gates: int
) -> None:
    x, weight = np.ones((5, 3, 4 + 8)), np.ones((4 + 8, gates * 8))
    assert operations(cell, TINY, "inference") == 2 * (x @ weight).size * (4 + 8)
    assert operations(cell, TINY, "training") == 3 * operations(cell, TINY, "inference")


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_least_bytes_are_those_of_the_arrays_of_a_work(cell: str) -> None:
    work = layer_work(cell, TINY, "training")
    assert work.grad is not None
    arrays = [work.x, work.grad, *work.weights.values()]  # grad is of y's size
    assert least_bytes(cell, TINY, "inference") == sum(a.nbytes for a in arrays)


def test_a_yardsticks_shapes_are_all_timed() -> None:
    known = [s for s in SHAPES if fraction_of_peak("gru", s, "training") is not None]
    assert len(known) == 7
    assert all(0 < (fraction_of_peak("lstm", s, m) or 0) < 1 for s in known for m in MODES)
    assert fraction_of_peak("rnn", known[0], "training") is None


@pytest.mark.parametrize("text", ["64x200x128", "0x1x1x1", "axbxcxd", "1x-1x1x1", ""])
def test_a_shape_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="option shapes: expected BxTxIxH"):
        parse_shape(text)


def test_a_shape_is_read_as_it_is_written() -> None:
    assert [parse_shape(str(s)) for s in SHAPES] == list(SHAPES)


def test_a_seed_draws_its_own_shapes_of_small_and_large_sizes_alike() -> None:
    drawn, again, other = (list(islice(drawn_shapes(seed), 200)) for seed in (1, 1, 2))
    assert drawn == again != other
    sizes = np.array(drawn)
    assert (sizes.min(0) >= (1, 5, 1, 8)).all()
    assert (sizes.max(0) <= (256, 500, 512, 512)).all()
    middle = np.sqrt([256, 5 * 500, 512, 8 * 512])  # of the logarithms
    assert ((sizes < middle).mean(0) > 0.35).all()
    assert ((sizes > middle).mean(0) > 0.25).all()  # the largest together would take too long


# taking turns


def test_contestants_take_turns_in_changing_order() -> None:
    called: list[str] = []

    def timed(name: str):
        def run(calls: int) -> float:
            called.append(name)
            assert calls == 1  # 0.2 s is a turn by itself
            return 0.2

        return run

    spreads, turns = in_turns({name: timed(name) for name in "abc"}, turns=6)
    rounds = [tuple(called[i : i + 3]) for i in range(3, len(called), 3)]
    assert turns == 6 == len(rounds)
    assert all(sorted(r) == ["a", "b", "c"] for r in rounds)
    assert len(set(rounds)) > 1
    assert spreads == dict.fromkeys("abc", [0.2, 0.2, 0.2])


def test_a_short_call_is_repeated_within_a_turn_and_turns_have_bounds() -> None:
    asked: list[int] = []

    def timed(calls: int) -> float:
        asked.append(calls)
        return 1e-4

    _, turns = in_turns({"a": timed}, seconds=1e-9)
    assert asked == [1] + [100] * turns  # how long one call takes, then turns
    assert turns == 5
    assert in_turns({"a": timed}, seconds=1e9)[1] == 25


def test_a_turn_begins_with_a_call_that_is_not_timed() -> None:
    called: list[float] = []

    def call() -> None:
        time.sleep(0.0 if called else 0.2)
        called.append(0.0)

    for calls in (1, 2):
        called.clear()
        assert seconds_per_call(call, calls) < 0.1
        assert len(called) == calls + 1


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads' states are Linux's")
def test_a_turn_ends_when_no_other_thread_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidegate.bench.timing._LONGEST_WAIT_S", 60.0)
    # a second and more in C, without the interpreter's lock
    work = "sha256", b"", b"", 3_000_000
    thread = threading.Thread(target=hashlib.pbkdf2_hmac, args=work)
    thread.start()
    seconds_per_call(lambda: time.sleep(0.02), 1)
    thread.join(timeout=0.1)  # it may still wait for the lock
    ended = not thread.is_alive()
    thread.join()
    assert ended


# other libraries' weights


def _peer(name: str) -> str:
    if missing := LIBRARIES[name].missing:
        pytest.skip(f"{' and '.join(missing)} not installed")
    return name


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_onnx_runtime_computes_what_torch_does(cell: str) -> None:
    _peer("onnxruntime")
    for work in (layer_work(cell, TINY, "inference"), step_work(cell, Shape(1, 1, 4, 8))):
        with Hosts(1) as hosts:
            theirs, timed = hosts.prepare("onnxruntime", work)
        for name, expected in torch_nn(work).results().items():
            np.testing.assert_allclose(theirs[name], expected, atol=1e-6)
        assert timed(2) > 0


@pytest.mark.parametrize("peer", ["keras-jax", "keras-torch"])
def test_keras_computes_what_torch_does(peer: str) -> None:
    with Hosts(1) as hosts:
        for cell in ("gru", "lstm"):
            work = layer_work(cell, TINY, "training")
            theirs, timed = hosts.prepare(_peer(peer), work)
            expected = torch_nn(work).results()
            np.testing.assert_allclose(theirs["y"], expected["y"], atol=1e-6)
            np.testing.assert_allclose(theirs["d_x"], expected["d_x"], atol=1e-5)
            assert timed(2) > 0


# contestants


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_our_engine_on_numpy_arrays_agrees_with_torch(cell: str) -> None:
    for work in (layer_work(cell, TINY, "inference"), step_work(cell, Shape(2, 1, 4, 8))):
        with Hosts(1) as hosts:
            ours, timed = hosts.prepare("tidegate-numpy", work)
            assert timed(2) > 0
        for name, expected in torch_nn(work).results().items():
            np.testing.assert_allclose(ours[name], expected, atol=1e-6)
    with Hosts(1) as hosts, pytest.raises(RuntimeError, match="only infers, got LayerWork"):
        hosts.prepare("tidegate-numpy", layer_work(cell, TINY, "training"))


def test_our_engine_on_numpy_arrays_runs_where_torch_is_not_imported() -> None:
    code = (
        "import sys\nfrom tidegate.bench.numpy_contestant import prepare\n"
        "from tidegate.bench.work import Shape, layer_work\n"
        "prepare(layer_work('gru', Shape(3, 5, 4, 8), 'inference')).call()\n"
        "print('torch' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "False\n"


def test_torchs_packed_ways_agree_with_our_ragged_one() -> None:
    full = layer_work("gru", Shape(5, 7, 4, 8), "training")
    work = replace(full, lengths=random_lengths(Shape(5, 7, 4, 8)))
    with Hosts(1) as hosts:
        ours, *theirs = (
            hosts.prepare(name, work)[0] for name in ("tidegate", "torch", "torch-packed")
        )
    for results in theirs:
        assert set(results) == set(ours)
        for name, expected in ours.items():
            np.testing.assert_allclose(results[name], expected, atol=1e-5, err_msg=name)


def test_a_process_of_its_own_flushes_denormals_and_says_what_went_wrong_in_it() -> None:
    work = layer_work("gru", TINY, "inference")
    with Hosts(1) as hosts:
        results, timed = hosts.prepare("torch-flushed", work)
        np.testing.assert_array_equal(results["y"], torch_nn(work).results()["y"])
        assert timed(1) > 0
        with pytest.raises(RuntimeError, match="torch-flushed: InputError: expected a cell"):
            hosts.prepare("torch-flushed", replace(work, cell="no such cell"))
        assert hosts.prepare("torch-flushed", work)[1](1) > 0  # and goes on


def test_every_figure_named_has_its_cases_with_ours_first() -> None:
    assert list(CASES) == list(FIGURES)
    choice = Choice(["rnn", "gru", "lstm"], [TINY], list(LIBRARIES))
    for figure, made in CASES.items():
        for case in made(choice):
            assert case.figure == figure
            assert next(iter(case.contestants)) == "tidegate"
            if case.cell == "rnn":
                assert not {"onnxruntime", "keras-jax", "keras-torch"} & set(case.contestants)


def test_every_fourth_of_the_random_shapes_is_ragged_for_every_library() -> None:
    shapes = [TINY, Shape(4, 6, 3, 9)] * 4
    cases = list(CASES["random"](Choice(["gru"], shapes, list(LIBRARIES), seed=3)))
    padded = [number for number, case in enumerate(cases) if case.padding is not None]
    assert padded == [6, 7, 14, 15]  # two modes each
    work = cases[6].contestants["tidegate"][1]
    assert isinstance(work, LayerWork)
    with Hosts(1) as hosts:
        ours, *others = (
            hosts.prepare(name, work)[0]["y"] for name in ("tidegate", "torch", "onnxruntime")
        )
    for theirs in others:
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


# reports


def _results() -> dict[str, Any]:
    about = {
        "date": "2024-02-29",
        "processor": "A processor",
        "isa": "avx2",
        "threads": 4,
        "versions": {"torch": "2.0+cpu", "onnxruntime": "1.0"},
        "peak_operations_per_second": 1e11,
        "bandwidth_bytes_per_second": 1e10,
    }
    rows = [
        _row({"torch": 2.0, "onednn": 1.25}),
        _row({"torch": 8.0}),
        _row({"torch": 3.0, "onnxruntime": 0.75}, mode="inference"),
        _row({"padded": 1.5}, figure="ragged", padding=2.0),
        _row({"torch": 7.0}, figure="step", seconds={"tidegate": [2e-6, 1e-6, 3e-6]}),
    ]
    return {"machine": about, "rows": rows}


def test_the_report_shows_means_and_least_per_peer() -> None:
    text = report.block(_results())
    assert "| torch.nn | **4.00** (2.00) | **3.00** |" in text
    assert "| ONNX Runtime |  | **0.75** |" in text
    assert "2.00 times the steps | **1.50** |" in text
    assert "| 2.0 µs |" in text
    assert "is slower in 1 of these 5 comparisons" in text
    assert "GRU inference 3x5x4x8, ONNX Runtime 0.75." in " ".join(text.split())
    assert "avx2, 4 threads, a large product at 100 GF/s, 2024-02-29;" in " ".join(text.split())
    assert all(len(line) <= 100 for line in text.splitlines() if not line.startswith("|"))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with made-up results and a page that has room for them."""
    for path in (report.RESULTS, report.ROOFLINE):
        (tmp_path / path).parent.mkdir(parents=True)
    (tmp_path / report.RESULTS).write_text(as_json(_results()))
    (tmp_path / report.PAGE).write_text("# Title\n<!-- bench -->\n<!-- /bench -->\nrest\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_report_is_the_same_every_time_and_knows_when_it_is_stale(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report.main(["--check"]) == 1
    assert "python -m tidegate.bench.report" in capsys.readouterr().err
    files = [folder / report.PAGE, folder / report.ROOFLINE]
    assert report.main([]) == 0
    first = [file.read_bytes() for file in files]
    assert report.main(["--check"]) == 0
    assert report.main([]) == 0
    assert [file.read_bytes() for file in files] == first
    assert first[0].startswith(b"# Title\n")
    assert first[0].endswith(b"<!-- /bench -->\nrest\n")
    assert b"<svg" in first[1]


def test_the_readme_shows_the_results_that_are_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    assert report.main(["--check"]) == 0


# the command

_LINE = shlex.split("bench --figures layers --cells gru --shapes 3x5x4x8 --repeats 1 --peers torch")


def test_a_run_writes_its_rows_and_prints_what_it_writes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "layers.json"
    assert main([*_LINE, "--json", "--output", str(output)]) == 0
    captured = capsys.readouterr()
    written = json.loads(output.read_text())
    assert json.loads(captured.out) == written
    about = written["machine"]
    assert about["versions"]["torch"]
    assert about["processor"]
    assert about["peak_operations_per_second"] > 0
    assert about["bandwidth_bytes_per_second"] > 0
    assert [row["mode"] for row in written["rows"]] == ["inference", "training"]
    for row in written["rows"]:
        assert (row["figure"], row["cell"], row["shape"]) == ("layers", "gru", list(TINY))
        assert row["turns"] == 1
        assert set(row["seconds"]) == {"tidegate", "torch"}
        assert row["ratios"] == ratios(row["seconds"])
        assert 0 < row["fraction_of_peak"] < 1
        assert all(least <= median <= most for median, least, most in row["seconds"].values())
    assert len(captured.err.splitlines()) == 4  # machine, limits, two rows
    assert report.block(written).count("| torch.nn |") == 1


def test_a_peer_that_is_not_installed_is_left_out_with_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    absent = replace(LIBRARIES["onnxruntime"], packages=("no_such_package",))
    monkeypatch.setitem(LIBRARIES, "onnxruntime", absent)
    line = [*_LINE[:-1], "onnxruntime", "--figures", "step"]
    assert main(line) == 0
    out = capsys.readouterr().out
    assert out.startswith("onnxruntime: left out, not installed: no_such_package\npip install")
    assert "step   gru" in out


def test_libraries_that_disagree_are_not_timed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = replace(LIBRARIES["torch"], prepare="test_bench:slightly_wrong")
    monkeypatch.setitem(LIBRARIES, "torch", wrong)
    assert main(_LINE) == 1
    error = capsys.readouterr().err
    assert "layers gru 3x5x4x8 inference: expected y of torch within 0.0001 of ours" in error


def slightly_wrong(work: Any) -> Prepared:
    prepared = torch_nn(work)
    return Prepared(prepared.call, lambda: {"y": prepared.results()["y"] * 1.01})


@pytest.mark.parametrize(
    ("option", "value", "problem"),
    [
        ("--figures", "layer", "option --figures: expected some of layers, numpy"),
        (
            "--cells",
            "gru,elman",
            f"option --cells: expected some of {', '.join(NAMES)}, got 'elman'",
        ),
        ("--peers", "tensorflow", "option --peers: expected some of"),
        ("--shapes", "64", "option --shapes: expected BxTxIxH"),
        ("--output", "there/layers.json", "there/layers.json: expected a folder"),
    ],
)
def test_a_choice_that_is_none_is_refused_in_one_line(
    option: str, value: str, problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*_LINE, option, value]) == 2
    assert capsys.readouterr().err.startswith(f"error: {problem}")


def test_help_imports_neither_torch_nor_a_peer() -> None:
    code = (
        "import sys; from tidegate.cli import main; main(['bench', '--help'])\n"
        "print({'torch', 'numpy', 'onnx', 'onnxruntime', 'keras', 'jax'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "tidegate bench --figures layers" in run.stdout
    assert run.stdout.splitlines()[-1] == "set()"
