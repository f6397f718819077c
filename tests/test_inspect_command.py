"""``tidegate inspect``: what ``inspect`` gives in Python, as lines, JSON, arrays or a table."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from command_line import TINY, Tidegate

import tidegate as tg

MODEL = "reviews-text-classifier.safetensors"
TEXT = "'a lovely film'"


@pytest.fixture
def trained(tidegate: Tidegate) -> Tidegate:
    line = f"train classifier reviews.csv --text review --label sentiment {TINY['classifier']}"
    assert tidegate(f"{line} --cell lstm --verbose 0").code == 0
    Path("lines.txt").write_text("a lovely film\nfilm number 3\n")
    Path("one.txt").write_text("a lovely film\n")
    return tidegate


def test_each_gate_has_a_line_with_its_mean_and_its_shares(trained: Tidegate) -> None:
    outcome = trained(f"inspect {MODEL} lines.txt")
    assert outcome.code == 0
    first, *lines = outcome.out.splitlines()
    assert first == f"{MODEL}: 3 steps"
    found = tg.load(MODEL).inspect("a lovely film")
    assert [line.split()[0] for line in lines] == list(found.gates)
    for line, one in zip(lines, found.watched, strict=True):
        assert one.saturated is not None
        low, high = one.bounds
        assert f" {one.meaning} " in line
        assert f"mean {one.mean:7.3f}" in line
        assert f"{one.saturated[0]:.0%} near {low:g}" in line
        assert f"{one.saturated[1]:.0%} near {high:g}" in line


def test_a_text_may_stand_in_place_of_a_file_and_a_missing_file_is_none(trained: Tidegate) -> None:
    of_file, of_text = (trained(f"inspect {MODEL} {given}") for given in ("lines.txt", TEXT))
    assert of_text.out == of_file.out
    assert trained(f"predict {MODEL} {TEXT}").out == trained(f"predict {MODEL} one.txt").out
    for missing in ("''", "' '", "no.csv", "folder/no"):
        for command in ("inspect", "predict", "explain"):
            refused = trained(f"{command} {MODEL} {missing}")
            assert refused.code == 2
            assert "expected a" in refused.err


def test_a_row_of_a_table_or_of_lines_is_chosen_and_json_has_every_value(trained: Tidegate) -> None:
    model = tg.load(MODEL)
    for file, row, text in (
        ("lines.txt", 2, "film number 3"),
        ("reviews.csv", 3, None),
    ):
        said = trained(f"inspect {MODEL} {file} --row {row} --json").json
        text = text or Path(file).read_text().splitlines()[row].split(",")[0]
        found = model.inspect(text)
        assert said["steps"] == list(found.steps)
        for one, values in zip(said["gates"], found.gates.values(), strict=True):
            np.testing.assert_allclose(one["values"], values, rtol=1e-6)
    outcome = trained(f"inspect {MODEL} lines.txt --row 3")
    assert outcome.code == 2
    assert "option --row: expected 1 to 2, the inputs in the file, got 3; name one" in outcome.err


def test_every_value_is_written_as_arrays_or_as_a_table(trained: Tidegate) -> None:
    found = tg.load(MODEL).inspect("a lovely film")
    assert trained(f"inspect {MODEL} lines.txt -o gates.npz").code == 0
    with np.load("gates.npz") as held:
        assert held["steps"].tolist() == list(found.steps)
        assert set(held) == {"steps", *found.gates}
        for name, values in found.gates.items():
            np.testing.assert_array_equal(held[name], values)
    assert trained(f"inspect {MODEL} lines.txt -o gates.csv").code == 0
    rows = list(csv.DictReader(Path("gates.csv").read_text().splitlines()))
    assert [row["step"] for row in rows] == list(found.steps)
    for name, values in found.gates.items():
        written = [[float(row[f"{name}.{unit}"]) for unit in range(4)] for row in rows]
        np.testing.assert_allclose(written, values, rtol=1e-6)


def test_what_cannot_be_written_is_refused_before_the_work(trained: Tidegate) -> None:
    Path("gates.npz").write_text("mine")
    for output, problem in (
        ("gates.npz", "gates.npz: expected the name of a new file"),
        ("gates.xlsx", "expected a name that ends in .csv"),
        ("lines.txt", "the same file"),
    ):
        outcome = trained(f"inspect {MODEL} lines.txt -o {output}")
        assert outcome.code == 2
        assert problem in outcome.err
    assert Path("gates.npz").read_text() == "mine"
    assert trained(f"inspect {MODEL} lines.txt -o gates.npz --force").code == 0
