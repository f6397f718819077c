"""A training state whose digest is right and whose contents are not: refused, never used."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import TINY, Tidegate
from tiny_objective import TinyObjective

from tidegate.errors import options_as_flags
from tidegate.model.checkpoint import ModelFileError
from tidegate.model.container import pack, unpack
from tidegate.training.loop import fit
from tidegate.training.options import LEARNING_RATES, TrainingOptions
from tidegate.training.state import remedy

OPTIONS: dict[str, Any] = {"max_steps": 10, "evaluate_every": 3, "average": 0.9}
Tensors = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a run with an optimiser, stopped at step 10 of 7 in an epoch."""
    made: dict[str, Path] = {}

    def run(optimizer: str) -> Path:
        if optimizer not in made:
            made[optimizer] = tmp_path_factory.mktemp(optimizer)
            options = TrainingOptions(
                **OPTIONS, optimizer=optimizer, run_folder=made[optimizer], verbose=0
            )
            fit(TinyObjective(), options)
        return made[optimizer]

    return run


def resumed(folder: Path, optimizer: str = "adamw", **changed: Any) -> None:
    options = {**OPTIONS, "max_steps": 12, "optimizer": optimizer, "resume": True, **changed}
    fit(TinyObjective(), TrainingOptions(run_folder=folder, verbose=0, **options))


def held(folder: Path) -> tuple[Tensors, dict[str, Any]]:
    tensors, text = unpack(folder / "state.safetensors", lambda *_: None, "")
    return tensors, json.loads(text)


def copied(tmp_path: Path, tensors: Tensors, values: Any) -> Path:
    (tmp_path / "state.safetensors").write_bytes(pack(tensors, json.dumps(values)))
    (tmp_path / "metrics.csv").write_text("step\n3\n")
    return tmp_path


def refused(folder: Path, optimizer: str = "adamw") -> str:
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    with pytest.raises(ModelFileError) as failure:
        resumed(folder, optimizer)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before, "something was written"
    message = str(failure.value)
    assert message.endswith(remedy())
    assert len(message) < 500 + len(str(folder))
    return message


def test_the_copied_state_itself_resumes(stopped: Callable, tmp_path: Path) -> None:
    resumed(copied(tmp_path, *held(stopped("adamw"))))


@pytest.mark.parametrize("optimizer", list(LEARNING_RATES))
def test_a_weight_without_its_moments_is_refused(
    stopped: Callable, tmp_path: Path, optimizer: str
) -> None:
    tensors, values = held(stopped(optimizer))
    of_one = {n: a for n, a in tensors.items() if not n.startswith("optimizer.dense.bias/")}
    if len(of_one) < len(tensors):  # sgd without momentum has none
        found = refused(copied(tmp_path, of_one, values), optimizer)
        assert "got or missed 'optimizer.dense.bias/" in found


@pytest.mark.parametrize("optimizer", list(LEARNING_RATES))
def test_swapped_tensors_of_any_optimiser_are_refused(
    stopped: Callable, tmp_path: Path, optimizer: str
) -> None:
    tensors, values = held(stopped(optimizer))
    names = [n for n in tensors if n.startswith("optimizer.") and tensors[n].ndim]
    for one in names[1:]:
        other = names[0]
        if tensors[one].shape != tensors[other].shape:
            swapped = tensors | {one: tensors[other], other: tensors[one]}
            assert "expected float32" in refused(copied(tmp_path, swapped, values), optimizer)


def test_embedding_with_a_shared_moment_resumes_and_is_checked(tmp_path: Path) -> None:
    import tidegate as tg

    def model(**changed: Any) -> tg.TextClassifier:
        given = {"run_folder": tmp_path, "verbose": 0, "evaluate_every": 2}
        return tg.TextClassifier(**{**given, "hidden_sizes": (3,), "embedding_size": 4, **changed})

    texts, labels = ["good film", "bad film"] * 10, ["a", "b"] * 10
    model(max_steps=3).fit(texts, labels)
    tensors, values = held(tmp_path)
    model(max_steps=4, resume=True).fit(texts, labels)
    name = "optimizer.embedding.weight/exp_avg_sq"
    assert tensors[name].shape == ()
    wrong = np.zeros_like(tensors["weights.embedding.weight"])
    copied(tmp_path, tensors | {name: wrong}, values)
    with pytest.raises(ModelFileError, match="exp_avg_sq': expected float32"):
        model(max_steps=4, resume=True).fit(texts, labels)


CHANGED_TENSORS: list[tuple[str, Callable[[np.ndarray], np.ndarray | None], str]] = [
    ("weights.gru.bias_ih_l0", lambda a: a[:-1], "expected float32 [12], got float32 [11]"),
    (
        "weights.gru.bias_ih_l0",
        lambda a: a.astype(np.float64),
        "expected float32 [12], got float64",
    ),
    ("weights.gru.bias_ih_l0", lambda a: a * np.nan, "expected finite values"),
    ("weights.norm.running_var", lambda a: -a, "expected no value below 0"),
    ("weights.norm.num_batches_tracked", lambda a: a.astype(np.int32), "expected int64"),
    ("best.dense.weight", lambda a: a.T.copy(), "expected float32 [2, 4], got float32 [4, 2]"),
    ("best.dense.weight", lambda _: None, "got or missed 'best.dense.weight'"),
    ("average.dense.weight", lambda a: a.ravel(), "expected float32 [2, 4], got float32 [8]"),
    ("average.more", lambda _: np.zeros(1, np.float32), "got or missed 'average.more'"),
    ("optimizer.dense.bias/exp_avg", lambda _: None, "got or missed 'optimizer.dense.bias/exp"),
    ("optimizer.dense.bias/exp_avg", lambda a: a[None], "expected float32 [2], got float32 [1, 2]"),
    ("optimizer.dense.bias/exp_avg_sq", lambda a: -a, "expected no value below 0"),
    ("optimizer.dense.bias/exp_avg_sq", lambda a: a + np.inf, "expected finite values"),
    ("optimizer.dense.bias/step", lambda a: -a, "expected 0 to 10 steps"),
    ("optimizer.dense.bias/step", lambda a: a + 1, "expected 0 to 10 steps"),
    ("optimizer.dense.bias/step", lambda a: a - 0.5, "expected 0 to 10 steps"),
    ("optimizer.dense.bias/step", lambda a: a[None], "expected float32 [], got float32 [1]"),
    (
        "optimizer.none/step",
        lambda _: np.ones((), np.float32),
        "got or missed 'optimizer.none/step'",
    ),
    ("carry.0.0", lambda a: a[:, :-1], "'carry.0.0': expected float32 [1, 6, 4]"),
    ("carry.0.0", lambda a: a.astype(np.float64), "'carry.0.0': expected float32"),
    ("carry.0.0", lambda a: a * np.inf, "'carry.0.0': expected finite values"),
    ("carry.0.0", lambda _: None, "got or missed 'carry.0.0'"),
    ("carry.0.1", lambda _: np.zeros(1), "got or missed 'carry.0.1'"),
    ("carry.1.0", lambda _: np.zeros(1), "got or missed 'carry.1.0'"),
    ("more", lambda _: np.zeros(1), "got or missed 'more'"),
    ("history", lambda a: a[:, :-1], "'history': expected F64"),
    ("history", lambda a: a.astype(np.float32), "'history': expected F64"),
    ("history", lambda a: a[::-1], "history: expected rising steps from 1 to 10"),
    ("history", lambda a: a * 2, "history: expected rising steps from 1 to 10"),
    ("history", lambda a: a + 0.5, "history step: expected whole numbers"),
    ("history", lambda a: a * np.nan, "history step: expected whole numbers"),
    ("history", lambda a: a[:0], "position best_step: expected a step of the history"),
    ("history", lambda _: None, "'history': expected F64"),
]


@pytest.mark.parametrize(("name", "change", "problem"), CHANGED_TENSORS)
def test_a_tensor_that_cannot_be_of_this_run_is_refused(
    stopped: Callable, tmp_path: Path, name: str, change: Callable, problem: str
) -> None:
    tensors, values = held(stopped("adamw"))
    changed = change(tensors.get(name))
    kept = {n: a for n, a in tensors.items() if n != name}
    if changed is not None:
        kept[name] = np.asarray(changed)
    assert problem in refused(copied(tmp_path, kept, values))


CHANGED_VALUES: list[tuple[dict[str, Any], str]] = [
    ({"format": 2}, "training state of format 3, got 2"),
    ({"format": "3"}, "training state of format 3, got '3'"),
    ({"more": 1}, "expected exactly its keys, got or missed ['more']"),
    ({"position": None}, "training state position: expected dict, got None"),
    ({"position": {"step": "10"}}, "position step: expected int, got '10'"),
    ({"position": {"step": True}}, "position step: expected int, got True"),
    ({"position": {"step": 10.0}}, "position step: expected int, got 10.0"),
    ({"position": {"step": -1}}, "position step: expected 0 or more, got -1"),
    ({"position": {"step": 10**18}}, "position step: expected 0 or more"),
    ({"position": {"step": 11}}, "expected epoch 1, batch 4 after step 11, got 1, 3"),
    ({"position": {"batch": 2}}, "expected epoch 1, batch 3 after step 10, got 1, 2"),
    ({"position": {"epoch": 0, "batch": 10}}, "expected epoch 1, batch 3 after step 10"),
    ({"position": {"seconds": None}}, "position seconds: expected float or int, got None"),
    ({"position": {"seconds": float("nan")}}, "position seconds: expected 0 or more, got nan"),
    ({"position": {"loss_sum": float("inf")}}, "position loss_sum: expected a finite number"),
    ({"position": {"learning_rate": -1.0}}, "position learning_rate: expected 0 or more"),
    ({"position": {"best_step": 5}}, "position best_step: expected a step of the history, got 5"),
    ({"position": {"best_step": 0}}, "position best_step: expected a step of the history, got 0"),
    ({"position": {"best_value": None}}, "position best_value: expected a number"),
    ({"position": {"best_value": []}}, "position best_value: expected float or int or NoneType"),
    ({"position": {"waited": 99}}, "position waited: expected"),
    ({"position": {"exact_from": 11}}, "position exact_from: expected a step of the run, got 11"),
    ({"position": {"exact_from": -1}}, "position exact_from: expected a step of the run, got -1"),
    ({"position": {"exact_from": 3.0}}, "position exact_from: expected int or NoneType, got 3.0"),
    ({"position": {"share": 0.0}}, "position share: expected a share above 0, got 0.0"),
    ({"position": {"share": 1.5}}, "position share: expected a share above 0, got 1.5"),
    ({"position": {"tail_from": 11, "tail_steps": 2}}, "position tail_from: expected a step of"),
    ({"position": {"tail_from": 9}}, "position tail_from: expected a step of the run"),
    ({"position": {"tail_steps": 2}}, "position tail_from: expected a step of the run"),
    ({"position": {"tail_from": 9, "tail_steps": 2}}, "went_back_to: expected a step of the hist"),
    ({"position": {"went_back_to": 3}}, "went_back_to: expected a step of the history before"),
    (
        {"position": {"tail_from": 4, "tail_steps": 2, "went_back_to": 6}},
        "went_back_to: expected a step of the history before the tail, got 6",
    ),
    ({"position": {"stopped": "noon"}}, "position stopped: expected a limit, got 'noon'"),
    ({"position": {"stopped": None}}, "position stopped: expected str, got None"),
    ({"position": {"refit_from": 9, "refit_steps": 2}}, "expected the last evaluation's, got 9"),
    ({"position": {"refit_from": 10}}, "position refit_from: expected the last evaluation's"),
    ({"position": {"refit_from": 10, "refit_steps": 2}}, "expected 0, since nothing is held out"),
    ({"position": {"more": 0}}, "position: expected exactly its keys, got or missed ['more']"),
    ({"columns": []}, "training state columns: expected dict, got []"),
    ({"columns": {"step": "str"}}, "columns: expected int or float for each"),
    ({"columns": {"error": "int"}}, "history error: expected whole numbers"),
    ({"carries": "tensor"}, "training state carries: expected list, got 'tensor'"),
    ({"carries": []}, "carries: expected one for each process, got 0"),
    ({"carries": [5]}, "carries: expected tuples and lists of tensors, got 5"),
    ({"carries": [{"set": ["tensor"]}]}, "carries: expected tuples and lists of tensors"),
    ({"carries": [{"list": "tensor"}]}, "carries: expected tuples and lists of tensors"),
    ({"carries": [{"list": ["tensor"]}]}, "carry: expected the nesting of a step's"),
    ({"carries": [None]}, "carries: expected the tensors they name, got or missed 'carry.0.0'"),
    ({"settings": {}}, "settings: expected exactly its keys"),
    ({"settings": {"options": []}}, "settings options: expected dict, got []"),
    ({"settings": {"fingerprint": 3}}, "settings fingerprint: expected str, got 3"),
    ({"settings": {"processes": "1"}}, "settings processes: expected int, got '1'"),
]


@pytest.mark.parametrize(("change", "problem"), CHANGED_VALUES)
def test_a_value_that_cannot_be_of_this_run_is_refused(
    stopped: Callable, tmp_path: Path, change: dict[str, Any], problem: str
) -> None:
    tensors, values = held(stopped("adamw"))
    for key, value in change.items():
        merged = isinstance(value, dict) and (key != "settings" or value)
        values[key] = {**values[key], **value} if merged else value
    assert problem in refused(copied(tmp_path, tensors, values))


def test_a_carry_where_an_epoch_begins_is_refused(tmp_path: Path) -> None:
    options = {**OPTIONS, "max_steps": 7}
    fit(TinyObjective(), TrainingOptions(run_folder=tmp_path, verbose=0, **options))
    tensors, values = held(tmp_path)
    assert values["carries"] == [None]
    values["carries"] = [{"list": ["tensor"]}]
    copied(tmp_path, tensors | {"carry.0.0": np.zeros((1, 6, 4), np.float32)}, values)
    assert "carry: expected the nesting of a step's" in refused(tmp_path)


def test_a_nesting_deeper_than_the_stack_is_refused(stopped: Callable, tmp_path: Path) -> None:
    tensors, values = held(stopped("adamw"))
    values["carries"] = ["deep"]
    for depth in (9, 500, 900, 5000):
        nesting = '{"list": [' * depth + '"tensor"' + "]}" * depth
        text = json.dumps(values).replace('"deep"', nesting)
        (tmp_path / "state.safetensors").write_bytes(pack(tensors, text))
        assert re.search("tuples and lists of tensors|nested too deep", refused(tmp_path))


def test_any_changed_byte_of_a_state_is_refused(stopped: Callable, tmp_path: Path) -> None:
    data = (stopped("adamw") / "state.safetensors").read_bytes()
    for at in np.random.default_rng(0).integers(0, len(data), 40):
        changed = bytearray(data)
        changed[at] ^= 0x10
        (tmp_path / "state.safetensors").write_bytes(changed)
        refused(tmp_path)


def test_the_remedy_of_a_damaged_state_helps(stopped: Callable, tmp_path: Path) -> None:
    tensors, values = held(stopped("adamw"))
    assert "name another run_folder" in refused(copied(tmp_path, {}, values))
    resumed(tmp_path / "another", resume=False)
    assert (tmp_path / "another" / "state.safetensors").exists()
    assert tensors


def test_the_remedy_helps_on_the_command_line(tidegate: Tidegate) -> None:
    line = f"train language-model book.txt {TINY['language-model']}"
    assert tidegate(line).code == 0
    path = Path("runs/book-language-model/state.safetensors")
    data = path.read_bytes()
    path.write_bytes(data[:-40] + bytes(8) + data[-32:])
    failed = tidegate(f"{line} --resume")
    assert failed.code == 2
    with options_as_flags():
        assert re.fullmatch(rf"error: [^\n]+; {remedy()}\n", failed.err)
    assert path.read_bytes()[:-40] == data[:-40]
    assert tidegate(f"{line} --run-folder another -o another.safetensors").code == 0


def test_thousands_of_evaluations_are_taken_up_again(tmp_path: Path) -> None:
    """As many rows of the history as a header may not have lists."""
    fit(
        TinyObjective(),
        TrainingOptions(run_folder=tmp_path, verbose=0, max_steps=5, evaluate_every=1),
    )
    tensors, values = held(tmp_path)
    row = tensors["history"][:1]
    count, steps = 30_000, 7 * 5000
    table = row.repeat(count, 0)
    table[:, 0] = np.arange(1, count + 1)
    values["position"] |= {"step": steps, "epoch": 5000, "batch": 0}
    values["carries"] = [None]
    del tensors["carry.0.0"]
    copied(tmp_path, tensors | {"history": table}, values)
    more = {"max_steps": steps + 2, "evaluate_every": 1, "average": 0.0}
    resumed(tmp_path, **more)
    kept, _ = held(tmp_path)
    np.testing.assert_array_equal(kept["history"][:count], table)
    assert len(kept["history"]) == count + 2
