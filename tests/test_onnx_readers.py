"""The example's readers of music, and of an encoder and a decoder, answer as the models do."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from streamed_models import music_model, rolls

pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

from test_onnx_files import EXAMPLES, _node  # noqa: E402

import tidegate as tg  # noqa: E402

READ_LONG = 1030  # steps, more than a model remembers


@pytest.fixture(scope="module", autouse=True)
def _examples() -> Any:
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(EXAMPLES))
        # a benchmark has this name, too, and another test may have imported it
        patch.delitem(sys.modules, "music", raising=False)
        yield
        sys.modules.pop("music", None)


def in_javascript(reader: str, folder: Path, *given: str) -> Any:
    node = _node()
    if node is None or not (EXAMPLES / "node_modules" / "onnxruntime-web").is_dir():
        pytest.skip("no node, or no onnxruntime-web: make web")
    run = subprocess.run(
        [*node, str(EXAMPLES / f"{reader}.mjs"), *given],
        cwd=folder, capture_output=True, text=True, check=False, timeout=60, encoding="utf-8",
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


@pytest.mark.parametrize("conditions", [False, True])
@pytest.mark.parametrize("repeats", [False, True])
def test_the_readers_of_music_play_what_the_model_plays(
    tmp_path: Path, repeats: bool, conditions: bool
) -> None:
    from music import play  # pyright: ignore[reportMissingImports]

    model = music_model(repeats=repeats, conditions=conditions)
    files = tmp_path / "whole.onnx", tmp_path / "step.onnx"
    model.export_onnx(files[0], step=files[1])
    begun = model.names_of(np.tile(rolls(1, 5)[0], (2, 1)))
    given = {"style": "slow", "year": 1725.0} if conditions else {}
    written = model.generate([begun], 12, greedy=True, given=given or None)
    expected = [sorted(names) for names in model.names_of(written)]
    assert [sorted(s) for s in play(files[1], begun, 12, given)] == expected
    more = [json.dumps(begun), "12", json.dumps(given)]
    found = in_javascript("music", tmp_path, "step.onnx", *more)
    assert [sorted(step) for step in found] == expected


def test_the_reader_of_music_looks_as_far_back_as_the_model() -> None:
    from music import reading_after  # pyright: ignore[reportMissingImports]

    from tidegate.runtime.repeats import Reading

    rng = np.random.default_rng(0)
    kinds = np.eye(3, dtype=np.uint8)[rng.permutation(np.repeat(np.arange(3), READ_LONG))]
    roll, reading = kinds[:READ_LONG], Reading(3, repeats=True)
    repeats = {"remembered": 1024, "longest": [16, 4]}
    expected = reading.all_before(roll, np.zeros(0, np.float32))
    on = [set(np.flatnonzero(step)) for step in roll]
    for t in (0, 1, 2, 40, READ_LONG - 1):
        np.testing.assert_allclose(reading_after(on[:t], 3, repeats), expected[t], rtol=1e-6)


@pytest.mark.parametrize("level", ["char", "word"])
def test_the_readers_of_an_encoder_and_a_decoder_answer_as_the_model(
    tmp_path: Path, level: str
) -> None:
    from answers import answer  # pyright: ignore[reportMissingImports]

    told = [f"the {a} saw {b}" for a in ("cat", "dog", "cow") for b in ("me", "you", "us")] * 4
    options: dict[str, Any] = {"embedding_size": 6, "hidden_sizes": (12,), "max_steps": 40}
    model = tg.SequenceToSequence(level=level, **options, verbose=0, baseline=False)
    model.fit(told, [text[4:] for text in told])
    model.export_onnx(tmp_path / "e.onnx", step=tmp_path / "d.onnx")
    for text in ("the cow saw you", "the gnu saw it"):
        written = answer(tmp_path / "e.onnx", tmp_path / "d.onnx", text)
        joined = ("" if level == "char" else " ").join(written)
        assert [joined.split()] == [one.split() for one in model.predict([text])]
        assert in_javascript("answers", tmp_path, "e.onnx", "d.onnx", text) == written
