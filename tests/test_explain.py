"""Which words carry an answer, and the check that they do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import TINY, Tidegate

import tidegate as tg
from tidegate.errors import InputError
from tidegate.tasks import explaining
from tidegate.tasks.explaining import faithfulness, without, words_of

RNG = np.random.default_rng(0)
TEXTS = [" ".join(RNG.choice(["good", "dull", "film", "plot", "long"], 8)) for _ in range(120)]
STARS = [t.count("good") - t.count("dull") for t in TEXTS]
OPTIONS: dict[str, Any] = {
    "hidden_sizes": (10,), "embedding_size": 8, "max_steps": 120, "learning_rate": 0.01,
    "dropout": 0.0, "embedding_dropout": 0.0, "verbose": 0, "validation_fraction": 0.2,
}  # fmt: skip


@pytest.fixture(scope="module")
def regressor() -> tg.TextRegressor:
    return tg.TextRegressor(**OPTIONS).fit(TEXTS, STARS)


@pytest.fixture(scope="module")
def classifier() -> tg.TextClassifier:
    return tg.TextClassifier(**OPTIONS).fit(TEXTS, ["good" if s > 0 else "not" for s in STARS])


def test_a_contribution_is_what_the_answer_loses_without_the_word(
    regressor: tg.TextRegressor, classifier: tg.TextClassifier
) -> None:
    text = "A good film, not too long; dull?"
    found = regressor.explain([text])[0]
    for word, (contribution,) in zip(found.words, found.contributions, strict=True):
        left = regressor.predict([without(text, [word])])[0]
        assert contribution == pytest.approx(regressor.predict([text])[0] - left, abs=1e-5)
    (found,) = classifier.explain([text])
    p = classifier.predict_proba([text, without(text, found.words[1:2])])
    column = classifier.classes_.tolist().index(found.names[0])
    odds = np.log(p[:, column] / (1 - p[:, column]))
    assert found.contributions[1, 0] == pytest.approx(odds[0] - odds[1], abs=1e-4)
    assert found.scores[0] == pytest.approx(odds[0], abs=1e-4)


def test_the_word_that_was_learned_from_carries_most(regressor: tg.TextRegressor) -> None:
    (found,) = regressor.explain(["film plot good long"])
    assert found.top(1)[0][0] == "good"
    assert found.contributions[2, 0] > 0
    assert regressor.explain(["film dull plot"])[0].contributions[1, 0] < 0


def test_of_several_labels_each_that_is_told_is_explained() -> None:
    sets = [[w for w in ("dull", "good") if w in t.split()[:4]] for t in TEXTS]
    model = tg.TextClassifier(**OPTIONS).fit(TEXTS, sets)
    (found,) = model.explain(["good dull film plot"])
    assert found.contributions.shape == (4, len(found.names))
    assert found.names == (model.predict(["good dull film plot"])[0] or found.names)


def test_words_are_left_out_with_the_space_behind_them() -> None:
    text = "A good  film,\nnot bad."
    words = words_of(text)
    assert [w.text for w in words] == ["A", "good", "film", ",", "not", "bad", "."]
    assert without(text, []) == text
    assert without(text, words[:2]) == "film,\nnot bad."
    assert without(text, [words[5], words[2]]) == "A good  ,\nnot ."
    assert without(text, words) == ""


def test_a_text_without_words_has_nothing_to_explain(regressor: tg.TextRegressor) -> None:
    (found,) = regressor.explain([""])
    assert found.words == []
    assert found.contributions.shape == (0, 1)
    assert regressor.explain([]) == []


def test_the_check_holds_of_a_model_that_has_learned(
    regressor: tg.TextRegressor, classifier: tg.TextClassifier
) -> None:
    found = regressor.faithfulness(TEXTS[:40])
    assert found.holds
    assert all(fall.top > fall.random and fall.changed is None for fall in found.falls)
    assert classifier.faithfulness(TEXTS[:40]).falls[-1].changed is not None


def test_the_check_fails_of_explanations_that_name_any_words(
    regressor: tg.TextRegressor, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = explaining._explained
    rng = np.random.default_rng(1)

    def at_random(model: Any, text: str) -> Any:
        found = honest(model, text)
        rng.shuffle(found.contributions)
        return found

    monkeypatch.setattr(explaining, "_explained", at_random)
    assert not faithfulness(regressor, TEXTS[:40]).holds


def test_the_check_needs_texts_of_some_words(regressor: tg.TextRegressor) -> None:
    with pytest.raises(
        InputError, match="expected two texts of 5 words or more to check on, got 1"
    ):
        regressor.faithfulness(["short", TEXTS[0]])


def test_the_command_explains_a_text_and_the_texts_of_a_file(
    tidegate: Tidegate,
) -> None:
    line = f"train classifier reviews.csv --text review --label sentiment {TINY['classifier']}"
    model = tidegate(f"{line} --json").json["model"]
    out = tidegate(f"explain {model} 'a lovely film' --top 2").out.splitlines()
    assert len(out) == 3
    assert out[0].endswith("\ta lovely film")
    told = tidegate(f"explain {model} reviews.csv --json").json["explanations"]
    assert len(told) == 40
    assert [word["text"] for word in told[0]["words"]] == ["lovely", "film", "number", "0"]
    checked = tidegate(f"explain {model} --check reviews.csv --json")
    assert "expected two texts of 5 words or more" in checked.err
    Path("long.txt").write_text("a lovely film of five words\n" * 3)
    checked = tidegate(f"explain {model} --check long.txt --json").json
    assert checked["texts"] == 3
    assert set(checked["falls"][0]) >= {"top", "random", "interval"}
    tidegate(f"explain {model} '<b> lovely' -o page.html")
    page = Path("page.html").read_text()
    assert "&lt;" in page
    assert "<b>" not in page
    assert tidegate(f"explain {model} 'a lovely film' -o bars.png").code == 0
    assert Path("bars.png").read_bytes().startswith(b"\x89PNG")
    assert tidegate(f"explain {model} 'a lovely film' -o page.html").code == 0  # its own file


def test_a_text_of_a_file_is_told_before_the_next_is_read(
    tidegate: Tidegate, regressor: tg.TextRegressor, monkeypatch: pytest.MonkeyPatch
) -> None:
    regressor.save("m.safetensors")
    Path("two.txt").write_text("a lovely film\na dreadful one\n")
    one = explaining._explained

    def once(model: Any, text: str) -> Any:
        if "dreadful" in text:
            raise KeyboardInterrupt
        return one(model, text)

    monkeypatch.setattr(explaining, "_explained", once)
    assert "a lovely film" in tidegate("explain m.safetensors two.txt").out


@pytest.mark.parametrize(("line", "problem"), [
    ("explain m.safetensors", "expected a text, or a file to check on with --check, got neither"),
    ("explain m.safetensors a --check b", "got both"),
    ("explain m.safetensors a -o x.pdf", "expected the ending of a page or a picture"),
])  # fmt: skip
def test_wrong_use_of_the_command_is_named(tidegate: Tidegate, line: str, problem: str) -> None:
    assert problem in tidegate(line).err
