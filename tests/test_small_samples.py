"""An accuracy from few texts is reported with how far it may be off."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import TINY, Tidegate

from tidegate.intervals import wilson


def test_one_validation_text_is_too_few_to_tell(tidegate: Tidegate) -> None:
    Path("three.csv").write_text("text,label\ngood film,a\nbad film,b\nvery good,a\n")
    columns = f"--text text --label label {TINY['classifier']}"
    told = tidegate(f"train classifier three.csv {columns} -o three.safetensors")
    assert told.code == 0, told.err
    (line,) = [line for line in told.out.splitlines() if "validation accuracy" in line]
    assert "(1 text: too few to tell; 95 % interval " in line
    again = "-o again.safetensors --run-folder again --json"
    figures = tidegate(f"train classifier three.csv {columns} {again}").json
    assert figures["too_few_to_tell"] is True
    assert figures["accuracy_interval"] == list(wilson(figures["accuracy"], 1))


@pytest.mark.parametrize("command", ["classifier", "series-classifier"])
def test_training_and_evaluating_tell_the_interval(
    tidegate: Tidegate,
    command: str,
) -> None:
    data, unit, columns = {
        "classifier": ("reviews.csv", "texts", "--text review --label sentiment"),
        "series-classifier": (
            "gestures.csv",
            "sequences",
            "--id gesture --time t --values x,y --label kind",
        ),
    }[command]
    options = f"{columns} {TINY[command]} --test-fraction 0.2 -o m.safetensors"
    told = tidegate(f"train {command} {data} {options}")
    assert told.code == 0, told.err
    count = {"texts": 8, "sequences": 4}[unit]
    (line,) = [line for line in told.out.splitlines() if "test accuracy" in line]
    assert f"({count} {unit}: too few to tell; 95 % interval " in line
    line = next(o for o in tidegate(f"evaluate m.safetensors {data}").out.splitlines()
                if o.startswith("accuracy"))  # fmt: skip
    assert f" {unit}: " in line
    assert "95 % interval" in line
    figures = tidegate(f"evaluate m.safetensors {data} --json").json
    assert figures["accuracy_interval"] == list(wilson(figures["accuracy"], figures["n"]))


def test_other_tasks_have_no_accuracy_to_tell_it_of(tidegate: Tidegate) -> None:
    line = f"train language-model book.txt {TINY['language-model']} --test-fraction 0.1 --json"
    assert "accuracy_interval" not in tidegate(line).json
