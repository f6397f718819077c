"""Pages whose blocks are run when the site is built, with what they show below each of them.

Every page of Start and of the tutorials is one.  All are run before Sphinx reads the first, in a
process each, side by side on the cores there are.  What a page showed is kept in ``_outputs`` and
used again while its blocks and the package are the same; so a translation, which has the blocks of
its original, is not run again.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatch
from pathlib import Path

from docutils import nodes
from run_page import EXECUTED, blocks_of
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging

import tidegate

PAGES = ("start", "tutorials/*", "ru/*", "zh/*")
_PROGRAM = Path(__file__).with_name("run_page.py")
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "TIDEGATE_NUM_THREADS": "1", "KERAS_BACKEND": "torch"}
_log = logging.getLogger(__name__)


def setup(app: Sphinx) -> dict[str, bool]:
    """Sphinx calls this."""
    app.connect("env-get-outdated", _run_pages)
    app.connect("doctree-read", _show_outputs, priority=400)  # before images are collected
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def is_executed(name: str) -> bool:
    """Whether the blocks of a page, named as Sphinx does, are run."""
    return any(fnmatch(name, pattern) for pattern in PAGES)


def _run_pages(app: Sphinx, env: BuildEnvironment, *_: object) -> list[str]:
    """Run what is not kept; the pages to read again though they have not changed.

    What goes wrong on a page is a warning, of which ``make docs`` makes an error at its end.
    """
    kept = app.srcdir / "_outputs"
    package = _digest(sorted(Path(str(tidegate.__file__)).parent.rglob("*.py")))
    wanted: dict[str, Path] = {}
    outputs: dict[str, str] = {}
    for name in filter(is_executed, sorted(env.found_docs)):
        page = Path(env.doc2path(name))
        if blocks := [block[:2] for block in blocks_of(page.read_text(encoding="utf-8"))]:
            outputs[name] = hashlib.sha256(f"{package}{blocks}".encode()).hexdigest()[:16]
            wanted.setdefault(outputs[name], page)
    for folder in kept.glob("*"):
        if folder.name not in wanted or not (folder / "outputs.json").exists():
            shutil.rmtree(folder)
    missing = [(page, kept / name) for name, page in wanted.items() if not (kept / name).exists()]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for told in filter(None, pool.map(lambda m: _run(*m), missing)):
            _log.warning(told)
    app.outputs_of_pages = outputs  # type: ignore[attr-defined]
    new = {folder.name for _, folder in missing}
    return [page for page, output in outputs.items() if output in new]


def _digest(paths: list[Path]) -> str:
    whole = hashlib.sha256(_PROGRAM.read_bytes())
    for path in paths:
        whole.update(path.read_bytes())
    return whole.hexdigest()


def _run(page: Path, folder: Path) -> str:
    """What went wrong, or nothing."""
    folder.mkdir(parents=True)
    begun = time.monotonic()
    ran = subprocess.run(
        [sys.executable, str(_PROGRAM), str(page), str(folder)],
        env=_ONE_THREAD | os.environ,
        capture_output=True,
        text=True,
        check=False,
    )
    _log.info("ran the blocks of %s (%.0f s)", page.name, time.monotonic() - begun)
    return "" if ran.returncode == 0 else ran.stderr[-4000:]


def _show_outputs(app: Sphinx, doctree: nodes.document) -> None:
    name = app.outputs_of_pages.get(app.env.docname, "none")  # type: ignore[attr-defined]
    kept = app.srcdir / "_outputs" / name / "outputs.json"
    if not kept.exists():  # nothing to run, or it failed
        return
    outputs = json.loads(kept.read_text(encoding="utf-8"))
    blocks = [b for b in doctree.findall(nodes.literal_block) if b.get("language") in EXECUTED]
    for block, shown in zip(blocks, outputs, strict=True):
        below: list[nodes.Node] = []
        if shown["text"]:
            text = nodes.literal_block(shown["text"], shown["text"], language="text")
            text["classes"].append("output")
            below.append(text)
        for picture in shown["pictures"]:
            image = nodes.image(uri=f"/_outputs/{name}/{picture}", alt="what the code above draws")
            below.append(image)
        block.parent[block.parent.index(block) + 1 : block.parent.index(block) + 1] = below
