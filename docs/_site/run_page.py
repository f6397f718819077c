"""Run the blocks of one page in their order, and keep what they show.

``python docs/_site/run_page.py PAGE FOLDER`` writes FOLDER/outputs.json: for each ``python`` and
``sh`` block of the page its text and pictures, in order.  Blocks of other languages are not run.
The blocks share one namespace and one working folder, which is removed.  As in a notebook, the
value of a block's last line is shown, and every picture that a block draws or writes.

``<!-- holds: EXPRESSION -->`` is not seen by a reader.  The expression must be true when its turn
comes, so that a page whose story is no longer so cannot be built.
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from markdown_it import MarkdownIt

EXECUTED = ("python", "sh")
_HOLDS = re.compile(r"<!-- holds: (.*?) -->", re.DOTALL)
_PICTURES = {".png", ".svg"}


class Block(NamedTuple):
    """``kind``: python, sh or holds; ``line`` of the page, from 1, on which ``code`` begins."""

    kind: str
    code: str
    line: int


def blocks_of(page: str) -> list[Block]:
    """What is run of a page, in its order."""
    found = []
    for token in MarkdownIt().parse(page):
        line = token.map[0] + 1 if token.map else 0
        if token.type == "fence" and token.info in EXECUTED:
            found.append(Block(token.info, token.content, line + 1))
        elif token.type == "html_block" and (told := _HOLDS.search(token.content)):
            found.append(Block("holds", " ".join(told[1].split()), line))
    return found


def run(page: Path, folder: Path) -> list[dict[str, Any]]:
    """Text and pictures of each executed block; raises SystemExit, with the line, where one fails.

    ``folder`` receives the pictures.
    """
    shown: list[dict[str, Any]] = []
    name = f"{page.parent.name}/{page.name}"
    namespace: dict[str, Any] = {"__name__": "__main__"}
    blocks = blocks_of(page.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as place, contextlib.chdir(place):
        for block in blocks:
            if block.kind == "holds":
                if not eval(block.code, namespace):
                    raise SystemExit(f"{name}, line {block.line}: no longer holds: {block.code}")
                continue
            before = _written(Path(place))
            text = io.StringIO()
            figures: list[Any] = []
            try:
                with contextlib.redirect_stdout(text), contextlib.redirect_stderr(text):
                    if block.kind == "sh":
                        print(_shell(block.code), end="")
                    else:
                        figures = _python(block, name, namespace)
            except Exception as e:
                told = "".join(traceback.format_exception(e)[-3:])
                raise SystemExit(
                    f"{name}, line {block.line}: the block failed\n{text.getvalue()}{told}"
                ) from None
            number = len(shown)
            pictures = []
            for k, figure in enumerate(figures):
                pictures.append(f"{number}-{k}.svg")
                figure.savefig(folder / pictures[-1], bbox_inches="tight")
            for path, _ in sorted(_written(Path(place)) - before):
                pictures.append(f"{number}-{path.name}")
                (folder / pictures[-1]).write_bytes(path.read_bytes())
            shown.append({"text": _plain(text.getvalue()), "pictures": pictures})
    return shown


def _python(block: Block, page: str, namespace: dict[str, Any]) -> list[Any]:
    """Run a block, print the value of its last line; the figures that it draws."""
    tree = ast.parse("\n" * (block.line - 1) + block.code, page)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, page, "exec"), namespace)
    value = None
    if isinstance(last, ast.Expr):
        value = eval(compile(ast.Expression(last.value), page, "eval"), namespace)
    if hasattr(value, "savefig"):
        return [value]
    pyplot = sys.modules.get("matplotlib.pyplot")
    figures = [pyplot.figure(number) for number in pyplot.get_fignums()] if pyplot else []
    if figures:
        pyplot.close("all")
    elif value is not None:
        print(repr(value))
    return figures


def _shell(code: str) -> str:
    ran = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if ran.returncode:
        raise RuntimeError(f"exit code {ran.returncode}\n{ran.stdout}")
    return ran.stdout


def _written(place: Path) -> set[tuple[Path, int]]:
    """Pictures in the working folder, and when they were written; not those of run folders."""
    found = (path for path in place.iterdir() if path.suffix in _PICTURES)
    return {(path, path.stat().st_mtime_ns) for path in found}


def _plain(text: str) -> str:
    """Lines as a terminal leaves them: without colours and what was overwritten."""
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    lines: Iterator[str] = (line.rpartition("\r")[2].rstrip() for line in text.split("\n"))
    return "\n".join(lines).strip("\n")


def main(page: str, folder: str) -> None:
    """Write what the page's blocks show to the folder."""
    here = Path(folder).resolve()
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    os.environ.setdefault("COLUMNS", "88")
    os.environ["MPLBACKEND"] = "Agg"
    shown = run(Path(page).resolve(), here)
    (here / "outputs.json").write_text(json.dumps(shown), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
