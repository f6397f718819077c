"""A browser for the tests of pages, where one is installed, and axe-core, which judges a page."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

AXE = Path(__file__).parent / "page/node_modules/axe-core/axe.min.js"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@contextmanager
def started() -> Iterator[Any]:
    """A browser; the test is skipped where there is none."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip("no browser: install Debian's chromium")
    sync_api = pytest.importorskip("playwright.sync_api")
    # its sandbox does not start for root
    options = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_api.sync_playwright() as playwright:
        one = playwright.chromium.launch(executable_path=found, args=options)
        yield one
        one.close()


def grave_problems(page: Any) -> dict[str, list[tuple[str, str]]]:
    """What axe-core, if it is there, finds serious in the light, and of contrasts in the dark."""
    found = {}
    if not AXE.is_file():  # installed by: make web
        return found
    page.evaluate(AXE.read_text(encoding="utf-8"))
    for scheme, rules in (("light", {}), ("dark", {"runOnly": ["color-contrast"]})):
        page.emulate_media(color_scheme=scheme)
        told = page.evaluate("rules => axe.run(rules).then(found => found.violations)", rules)
        grave = [
            (v["id"], v["nodes"][0]["html"]) for v in told if v["impact"] in ("serious", "critical")
        ]
        if grave:
            found[scheme] = grave
    return found
