"""Pages of the command reference, written from the commands themselves."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tidegate.cli.app import tree
from tidegate.cli.command import Argument, panels
from tidegate.cli.help import PANELS
from tidegate.tasks import TASKS

if TYPE_CHECKING:
    from sphinx.application import Sphinx

FOLDER = "reference/commands"


def setup(app: Sphinx) -> dict[str, bool]:
    """Sphinx calls this: the pages are written before it looks for pages."""
    app.connect("builder-inited", lambda app: write(app.srcdir / FOLDER))
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def write(folder: Path) -> None:
    """A page for each command and one that lists them; what has not changed is left as it is."""
    pages = {f"{'-'.join(path)}.md": page(path, command) for path, command in commands()}
    pages["index.md"] = _list([path for path, _ in commands()])
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.md"):
        if old.name not in pages:
            old.unlink()
    for name, text in pages.items():
        place = folder / name
        if not place.exists() or place.read_text(encoding="utf-8") != text:
            place.write_text(text, encoding="utf-8")


def commands() -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command that does something, with its path: ("train", "classifier")."""

    def below(path: tuple[str, ...], entry: click.Command | None) -> Iterator:
        if isinstance(entry, click.Group):
            context = click.Context(entry)
            for name in entry.list_commands(context):
                yield from below((*path, name), entry.get_command(context, name))
        elif entry is not None:
            yield path, entry

    return below((), tree([]))


def page(path: tuple[str, ...], command: click.Command) -> str:
    """What ``--help-all`` says, as Markdown."""
    told = inspect.cleandoc(command.help or "").split("\n\n")
    arguments = [p for p in command.params if isinstance(p, Argument)]
    usage = " ".join(["tidegate", *path, "[OPTIONS]", *(str(a.metavar) for a in arguments)])
    parts = [f"# tidegate {' '.join(path)}", f"```text\n{usage}\n```", *map(_paragraph, told)]
    rows = {"Arguments": [(str(a.metavar), a.help or "") for a in arguments]}
    rows |= panels(command.params, hidden=True)
    order = {name: k for k, name in enumerate(PANELS)}
    for panel in sorted(rows, key=lambda name: order.get(name, len(order))):
        if rows[panel]:
            parts.append(f"## {panel}")
            parts += [f"`{name}`\n: {_text(text)}" for name, text in rows[panel] if text]
    if path == ("compare",):
        parts.append(
            "With `--task` the command also takes the options of "
            + ", ".join(f"[{t.command}](train-{t.command}.md)" for t in TASKS.values())
            + "."
        )
    return "\n\n".join(parts) + "\n"


def _paragraph(text: str) -> str:
    words = " ".join(text.split())
    kind, _, example = words.partition(": ")
    return f"```console\n$ {example}\n```" if kind in ("Example", "Try") else _text(words)


def _text(text: str) -> str:
    """Plain text as Markdown: what stands in backticks stays, other marks lose their meaning."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(
        p if p.startswith("`") else re.sub(r"([\\*_<\[\]|$])", r"\\\1", p) for p in parts
    )


def _list(paths: list[tuple[str, ...]]) -> str:
    entries = "\n".join(f"tidegate {' '.join(p)} <{'-'.join(p)}>" for p in paths)
    return (
        "# Commands\n\nWritten from the commands themselves: what `tidegate COMMAND --help-all` "
        f"says.\n\n```{{toctree}}\n:maxdepth: 1\n\n{entries}\n```\n"
    )
