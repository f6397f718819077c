"""Pieces with conditions: what they set, where files tell them, and what cannot be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import Tidegate, tidegate  # noqa: F401
from streamed_models import music_model, rolls

import tidegate as tg
from tidegate.comparison.experiments.of_tasks import experiment_of
from tidegate.data.roll_source import Rolls
from tidegate.data.sequences.rolls.midi import midi_bytes
from tidegate.errors import InputError
from tidegate.model.checkpoint import ModelFileError, load_model, save_model
from tidegate.training.text_modelling import UNTOLD

PIECES = rolls(4, 9)
TOLD: dict[str, list[Any]] = {
    "style": ["quick", "slow", None, "quick"],
    "year": [1700, 1750, 1800, None],
}
SMALL: dict[str, Any] = {"hidden_sizes": (12,), "verbose": 0, "baseline": False}


def habits(count: int = 60) -> tuple[list[np.ndarray], dict[str, list[Any]]]:
    """One side has the first output on, the other the last; all else is noise."""
    rng, sides = np.random.default_rng(0), ["left", "right"] * (count // 2)
    pieces = [(rng.random((12, 4)) < 0.2).astype(np.uint8) for _ in sides]
    for piece, side in zip(pieces, sides, strict=True):
        piece[:, [0, 3]] = [1, 0] if side == "left" else [0, 1]
    return pieces, {"side": sides, "noise": rng.random(count).tolist()}


SIX = habits(6)[0]


@pytest.fixture(scope="module")
def model() -> tg.MusicModel:
    pieces, told = habits()
    return tg.MusicModel(**SMALL, max_steps=60, learning_rate=2e-2, repeats=False).fit(
        pieces, conditions=told
    )


def test_a_condition_sets_what_is_played_and_without_one_either_may_be(
    model: tg.MusicModel,
) -> None:
    for side, first in (("left", 1), ("right", 0)):
        written = model.generate(None, 40, seed=0, given={"side": side})
        assert abs(written[:, 0].mean() - first) < 0.1
    likely = model.stream(given={"side": "left"}).answer, model.stream().answer
    assert likely[0][0] > 0.8
    assert 0.2 < likely[1][0] < 0.8


@pytest.mark.parametrize("repeats", [True, False])
def test_streams_probabilities_and_inspect_agree_on_conditions(repeats: bool) -> None:
    model = music_model(repeats=repeats, conditions=True)
    found = model.predict_proba(PIECES, conditions=TOLD)
    for row, (piece, whole) in enumerate(zip(PIECES, found, strict=True)):
        given = {name: cells[row] for name, cells in TOLD.items()}
        stream = model.stream(given=given)
        for step, likely in zip(piece, whole, strict=True):
            np.testing.assert_allclose(stream.answer, likely, rtol=1e-5)
            stream.feed(step)
    other = model.predict_proba(PIECES, conditions={**TOLD, "style": ["slow"] * 4})
    assert not np.allclose(found[0], other[0])
    np.testing.assert_allclose(found[1], other[1])
    pieces = model._aligned(PIECES, TOLD)
    gates, whole = model.inspect(next(pieces.pieces())), model.inputs_of(pieces)[0]
    assert len(gates.steps) == len(whole)
    many = model.streams()
    many.open("a", "b")
    many.put("b", model.stream(given={"style": "slow"}))
    answers = many.feed({"a": PIECES[0], "b": PIECES[0]})
    np.testing.assert_allclose(answers["a"], model.stream().feed(PIECES[0]), rtol=1e-5)
    own = model.stream(given={"style": "slow"}).feed(PIECES[0])
    np.testing.assert_allclose(answers["b"], own, rtol=1e-5)


def test_a_condition_is_left_untold_now_and_then_and_never_dropped_otherwise(
    model: tg.MusicModel,
) -> None:
    pieces, told = habits()
    whole = model.rolls_and_conditions(model._aligned(pieces, told))
    model.set_params(input_dropout=0.5)
    learned = model._objective(model.network_, whole, whole)
    seen = []
    for epoch in range(30):
        for inputs, _, _ in learned.batches(epoch, 0, 0, 1):
            conditions = inputs[:, :, 4:]
            assert (conditions == conditions[:1]).all()
            seen.append(conditions[0, :, :2].sum(1))
    untold = 1 - torch.cat(seen).mean().item()
    assert untold == pytest.approx(UNTOLD, abs=0.02)


def test_a_file_keeps_conditions_and_refuses_those_that_do_not_fit(
    model: tg.MusicModel, tmp_path: Path
) -> None:
    pieces, told = habits(6)
    path = tmp_path / "m.safetensors"
    model.save(path)
    again: Any = tg.load(path)
    one, other = (m.predict_proba(pieces, conditions=told) for m in (model, again))
    np.testing.assert_array_equal(one[0], other[0])
    assert again.conditions_.told()["side"] == ["left", "right"]
    kept = load_model(path)
    for scaling in (None, {}, {"conditions": kept.scaling["conditions"][:1]}, {"conditions": []}):  # pyright: ignore
        kept.scaling = scaling
        save_model(tmp_path / "other.safetensors", kept)
        with pytest.raises(ModelFileError):
            tg.load(tmp_path / "other.safetensors")


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (lambda m: m.evaluate(SIX), "expected those of each piece .side, noise., as in training"),
        (lambda m: m.evaluate(SIX, conditions=["left"] * 6), "expected a column 'side'"),
        (lambda m: m.evaluate(SIX, conditions={"side": ["left"]}), "one for each of 6 pieces"),
        (lambda m: m.generate(given={"side": "up"}), "one of 'left', 'right', got 'up'"),
        (lambda m: m.generate(given={"speed": 1}), "got 'speed'"),
        (lambda _: music_model().evaluate(rolls(1, 3), conditions=["a"]), "trained without"),
        (lambda _: music_model().generate(given={"side": "left"}), "trained without"),
        (lambda _: tg.MusicModel(**SMALL).fit(SIX, conditions=["a"] * 6), "got 'a' alone"),
    ],
)
def test_conditions_that_cannot_be_are_refused(model: tg.MusicModel, asked: Any, told: str) -> None:
    with pytest.raises(InputError, match=told):
        asked(model)


def test_a_comparison_and_a_validation_part_have_conditions(model: tg.MusicModel) -> None:
    pieces, told = habits(40)
    small = tg.MusicModel(**SMALL, max_steps=2)
    small.fit(pieces[:20], (pieces[20:], {n: c[20:] for n, c in told.items()}),
              conditions={n: c[:20] for n, c in told.items()})  # fmt: skip
    assert small.provenance_["validation_pieces"] == 20
    given = model._aligned(pieces, told)
    experiment = experiment_of(small, (given,), None, None)
    experiment.fit(small)
    validation, _ = experiment.losses(small)
    assert validation.mean() == pytest.approx(small.metrics_["nats_per_step"], rel=1e-4)
    assert experiment.batch(small).inputs.shape[2] == small.runtime_.architecture.input_size


# files


def midi(path: Path, key: int) -> None:
    path.parent.mkdir(exist_ok=True, parents=True)
    roll = np.zeros((6, 88), np.uint8)
    roll[:, key] = 1
    path.write_bytes(midi_bytes(roll, range(21, 109), 2, 120.0))


def test_every_kind_of_file_tells_conditions(tmp_path: Path) -> None:
    pytest.importorskip("mido")
    for name, key in (("bach/a", 3), ("bach/b", 4), ("liszt/c", 50)):
        midi(tmp_path / "songs" / f"{name}.mid", key)
    (found,) = Rolls(condition=("folder",)).read(str(tmp_path / "songs"), learning=True)
    assert found.conditions == {"folder": ["bach", "bach", "liszt"]}
    (one,) = Rolls(condition=("folder",)).read(str(tmp_path / "songs/liszt/c.mid"), learning=False)
    assert one.conditions == {"folder": ["liszt"]}
    table = tmp_path / "songs.csv"
    table.write_text("file,who,year\nsongs/liszt/c.mid,Liszt,1850\nsongs/bach/a.mid,Bach,\n")
    (found,) = Rolls(midi="file", condition=("year", "who")).read(str(table), learning=True)
    assert found.conditions == {"year": [1850.0, None], "who": ["Liszt", "Bach"]}
    assert found.rolls[0][0, 50] == 1
    events = tmp_path / "events.csv"
    events.write_text("id,item,kind\n1,a,x\n2,b,y\n1,b,x\n")
    (found,) = Rolls(id="id", item="item", condition=("kind",)).read(str(events), learning=True)
    assert found.conditions == {"kind": ["x", "y"]}
    arrays = tmp_path / "a.npz"
    np.savez(arrays, X=np.ones((2, 3, 4)), kind=np.array(["x", "y"]), size=[1.5, np.nan])
    (found,) = Rolls(condition=("size", "kind")).read(str(arrays), learning=True)
    assert found.conditions == {"size": [1.5, None], "kind": ["x", "y"]}


@pytest.mark.parametrize(
    ("told", "text", "expected"),
    [
        (
            {"condition": ("kind",)},
            "id,item,kind\n1,a,x\n1,b,y\n",
            "line 3, column .*one condition",
        ),
        ({"condition": ("item",)}, "id,item\n1,a\n", "beside id, time and item, got 'item'"),
        ({"condition": ("sort",)}, "id,item,kind\n1,a,x\n", "sort"),
        ({"midi": "item"}, "id,item\n1,a.mid\n", "none beside"),
        ({"midi": "item", "id": None, "item": None}, "item\na.mid\n", "line 2.*'a.mid'"),
    ],
)
def test_a_table_whose_conditions_cannot_be_read_is_refused(
    tmp_path: Path, told: dict[str, Any], text: str, expected: str
) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=expected):
        Rolls(**{"id": "id", "item": "item", **told}).read(str(path), learning=True)


def test_a_condition_that_a_file_does_not_tell_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("mido")
    midi(tmp_path / "a.mid", 3)
    with pytest.raises(InputError, match=r"expected one that the file has \(folder\), got 'who'"):
        Rolls(condition=("who",)).read(str(tmp_path), learning=True)
    np.savez(tmp_path / "a.npz", X=np.ones((2, 3, 4)), size=[1.0])
    with pytest.raises(InputError, match="size: expected text or a number for each of 2 pieces"):
        Rolls(condition=("size",)).read(str(tmp_path / "a.npz"), learning=True)


def test_the_commands_train_evaluate_and_generate_with_conditions(
    tidegate: Tidegate,  # noqa: F811
    tmp_path: Path,
) -> None:
    rows = [f"{k},{k % 2 and 'b' or 'a'},{'xy'[k % 2]}" for k in range(12) for _ in range(4)]
    data, model = tmp_path / "events.csv", tmp_path / "m.safetensors"
    data.write_text("\n".join(["id,item,kind", *rows]) + "\n")
    learn = f"train music {data} --id id --item item --condition kind --no-baseline"
    assert tidegate(f"{learn} --hidden-sizes 4 --max-steps 3 -o {model}").code == 0
    assert tidegate(f"evaluate {model} {data} --json").json["frames"] == 48
    written = [
        tidegate(f"generate {model} --length 20 --seed 1 {given}").out
        for given in ("", "--given kind=x", f"--given kind=x --prompt {data}")
    ]
    assert len({*written}) == 3
    assert tidegate(f"info {model} --json").json["conditions"] == {"kind": ["x", "y"]}
    assert "one of 'x', 'y'" in tidegate(f"generate {model} --given kind=z").err
