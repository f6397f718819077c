"""Every message of an error says what helps: read from the source, since no test sees them all."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

SOURCE = Path(__file__).resolve().parents[1] / "src" / "tidegate"
ERRORS = {"InputError", "ModelFileError", "RowError"}
# Those that raise ValueError for an InputError that names the file and line.
BY_WAY_OF_VALUE_ERROR = {"data/sequences/npz.py", "data/sequences/ts.py"}
# What is called by others' code raises the errors that torch and numpy do.
LAYERS = {"engine/layer.py", *(f"nn/{n}.py" for n in ("arguments", "functional", "init"))}
LAYERS |= {"nn/recurrent_layer.py", "nn/cell_layers.py", "nn/layers.py"}
PYTHONS = {"ValueError", "TypeError", "RuntimeError"}
# Of these a caller says what helps: the reason why an array of a .npz cannot be read.
WITHIN_ANOTHER = {"_array"}


class Message(NamedTuple):
    place: str
    text: str  # all the texts that it may be made of


def messages(path: Path) -> Iterator[Message]:
    tree, name = ast.parse(path.read_text()), str(path.relative_to(SOURCE))
    errors = ERRORS | ({"ValueError"} if name in BY_WAY_OF_VALUE_ERROR else set())
    errors |= PYTHONS if name in LAYERS else set()
    functions = [f for f in ast.walk(tree) if isinstance(f, ast.FunctionDef)]
    by_name: dict[str, list[ast.AST]] = {}
    for function in functions:
        by_name.setdefault(function.name, []).append(function)
    for function in functions:
        if function.name in WITHIN_ANOTHER:
            continue
        known = assigned(tree.body) | assigned(list(ast.walk(function)))
        for node in ast.walk(function):
            called = node.func if isinstance(node, ast.Call) else None
            if isinstance(called, ast.Name) and called.id in errors:
                text = " ".join(texts(node, known | by_name, frozenset()))
                yield Message(f"{name}:{called.lineno}", text)


def assigned(nodes: list[ast.AST] | list[ast.stmt]) -> dict[str, list[ast.AST]]:
    """By name, what is assigned to it."""
    found: dict[str, list[ast.AST]] = {}
    for node in nodes:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if isinstance(node, ast.AugAssign):
            targets = [node.target]
        for target in targets:
            if isinstance(target, ast.Name) and isinstance(node, ast.Assign | ast.AugAssign):
                found.setdefault(target.id, []).append(node.value)
    return found


def texts(node: ast.AST, known: dict[str, list[ast.AST]], seen: frozenset[str]) -> Iterator[str]:
    """Every text in an expression, and in what its names stand for."""
    said = ast.get_docstring(node, clean=False) if isinstance(node, ast.FunctionDef) else None
    for part in ast.walk(node):
        if isinstance(part, ast.Constant) and part.value == said:
            continue
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            yield part.value
        elif isinstance(part, ast.Name) and part.id in known and part.id not in seen:
            for value in known[part.id]:
                yield from texts(value, known, seen | {part.id})


FOUND = {m.place: m for path in sorted(SOURCE.rglob("*.py")) for m in messages(path)}


def test_the_messages_are_found() -> None:
    assert len(FOUND) > 150
    assert sum("expected" in m.text for m in FOUND.values()) > 140


def test_a_message_without_a_remedy_is_seen() -> None:
    call = ast.parse('InputError(f"{problem}, got {x}")').body[0]
    known = assigned(ast.parse('problem = f"expected {y}"').body)
    text = " ".join(texts(call, known, frozenset()))
    assert "expected " in text
    assert not has_remedy(text)
    assert has_remedy(text + "; name another")


def has_remedy(text: str) -> bool:
    return "; " in text or "?" in text


def test_every_message_says_what_helps() -> None:
    told = [m for m in FOUND.values() if "expected" in m.text]
    assert not [m.place for m in told if not has_remedy(m.text)]
