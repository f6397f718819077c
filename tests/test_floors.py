"""Who may import whom: the table of docs/design.md, held against the source."""

import ast
from pathlib import Path

import pytest

import tidegate

PACKAGE = Path(tidegate.__file__).parent
FLOORS = [
    {"terminal", "errors", "equations", "registration"},
    {"cells"},
    {"engine", "export", "architecture"},
    {"data", "sampling", "container", "output", "intervals"},
    {"checkpoint"},
    {"nn"},
    {"training"},
    {"tasks"},
    {"bench"},
    {"comparison"},
    {"cli"},
]
# the rooms within data/, lowest first; sources.py above them all opens what a command is given
DATA_ROOMS = ["times", "files", "text", "series", "sequences", "sources"]
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
# what help texts and option checks are made of, without torch
TORCH_FREE = {"training/__init__.py", "training/options.py", "training/schedules.py"}
# one contestant among others, imported when it is its turn
TORCH_CONTESTANTS = "bench/torch_contestants.py"
DOORS = {"__init__", "__main__"}
FILES = sorted(p.relative_to(PACKAGE) for p in PACKAGE.rglob("*.py"))


def imported_on_loading(path):
    """Names of the modules that a file imports when it is itself imported."""
    nodes = list(ast.parse((PACKAGE / path).read_text(encoding="utf-8")).body)
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            nodes += node.orelse
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            nodes += [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)]


def room_of(path):
    return path.parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", FILES, ids=str)
def test_a_file_imports_only_lower_floors(path):
    room = room_of(path)
    if room in DOORS:
        return
    for name in imported_on_loading(path):
        parts = name.split(".")
        if parts[0] != "tidegate" or len(parts) < 2 or parts[1] == room:
            continue
        other = parts[1]
        if other not in FLOOR_OF:  # the compiled module and single names of the package
            continue
        same_floor = FLOOR_OF[other] == FLOOR_OF[room] and len(FLOORS[FLOOR_OF[room]]) > 1
        assert FLOOR_OF[other] < FLOOR_OF[room] or same_floor, f"{path} imports {name}"


@pytest.mark.parametrize("path", [p for p in FILES if p.parts[0] == "data"], ids=str)
def test_a_room_of_data_imports_only_lower_ones(path):
    room = path.parts[1].removesuffix(".py")
    if room == "__init__":
        return
    for name in imported_on_loading(path):
        if name.startswith("tidegate.data."):
            other = name.split(".")[2]
            assert DATA_ROOMS.index(other) <= DATA_ROOMS.index(room), f"{path} imports {name}"


@pytest.mark.parametrize("path", FILES, ids=str)
def test_every_file_has_a_room(path):
    assert room_of(path) in FLOOR_OF or room_of(path) in DOORS


@pytest.mark.parametrize("path", FILES, ids=str)
def test_torch_is_loaded_by_nn_and_training_alone(path):
    if room_of(path) in {"nn", "training"} and path.as_posix() not in TORCH_FREE:
        return
    if path.as_posix() == TORCH_CONTESTANTS:
        return
    loaded = {name.split(".")[0] for name in imported_on_loading(path)}
    heavy = {"torch", "accelerate", "torchmetrics", "polars", "tokenizers", "matplotlib"}
    heavy |= {"onnx", "onnxruntime", "keras", "jax", "scipy", "sklearn"}
    assert not loaded & heavy
