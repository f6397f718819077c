"""The site without Sphinx: what its own code makes of pages, commands and cells.

``make docs`` builds it, runs every block of every tutorial, and holds its links.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from tidegate.cells import CELLS
from tidegate.cli.command import Option
from tidegate.export import drawing

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGES = sorted(
    page
    for page in DOCS.rglob("*.md")
    if not {"_build", "_outputs", "commands"} & set(page.relative_to(DOCS).parts)
)
TUTORIALS = [DOCS / "start.md", *sorted((DOCS / "tutorials").glob("*.md"))]
TRANSLATIONS = sorted([*(DOCS / "ru").glob("*.md"), *(DOCS / "zh").glob("*.md")])
FOLLOWS = re.compile(
    r"^<!-- follows (\S+) of (\d{4}-\d\d-\d\d), sha256 (\w{12}) -->$", re.MULTILINE
)


def name_of(page: Path) -> str:
    return page.relative_to(DOCS).as_posix()


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module of docs/_site by its name."""
    monkeypatch.syspath_prepend(str(DOCS / "_site"))
    return importlib.import_module


def test_every_page_is_in_one_table_of_contents() -> None:
    listed: list[Path] = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for toctree in re.findall(r"^```\{toctree\}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            for entry in (line for line in toctree.splitlines() if line and line[0] != ":"):
                entry = entry.partition("<")[2].rstrip(">") or entry
                listed += sorted(page.parent.glob(f"{entry}.md"))
    listed = [page for page in listed if "commands" not in page.parts]
    missing = set(PAGES) - set(listed) - {DOCS / "index.md"}
    assert not missing, "name them in a toctree, such as that of howto.md"
    assert len(listed) == len(set(listed)), "a page is listed twice"


@pytest.mark.parametrize("page", TUTORIALS, ids=name_of)
def test_what_a_tutorial_runs_is_python_and_shell(site: Any, page: Path) -> None:
    for block in site("run_page").blocks_of(page.read_text(encoding="utf-8")):
        if block.kind == "sh":
            assert shlex.split(block.code), block
        else:
            ast.parse(block.code, mode="eval" if block.kind == "holds" else "exec")


def test_a_page_shows_what_its_blocks_print_write_and_draw(site: Any, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A page\n\n```python\na = 1\nprint('one')\na + 1\n```\n\n<!-- holds: a == 1 -->\n\n"
        "```sh\necho 'two' > two.txt; cat two.txt; cp two.txt two.svg\n```\n\n"
        "```python\nfrom matplotlib.figure import Figure\n\nFigure()\n```\n\n"
        "```text\nnot run\n```\n"
    )
    shown = site("run_page").run(page, tmp_path)
    assert [block["text"] for block in shown] == ["one\n2", "two", ""]
    assert [block["pictures"] for block in shown] == [[], ["1-two.svg"], ["2-0.svg"]]
    assert (tmp_path / "2-0.svg").stat().st_size > 100


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("```python\na = 1\nb\n```\n", "line 4: the block failed"),
        ("```sh\nfalse\n```\n", "line 4: the block failed"),
        ("<!-- holds: 1 > 2 -->\n", "line 3: no longer holds: 1 > 2"),
    ],
    ids=["python", "shell", "claim"],
)
def test_a_page_that_is_no_longer_true_is_refused_with_its_line(
    site: Any, tmp_path: Path, text: str, line: str
) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"# A page\n\n{text}")
    with pytest.raises(SystemExit, match=re.escape(line)):
        site("run_page").run(page, tmp_path)


def test_every_command_has_a_page_with_all_its_options(site: Any, tmp_path: Path) -> None:
    pages = site("command_pages")
    pages.write(tmp_path)
    commands = dict(pages.commands())
    assert {("train", "classifier"), ("export", "onnx"), ("info",)} <= commands.keys()
    for path, command in commands.items():
        text = (tmp_path / f"{'-'.join(path)}.md").read_text(encoding="utf-8")
        assert text.startswith(f"# tidegate {' '.join(path)}\n")
        for option in command.params:
            if isinstance(option, Option) and "--help" not in option.opts[0]:
                assert re.search(rf"^`[^`]*{option.opts[0]}\b", text, re.MULTILINE), option.opts
    assert len(list(tmp_path.glob("*.md"))) == len(commands) + 1


def test_help_is_escaped_but_for_what_stands_in_backticks(site: Any) -> None:
    assert site("command_pages")._text("*, `--a_b` and a_b") == r"\*, `--a_b` and a\_b"


@pytest.mark.parametrize("cell", CELLS.values(), ids=lambda cell: cell.name)
def test_a_drawing_shows_every_state_and_gate_and_hides_none(cell: Any) -> None:
    nodes = drawing._placed(cell)
    texts = [node.text for node in nodes]
    for state in cell.states:
        assert texts.count(f"{state}_t−1") == texts.count(f"{state}_t") == 1
    for gate in cell.trace.gates:
        assert [node.below for node in nodes].count(gate) == 1
    for a in nodes:
        for b in nodes:
            assert a is b or a.column != b.column or abs(a.row - b.row) > 0.99, (a.text, b.text)
        assert all(source.column == a.column - 1 for source in a.before)
    assert (DOCS / "cells" / f"{cell.name}.svg").read_text(encoding="utf-8") == drawing.svg(cell)


@pytest.mark.parametrize("page", TRANSLATIONS, ids=name_of)
def test_a_translation_follows_its_original(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    follows = FOLLOWS.search(text)
    if page.name == "index.md":
        return
    assert follows, "expected <!-- follows PAGE of DATE, sha256 DIGEST --> on a line"
    name, date, digest = follows.groups()
    original = (DOCS / name).read_bytes()
    now = hashlib.sha256(original).hexdigest()[:12]
    assert digest == now, (
        f"docs/{name} has changed since {date}; translate what changed in {name_of(page)}, then "
        f"write: <!-- follows {name} of TODAY, sha256 {now} -->"
    )
    assert text.count(date) == 2, "its reader must see the date, too"


def test_a_docstring_s_arguments_become_a_list_and_sentences_stay(site: Any) -> None:
    lines = [
        "Reads x.",
        "",
        "x, h: [T, B]",
        "    of any type",
        "y: more",
        "",
        "Raises: not this,",
        "but",
    ]
    read = site("docstrings").with_lists(lines)
    assert read[2:5] == ["``x, h``", "    [T, B]", "    of any type"]
    assert read[5:7] == ["``y``", "    more"]
    assert read[:2] + read[7:] == [*lines[:2], *lines[5:], ""]
