"""The page of ``tidegate inspect --html`` in a real browser, where one is installed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chromium import grave_problems
from streamed_models import forecaster, language_model, sequence_model, text_classifier

import tidegate as tg
from tidegate.tasks.inspecting import page_of

TEXT = "the good film, so bad"
STEPS = np.random.default_rng(0).normal(size=(8, 2))


@pytest.fixture
def shown(browser: Any, tmp_path: Path) -> Iterator[Any]:
    """Opens a model's page; what it complains of and asks for is counted in the end."""
    complaints, asked, pages = [], [], []

    def show(model: Any, x: Any = TEXT) -> Any:
        path = tmp_path / "page.html"
        path.write_text(page_of(model, x, model.inspect(x), "a model"), encoding="utf-8")
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: complaints.append(message.text))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(path.as_uri())
        pages.append(page)
        return page

    yield show
    for page in pages:
        page.close()
    assert complaints == []
    assert all(url.startswith(("file:", "data:")) for url in asked)


def tints(page: Any) -> np.ndarray:
    """How strongly each step is tinted."""
    found = page.evaluate(
        "[...document.querySelectorAll('.token')].map(s => s.style.getPropertyValue('--w'))"
    )
    return np.array(found, float)


def shares(lengths: np.ndarray) -> np.ndarray:
    return lengths / lengths.max()


def test_a_label_and_a_step_that_is_pointed_at_tint_what_their_answers_hang_on(shown: Any) -> None:
    model = text_classifier()
    page, hangs = shown(model), model.connectivity(TEXT)
    assert page.locator(".token").all_text_contents() == ["the", "good", "film", ",", "so", "bad"]
    np.testing.assert_allclose(tints(page), shares(hangs.lengths[0]), atol=1e-3)
    page.select_option("#asked", "1")
    np.testing.assert_allclose(tints(page), shares(hangs.lengths[1]), atol=1e-3)
    page.locator(".token").nth(3).hover()
    (third,) = (k for k, one in enumerate(hangs.questions) if one.at == 3)
    np.testing.assert_allclose(tints(page), shares(hangs.lengths[third]), atol=1e-3)
    rows = page.locator(".beside tbody tr").all_text_contents()
    for row, gate in zip(rows, model.inspect(TEXT).watched, strict=True):
        assert f"{gate.values[3].mean():.3f}" in row
    page.mouse.move(0, 0)
    np.testing.assert_allclose(tints(page), shares(hangs.lengths[1]), atol=1e-3)


def test_steps_are_walked_through_by_keys(shown: Any) -> None:
    model = language_model()
    page, hangs = shown(model), model.connectivity(TEXT)
    page.locator(".token[tabindex='0']").focus()
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.textContent") == TEXT[4]
    np.testing.assert_allclose(tints(page), shares(hangs.lengths[3]), atol=1e-3)
    page.keyboard.press("End")
    np.testing.assert_allclose(tints(page), shares(hangs.lengths[-1]), atol=1e-3)


def test_time_scales_and_shares_of_closed_units_are_shown_by_step(shown: Any) -> None:
    model = text_classifier()
    page, found = shown(model), model.inspect(TEXT)
    z = next(one for one in found.watched if one.gate == "z")
    page.select_option("#kind", "3")
    told = page.locator("td.gate").all_text_contents()[: len(found.steps)]
    expected = 1 / (1 - z.values.mean(1, dtype=np.float64))
    np.testing.assert_allclose([float(t.split()[0]) for t in told], expected, rtol=0.01)
    page.select_option("#kind", "1")
    assert page.locator("td.gate").first.text_content().endswith("%")


def test_rows_of_a_forecaster_are_tinted_by_what_each_row_ahead_hangs_on(shown: Any) -> None:
    model = forecaster()
    page, hangs = shown(model, STEPS), model.connectivity(STEPS)
    assert page.locator(".token").count() == len(hangs.steps)
    names = page.locator("#asked option").all_text_contents()
    assert names == [one.name for one in hangs.questions]
    for k in (0, len(names) - 1):
        page.select_option("#asked", str(k))
        np.testing.assert_allclose(tints(page), shares(hangs.lengths[k]), atol=1e-3)


@pytest.mark.parametrize(("make", "x"), [
    (text_classifier, TEXT),
    (language_model, TEXT),
    (forecaster, STEPS),
    (lambda: sequence_model(tg.SequenceClassifier), STEPS),
], ids=["labels", "text", "forecasts", "sequences"])  # fmt: skip
def test_it_fits_small_and_large_screens_and_axe_finds_nothing_serious(
    shown: Any, make: Any, x: Any
) -> None:
    page = shown(make(), x)
    page.locator(".token").nth(2).focus()
    for width in (360, 390, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert grave_problems(page) == {}
