"""The command line: what it prints, where it writes, what it says when it cannot go on."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import EVENTS, STEPS, TINY, Outcome, Tidegate

import tidegate as tg
from tidegate.cli.evaluate import MEASURES
from tidegate.cli.predict import ANSWERS
from tidegate.data.source import PredictableSource
from tidegate.tasks import TASKS


def _trained(tidegate: Tidegate, task: str) -> Outcome:
    line = {
        "classifier": "train classifier reviews.csv --text review --label sentiment",
        "regressor": "train regressor graded.csv --text review --target stars",
        "language-model": "train language-model book.txt",
        "forecaster": "train forecaster load.csv --time date --target OT",
        "series-classifier": f"train series-classifier {STEPS} --label kind",
        "series-regressor": f"train series-regressor {STEPS} --target force",
        "series-tagger": f"train series-tagger {STEPS} --label phase",
        "tagger": "train tagger names.conll",
        "music": f"train music {EVENTS}",
    }[task]
    outcome = tidegate(f"{line} {TINY[task]} --json")
    assert outcome.code == 0, outcome.err
    return outcome


# what is trained, and used


def test_a_classifier_is_trained_evaluated_and_asked(
    tidegate: Tidegate, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = _trained(tidegate, "classifier").json
    model = trained["model"]
    assert model == "reviews-text-classifier.safetensors"
    assert {"accuracy", "parameters", "seconds", "steps", "validation"} <= set(trained)
    assert trained["steps"] == 4

    figures = tidegate(f"evaluate {model} test.csv --json").json
    assert {"accuracy", "macro_f1", "auroc", "n"} <= set(figures)
    assert figures["n"] == 40
    assert sum(map(sum, figures["confusion"])) == 40

    by_column = tidegate(f"predict {model} test.csv --json").json["predictions"]
    assert len(by_column) == 40
    assert sum(by_column[0]["probabilities"].values()) == pytest.approx(1)

    standard_input = io.TextIOWrapper(io.BufferedReader(io.BytesIO(b"a lovely film\n\nnot this\n")))
    monkeypatch.setattr("sys.stdin", standard_input)
    lines = tidegate(f"predict {model} -").out.splitlines()
    assert [line.split("\t")[2] for line in lines] == ["a lovely film", "", "not this"]
    assert {line.split("\t")[0] for line in lines} <= {"negative", "positive"}


def test_a_language_model_is_trained_evaluated_and_writes(tidegate: Tidegate) -> None:
    trained = _trained(tidegate, "language-model").json
    model = trained["model"]
    assert {"cross_entropy", "perplexity", "parameters", "seconds", "steps"} <= set(trained)

    figures = tidegate(f"evaluate {model} book.txt --json").json
    assert set(figures) == {"cross_entropy", "bits_per_character", "perplexity", "tokens"}
    assert figures["tokens"] == 999
    adapted = tidegate(f"evaluate {model} book.txt --adapt --json").json
    assert adapted["tokens"] == 999
    assert adapted["cross_entropy"] != figures["cross_entropy"]

    first = tidegate(f"generate {model} --prompt 'the cat' --length 30 --seed 3 --json").json
    assert len(first["text"]) == 30
    again = tidegate(f"generate {model} --prompt 'the cat' --length 30 --seed 3").out
    assert again == f"the cat{first['text']}\n"


def test_a_forecaster_is_trained_evaluated_and_forecasts(tidegate: Tidegate) -> None:
    trained = _trained(tidegate, "forecaster").json
    model = trained["model"]

    figures = tidegate(f"evaluate {model} load.csv --plot past.png --json").json
    assert Path("past.png").read_bytes().startswith(b"\x89PNG")
    names = {"mse", "mae", "mase", "smape"}
    wanted = {f"{of}{name}" for of in ("", "naive_", "seasonal_naive_") for name in names}
    assert wanted <= set(figures)

    answer = tidegate(f"forecast {model} load.csv --json --plot load.png -o next.csv").json
    assert len(answer["times"]) == len(answer["forecast"]["OT"]) == 6
    assert answer["times"][0].startswith("2024-01-15")
    assert Path("load.png").read_bytes().startswith(b"\x89PNG")
    assert Path("next.csv").read_text().splitlines()[0] == "date,OT"
    assert len(Path("next.csv").read_text().splitlines()) == 7


def test_a_series_classifier_is_trained_evaluated_and_asked(tidegate: Tidegate) -> None:
    trained = _trained(tidegate, "series-classifier").json
    model = trained["model"]
    assert {"accuracy", "cross_entropy", "baseline_accuracy", "parameters", "steps"} <= set(trained)
    assert trained["measured_on"] == "validation"

    refused = tidegate(f"evaluate {model} gestures.csv --adapt")
    assert refused.code == 2
    assert "--adapt: expected none for a series-classifier" in refused.err
    figures = tidegate(f"evaluate {model} gestures.csv --json").json
    assert {"accuracy", "macro_f1", "auroc", "n"} <= set(figures)
    assert sum(map(sum, figures["confusion"])) == figures["n"] == 20
    assert "true label" in tidegate(f"evaluate {model} gestures.csv").out

    answers = tidegate(f"predict {model} new.csv --json").json["predictions"]
    assert [answer["input"] for answer in answers] == [f"g{i}" for i in range(20)]
    assert sum(answers[0]["probabilities"].values()) == pytest.approx(1)
    lines = tidegate(f"predict {model} new.csv").out.splitlines()
    assert [line.split("\t")[0] for line in lines] == [answer["label"] for answer in answers]


def test_a_series_regressor_is_trained_evaluated_and_asked(tidegate: Tidegate) -> None:
    trained = _trained(tidegate, "series-regressor").json
    model = trained["model"]
    assert {"mse", "mae", "baseline_mse", "parameters", "steps"} <= set(trained)

    figures = tidegate(f"evaluate {model} gestures.csv --json").json
    own = {"mse", "rmse", "mae", "r2"}
    assert own | {f"mean_{name}" for name in own} | {"n"} == set(figures)
    assert " mean " in tidegate(f"evaluate {model} gestures.csv").out.splitlines()[0]

    answers = tidegate(f"predict {model} new.csv --json").json["predictions"]
    assert len(answers) == 20
    lines = tidegate(f"predict {model} new.csv").out.splitlines()
    assert lines[3].split("\t") == [str(answers[3]["value"]), "g3"]


def test_what_training_was_told_may_be_told_otherwise_later(tidegate: Tidegate) -> None:
    model = _trained(tidegate, "series-classifier").json["model"]
    renamed = Path("gestures.csv").read_text().replace("gesture,t,x,y,kind", "who,t,x,y,what")
    Path("renamed.csv").write_text(renamed)
    figures = tidegate(f"evaluate {model} gestures.csv --json").json
    assert tidegate(f"evaluate {model} renamed.csv").code == 2
    assert tidegate(f"evaluate {model} renamed.csv --id who --label what --json").json == figures


def test_a_wide_table_without_header_and_a_validation_file_of_another_kind(
    tidegate: Tidegate,
) -> None:
    rows = [[i % 7, 3 * i % 11, i % 5, i, i % 2] for i in range(20)]
    Path("digits.csv").write_text("\n".join(",".join(map(str, row)) for row in rows) + "\n")
    np.savez("more.npz", X=np.array(rows)[:, :4].reshape(20, 2, 2), y=np.arange(20) % 2)
    line = "train series-classifier digits.csv --no-header --label 5 --channels 2"
    trained = tidegate(f"{line} --validation more.npz {TINY['series-classifier']} --json")
    assert trained.code == 0, trained.err
    model = trained.json["model"]
    figures = tidegate(f"evaluate {model} digits.csv --json").json
    assert figures == tidegate(f"evaluate {model} more.npz --json").json


def test_info_tells_what_a_file_holds_without_torch(tidegate: Tidegate) -> None:
    model = _trained(tidegate, "classifier").json["model"]
    code = (
        "import sys; sys.modules['torch'] = None\n"
        f"from tidegate.cli import main; sys.exit(main(['info', {model!r}, '--json']))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    held = json.loads(run.stdout)
    assert held["architecture"]["hidden_sizes"] == [4]
    assert held["labels"] == ["negative", "positive"]
    assert held["provenance"]["data"] == "reviews.csv"
    shown = tidegate(f"info {model}").out
    assert "hidden sizes" in shown.split("differ from the defaults")[1]
    assert "learning rate" not in shown


def test_options_reach_the_model_as_typed(tidegate: Tidegate) -> None:
    tidegate(
        "train language-model book.txt -o m.safetensors --hidden-sizes 4,3 --clip-norm none "
        "--max-steps 2 --bptt 5 --learning-rate 1e-3 --lowercase --sample-steps 1"
    )
    options = tidegate("info m.safetensors --json").json["options"]
    assert options["hidden_sizes"] == [4, 3]
    assert options["clip_norm"] is None
    assert options["learning_rate"] == 1e-3
    assert options["lowercase"] is True
    assert options["sample_steps"] == [1]


def test_training_ends_with_figures_and_the_next_command(tidegate: Tidegate) -> None:
    outcome = tidegate(f"train language-model book.txt {TINY['language-model']} --sample-steps 2")
    assert outcome.code == 0, outcome.err
    assert "--- step 2, held-out perplexity" in outcome.out
    assert "validation perplexity" in outcome.out
    assert outcome.out.splitlines()[-1] == (
        "next:  tidegate generate book-language-model.safetensors --length 500"
    )
    assert Path("runs/book-language-model/curve.png").exists()
    assert Path("runs/book-language-model/metrics.csv").exists()


def test_json_stands_alone_on_stdout(tidegate: Tidegate) -> None:
    line = f"train language-model book.txt {TINY['language-model']} --sample-steps 2 --json"
    outcome = tidegate(line)
    assert len(outcome.out.splitlines()) == 1
    assert "step 2" in outcome.err


# runs


def test_a_run_is_not_overwritten_but_resumed(tidegate: Tidegate) -> None:
    _trained(tidegate, "language-model")
    line = f"train language-model book.txt {TINY['language-model']}"
    before = Path("runs/book-language-model/metrics.csv").read_text()
    refused = tidegate(line)
    assert refused.code == 2
    assert "--resume" in refused.err
    assert "--run-folder" in refused.err
    assert Path("runs/book-language-model/metrics.csv").read_text() == before

    longer = tidegate(line.replace("--max-steps 4", "--max-steps 6") + " --resume --json")
    assert longer.json["steps"] == 6


def test_an_interrupted_run_says_how_to_go_on(
    tidegate: Tidegate, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tidegate.training.language_modelling import LanguageModelling

    at_step = LanguageModelling.at_step

    def interrupt(self: Any, step: int, network: Any) -> str | None:
        if step == 3:
            raise KeyboardInterrupt
        return at_step(self, step, network)

    monkeypatch.setattr(LanguageModelling, "at_step", interrupt)
    line = f"train language-model book.txt {TINY['language-model']} --checkpoint-seconds 0"
    outcome = tidegate(line)
    assert outcome.code == 130
    assert outcome.err.splitlines()[-1] == f"interrupted; go on with: tidegate {line} --resume"
    assert not Path("book-language-model.safetensors").exists()
    monkeypatch.undo()


@pytest.mark.parametrize("task", ["language-model"])
def test_two_processes_train_one_model(tidegate: Tidegate, tmp_path: Path, task: str) -> None:
    line = f"train {task} book.txt {TINY[task]} --devices 2 --device cpu --json"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}

    def run(line: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "tidegate", *shlex.split(line)],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=environment,
            check=False,
        )

    both = run(line)
    assert both.returncode == 0, both.stderr
    assert json.loads(both.stdout)["steps"] == 4
    assert tidegate("info book-language-model.safetensors").code == 0
    alone = tidegate(f"{line.replace('--devices 2', '')} --resume")
    assert alone.code == 2
    assert "expected 2 processes, as when the run began, got 1; start as many" in alone.err
    followed = run(f"{line} --resume --max-steps 6")
    assert followed.returncode == 0, followed.stderr
    assert json.loads(followed.stdout)["steps"] == 6


def test_a_file_that_is_named_like_a_module_is_none_to_the_processes(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit(7)")
    code = "from tidegate.cli.processes import launch; print(launch(1, ['--version']))"
    launched = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert launched.stdout == f"{tg.__version__}\n0\n"


# what goes wrong


BAD = {
    "no such file": ("train language-model nothing.txt", "nothing.txt"),
    "empty file": ("train language-model empty.txt", "empty.txt"),
    "wrong encoding": ("train language-model latin1.txt", "latin1.txt, line 2"),
    "text too short": ("train language-model short.txt", "short.txt"),
    "missing column": (
        "train classifier reviews.csv --text revew --label sentiment",
        "review",
    ),
    "one class": ("train classifier one.csv --text review --label sentiment", "one.csv"),
    "no rows": ("train classifier header.csv --text review --label sentiment", "header.csv"),
    "ragged rows": ("train classifier ragged.csv --text review --label sentiment", "line 3"),
    "missing value": (
        "train forecaster gap.csv --time date --target OT --horizon 3",
        "gap.csv, line 4, column 'OT'",
    ),
    "no number": (
        "train forecaster words.csv --time date --target OT --horizon 3",
        "words.csv, line 3, column 'OT'",
    ),
    "series too short": (
        "train forecaster gap.csv --time date --target day --horizon 30",
        "gap.csv",
    ),
    "not a model": ("info reviews.csv", "reviews.csv"),
    "wrong task": ("predict m.safetensors -", "series-to-series, got a language-model"),
    "unknown option": ("train language-model book.txt --hiden 3", "--hiden"),
    "no number given": ("train language-model book.txt --epochs x", "option --epochs"),
    "out of bounds": ("train language-model book.txt --dropout 1.5", "option --dropout"),
    "unknown cell": ("train language-model book.txt --cell gruu", "gruu"),
    "no folder": ("train language-model book.txt -o there/m.safetensors", "there"),
    "nothing to resume": ("train language-model book.txt --resume", "resume"),
    "unknown command": ("tain", "train"),
    "bad temperature": ("generate m.safetensors --temperature -1", "temperature"),
    "another task's option": ("evaluate m.safetensors book.txt --start 3", "option --start"),
    "unseen label": ("evaluate c.safetensors unseen.csv", "unseen.csv, line 3"),
    "no column of labels": ("train series-classifier gestures.csv --id gesture", "--label COLUMN"),
    "labels for numbers": (
        "train series-regressor gestures.csv --id gesture --values x --target kind",
        "gestures.csv, line 2, column 'kind'",
    ),
    "a number that is none": (
        "train series-classifier gestures.csv --label kind --channels x",
        "option --channels",
    ),
}


@pytest.fixture
def bad_files(tidegate: Tidegate, tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "latin1.txt").write_bytes("plain\ncaf\xe9\n".encode("latin-1"))
    (tmp_path / "short.txt").write_text("a")
    (tmp_path / "one.csv").write_text("review,sentiment\na,good\nb,good\n")
    (tmp_path / "header.csv").write_text("review,sentiment\n")
    (tmp_path / "ragged.csv").write_text("review,sentiment\na,good\nb\n")
    (tmp_path / "gap.csv").write_text(
        "date,OT,day\n"
        + "\n".join(f"2024-01-{d:02},{'' if d == 3 else d},{d}" for d in range(1, 9))
    )
    (tmp_path / "words.csv").write_text("date,OT\n2024-01-01,1\n2024-01-02,many\n2024-01-03,3\n")
    (tmp_path / "unseen.csv").write_text("review,sentiment\na,positive\nb,middling\n")
    where = "--run-folder {0}-run -o {0}.safetensors --max-steps 1 --hidden-sizes 3"
    assert tidegate(f"train language-model book.txt {where.format('m')}").code == 0
    columns = "--text review --label sentiment"
    assert tidegate(f"train classifier reviews.csv {columns} {where.format('c')}").code == 0


@pytest.mark.usefixtures("bad_files")
def test_bad_input_gives_one_line_and_leaves_nothing(tidegate: Tidegate, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    wrong = []
    for case, (line, expected) in BAD.items():
        outcome = tidegate(line)
        one_line = re.fullmatch(r"error: [^\n]+\n", outcome.err)
        told = re.fullmatch(r"(run folder: [^\n]+\n)?", outcome.out)
        if not (outcome.code == 2 and one_line and told and expected in outcome.err):
            wrong.append((case, outcome))
        assert sorted(tmp_path.rglob("*")) == before, case
    assert wrong == []


@pytest.mark.usefixtures("tidegate")
def test_without_torch_a_command_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from tidegate.cli import main; sys.exit(main(['train', 'language-model', 'book.txt']))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert run.stderr == (
        "error: this command needs torch; install it with: pip install 'tidegate[train]'\n"
    )
    assert not Path("runs").exists()


def test_a_run_that_diverges_is_one_line_and_exit_code_1(tidegate: Tidegate) -> None:
    line = "train language-model book.txt --optimizer sgd --learning-rate 1e38 --clip-norm none"
    outcome = tidegate(f"{line} {TINY['language-model']} --schedule constant --warmup 0")
    assert outcome.code == 1
    assert re.fullmatch(r"error: .*step [^\n]+\n", outcome.err), outcome.err
    assert not Path("book-language-model.safetensors").exists()


def test_an_unexpected_failure_is_one_line_and_exit_code_1(
    tidegate: Tidegate, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> None:
        raise RuntimeError("a bug\nover two lines")

    monkeypatch.setattr("tidegate.model.checkpoint.load_model", fail)
    outcome = tidegate("info m.safetensors")
    assert outcome.code == 1
    assert outcome.err.startswith("error: RuntimeError: a bug over two lines")
    assert len(outcome.err.splitlines()) == 1
    assert "Traceback" in tidegate("--traceback info m.safetensors").err


def test_every_task_can_be_measured_and_each_with_answers_predicts() -> None:
    assert set(MEASURES) == set(TASKS)
    assert set(ANSWERS) == {n for n, t in TASKS.items() if issubclass(t.source, PredictableSource)}
