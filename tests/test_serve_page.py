"""The page of ``tidegate serve`` in a real browser, where one is installed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
pytest.importorskip("playwright.sync_api")

from chromium import grave_problems  # noqa: E402
from served import Client, models, served  # noqa: E402

from tidegate.data.series.error_quantiles import ErrorQuantiles  # noqa: E402

VIEWS = ("reviews", "book", "load", "gestures", "songs")


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    of_every_kind = models()
    spread = np.linspace(-1, 1, 11)[:, None, None] * np.ones((11, 3, 2))
    levels = tuple(k / 10 for k in range(1, 10))
    of_every_kind["load"].error_quantiles_ = ErrorQuantiles(levels, (1, 2, 3), spread[1:-1], 99)
    with served(of_every_kind) as one:
        yield one


class Page:
    """A page of the browser, with what it asked for and complained of."""

    def __init__(self, browser: Any, client: Client, **how: Any) -> None:
        self.page = browser.new_page(**{"viewport": {"width": 1280, "height": 900}, **how})
        self.page.set_default_timeout(10_000)
        self.asked: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", self._heard)
        self.page.goto(f"http://127.0.0.1:{client.port}/")

    def _heard(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def show(self, name: str) -> Any:
        """The view of a model, once it is filled."""
        self.page.select_option("#model", name)
        self.page.wait_for_selector(READY[name])
        return self.page


READY = {
    "reviews": ".weighed", "book": "[role=status]:has-text('300 pieces')", "load": "path.band",
    "gestures": "td.gate", "songs": "td.gate",
}  # fmt: skip


@pytest.fixture
def page(browser: Any, client: Client) -> Iterator[Page]:
    one = Page(browser, client)
    yield one
    one.page.close()
    assert one.complaints == []
    assert all(url.startswith((f"http://127.0.0.1:{client.port}/", "data:")) for url in one.asked)


def test_a_text_is_judged_as_one_types(page, client):
    shown = page.show("reviews")
    model = client.service.models["reviews"].fitted
    shown.fill("#text", "")
    for typed in ("so good", ", not bad"):
        shown.locator("#text").press_sequentially(typed)
        text = shown.input_value("#text")
        p = model.predict_proba([text])[0]
        says = f"{round(100 * p.max())} %"
        shown.wait_for_selector(f".bars li:first-child .number:text-is('{says}')")
        assert shown.text_content(".said") == model.predict([text])[0]
    shown.wait_for_function(_TEXT_OF, arg=[".text", "so good, not bad"])
    assert shown.locator(".weighed").all_text_contents() == ["so", "good", ",", "not", "bad"]
    found = model.inspect("so good, not bad")
    assert shown.locator("thead th").all_text_contents() == list(found.steps)
    assert shown.locator("tbody tr").count() == 6  # three gates in each of two layers
    means = found.watched[0].values.mean(axis=-1)
    assert shown.text_content(".range") == f"{means.min():.2f} – {means.max():.2f}"


@pytest.mark.parametrize("name", ["reviews", "gestures"])
def test_nothing_is_told_of_a_text_or_sequence_that_was_taken_out(page, name):
    shown = page.show(name)
    shown.wait_for_selector("tbody tr")
    shown.fill("#text", "")
    shown.wait_for_function("() => !document.querySelector('tbody tr, .weighed')")


def test_a_text_goes_on_as_one_chooses_and_each_token_tells_what_else_could_stand(page, client):
    shown = page.show("book")
    model = client.service.models["book"].fitted

    def written() -> str:
        return "".join(shown.locator(".token:not(.given)").all_text_contents())

    def expected(prompt: str, **choice: Any) -> str:
        return "".join(model.generate(prompt, 300, seed=1, **choice))

    assert written() == expected("The ", temperature=0.8)
    for change, choice in (
        (lambda: shown.fill("#temperature", "1.4"), {"temperature": 1.4}),
        (lambda: shown.fill("#top-k", "6"), {"temperature": 1.4, "top_k": 6}),
    ):
        change()
        shown.wait_for_function(_TEXT_IS, arg=expected("The ", **choice))
    shown.fill("#prompt", "so ")
    text = expected("so ", temperature=1.4, top_k=6)
    shown.wait_for_function(_TEXT_IS, arg=text)
    shown.wait_for_selector(READY["book"])
    shown.locator(".token:not(.given)").nth(5).hover()
    shown.wait_for_function(_SIXTH_IS_SHOWN)
    likely = model.stream().feed("so " + text[:5]).top(8)
    shown.wait_for_selector(".beside .bars li:nth-child(8)")
    numbers = [
        float(one.split()[0]) for one in shown.locator(".beside .number").all_text_contents()
    ]
    np.testing.assert_allclose(numbers, [100 * p for _, p in likely], atol=0.51)
    shown.wait_for_selector(".token.weighed")
    shown.locator(".token[tabindex='0']").focus()
    shown.keyboard.press("ArrowRight")
    assert shown.evaluate("document.activeElement.textContent") == text[1]
    assert shown.locator(".token.shown").text_content() == text[1]


_TEXT_OF = "([what, text]) => document.querySelector(what)?.textContent === text"
_SIXTH_IS_SHOWN = """() => document.querySelectorAll(".token:not(.given)")[5]
    .classList.contains("shown")"""
_TEXT_IS = """text => [...document.querySelectorAll(".token:not(.given)")]
    .map(one => one.textContent).join("") === text"""


def test_the_last_days_can_be_dragged_by_mouse_and_by_keys_and_the_forecast_follows(page):
    shown = page.show("load")
    assert shown.locator("path.band").count() == 2
    last = shown.locator("circle").last
    told = shown.text_content("[role=status]")
    box = last.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    shown.mouse.move(x, y)
    shown.mouse.down()
    shown.mouse.move(x, y - 60, steps=4)
    shown.mouse.up()
    shown.wait_for_function(_TOLD_IS_NOT, arg=told)
    shown.wait_for_function(_LAST_IS_ABOVE, arg=box["y"] - 20)
    told, value = shown.text_content("[role=status]"), last.get_attribute("aria-valuenow")
    last.focus()
    shown.keyboard.press("ArrowDown")
    shown.keyboard.press("PageDown")  # the point has kept the focus
    shown.wait_for_function(_TOLD_IS_NOT, arg=told)
    moved = float(value) - float(shown.locator("circle").last.get_attribute("aria-valuenow"))
    assert moved == pytest.approx(1.1 * 2.0, abs=0.02)  # of a series with a deviation of 2
    shown.fill("#rows", "\n".join(f"{10 + k % 3}, -5" for k in range(12)))
    shown.wait_for_function("() => document.querySelector('circle:last-of-type')"
                            ".getAttribute('aria-valuenow') === '12'")  # fmt: skip


_LAST_IS_ABOVE = """y => [...document.querySelectorAll("circle")].at(-1)
    ?.getBoundingClientRect().y < y"""
_TOLD_IS_NOT = "text => document.querySelector('[role=status]').textContent !== text"


def test_every_view_fits_small_and_large_screens_and_axe_finds_nothing_serious(page):
    for name in VIEWS:
        shown = page.show(name)
        for width in (360, 390, 1280):
            shown.set_viewport_size({"width": width, "height": 800})
            assert shown.evaluate("document.documentElement.scrollWidth") <= width, (name, width)
        assert grave_problems(shown) == {}, name


def test_an_error_is_told_and_gone_when_it_is_mended(page):
    shown = page.show("load")
    shown.fill("#rows", "1, 2\n3, 4")
    shown.wait_for_selector("#problem:has-text('at least 8 rows')")
    shown.fill("#rows", "1, 2\n3, x")
    shown.wait_for_selector("#problem:has-text('row 1: expected finite numbers')")
    shown.fill("#rows", "\n".join(["10, -5"] * 8))
    shown.wait_for_selector("#problem:empty", state="attached")
    page.complaints = [one for one in page.complaints if "422" not in one]


def test_the_page_asks_for_the_token_of_its_server(browser):
    with served({"reviews": models()["reviews"]}, token="tide") as client:
        one = Page(browser, client)
        one.page.fill("#token", "tide")
        one.page.keyboard.press("Enter")
        one.page.wait_for_selector(".weighed")
        one.page.close()


def test_under_load_the_page_goes_on(page, client):
    stop = threading.Event()

    def press(_: int) -> list[int]:
        found = []
        while not stop.is_set():
            body = {"model": "reviews", "inputs": ["so good, not bad " * 20]}
            found.append(client.post("/v1/predict", body).status)
        return found

    with ThreadPoolExecutor(16) as pool:
        pressed = pool.map(press, range(16))
        try:
            shown = page.show("reviews")
            shown.fill("#text", "so bad")
            shown.wait_for_function(_TEXT_OF, arg=[".text", "so bad"])
            shown.wait_for_selector("thead th:nth-child(3):text-is('bad')")
        finally:
            stop.set()
        statuses = [status for found in pressed for status in found]
    assert set(statuses) == {200}
    assert len(statuses) >= 16
