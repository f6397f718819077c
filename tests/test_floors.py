"""The plan of the house: the table and the picture of docs/design.md, held against the source.

Every import counts: also one within a function, and one by a name in a string, as of importlib.
Only what type checkers alone see does not.
"""

import ast
import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import tidegate

PACKAGE = Path(tidegate.__file__).parent
PAGE = Path(__file__).parents[1] / "docs/design.md"
PATHS = {path.relative_to(PACKAGE).as_posix(): path for path in sorted(PACKAGE.rglob("*.py"))}
# | floor | `room` | what it holds | `room`, `room` |
ROW = re.compile(r"^\| (\d+) \| `([\w/]+)` \| [^|]+ \|([^|]*)\|$", re.MULTILINE)
ROWS = ROW.findall(PAGE.read_text(encoding="utf-8"))
FLOOR_OF = {room: int(floor) for floor, room, _ in ROWS}
MAY_IMPORT = {room: set(re.findall(r"`([\w/]+)`", rooms)) for _, room, rooms in ROWS}
# what help texts and option checks are made of, without torch
TORCH_FREE = {"training/__init__.py", "training/options.py", "training/schedules.py"}
# one contestant among others, imported when it is its turn
OF_TORCH = {"bench/torch_contestants.py", "onnx/torch_registry.py"}
HEAVY = {"torch", "accelerate", "torchmetrics", "polars", "tokenizers", "matplotlib"}
HEAVY |= {"onnx", "onnxruntime", "keras", "jax", "scipy", "sklearn"}


def module_of(path: str) -> str:
    parts = ["tidegate", *path.removesuffix(".py").split("/")]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in PATHS} | {"tidegate._engine": "_engine.pyi"}


def room_of(path: str) -> str | None:
    """The row of the table that a file stands in: that of its folder or its own."""
    place = path.rpartition(".")[0]
    while place and place not in FLOOR_OF:
        place = place.rpartition("/")[0]
    return place or None


def nodes_of(tree: ast.Module, *, in_functions: bool) -> Iterator[ast.AST]:
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting += node.orelse
        elif in_functions or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            waiting += ast.iter_child_nodes(node)


def imported(source: str, *, in_functions: bool = True) -> Iterator[str]:
    """Names of what a file imports: modules, and with them the names taken from them."""
    for node in nodes_of(ast.parse(source), in_functions=in_functions):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            name = node.value.partition(":")[0]
            assert not re.fullmatch(r"tidegate[\w.]*\.", name), "a module's name made of parts"
            if name in MODULES and name != "tidegate":
                yield name


def modules_imported(path: str) -> set[str]:
    """Those of the package that a file imports, but for itself."""
    found = set()
    for name in imported(PATHS[path].read_text(encoding="utf-8")):
        while name not in MODULES and "." in name:
            name = name.rpartition(".")[0]
        found.add(name)
    return found & MODULES.keys() - {module_of(path)}


IMPORTS = {path: modules_imported(path) for path in PATHS}


@pytest.mark.parametrize(
    ("source", "found"),
    {
        "import tidegate.nn.layers": {"tidegate.nn.layers"},
        "from tidegate.nn import layers": {"tidegate.nn.layers"},
        "def f():\n    from tidegate.nn.layers import GRU": {"tidegate.nn.layers.GRU"},
        "import_module('tidegate.nn.layers')": {"tidegate.nn.layers"},
        "TABLE = {'gru': 'tidegate.nn.layers:GRU'}": {"tidegate.nn.layers"},
        "if TYPE_CHECKING:\n    import torch\nelse:\n    import numpy": {"numpy"},
    }.items(),
    ids=repr,
)
def test_an_import_is_found_wherever_it_stands(source, found):
    assert set(imported(source)) == found


def test_a_module_named_by_parts_is_refused():
    with pytest.raises(AssertionError, match="made of parts"):
        list(imported("import_module(f'tidegate.nn.{name}')"))


def test_no_module_imports_itself_by_way_of_others():
    graph = {module_of(path): modules for path, modules in IMPORTS.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as e:
        pytest.fail(" <- ".join(e.args[1]))


def test_the_compiled_module_is_imported_in_one_place():
    importing = {path for path, modules in IMPORTS.items() if "tidegate._engine" in modules}
    assert importing == {"engine/compiled.py"}


@pytest.mark.parametrize("path", PATHS)
def test_every_file_has_a_room(path):
    assert room_of(path) is not None, f"expected a row of {PAGE.name} for {path}"


def test_every_room_is_there():
    assert {room_of(path) for path in MODULES.values()} == set(FLOOR_OF)


@pytest.mark.parametrize("room", FLOOR_OF)
def test_a_room_imports_what_the_table_says(room):
    of_room = [modules for path, modules in IMPORTS.items() if room_of(path) == room]
    rooms = {room_of(MODULES[module]) for module in set().union(*of_room)} - {room}
    row = ", ".join(f"`{name}`" for name in sorted(map(str, rooms)))
    assert MAY_IMPORT[room] == rooms, f"its row should end in | {row} |"


@pytest.mark.parametrize("room", FLOOR_OF)
def test_a_room_imports_only_lower_floors(room):
    for other in MAY_IMPORT[room]:
        assert FLOOR_OF[other] < FLOOR_OF[room], f"{room} imports {other}"


def picture() -> str:
    """The floors of the table, the highest first, their rooms side by side."""
    width, lines = 96, []
    for floor in sorted(set(FLOOR_OF.values()), reverse=True):
        rooms = [room for room, its_floor in FLOOR_OF.items() if its_floor == floor]
        ends = [k * (width + 1) // len(rooms) for k in range(len(rooms) + 1)]
        cells = [rooms[k].center(ends[k + 1] - ends[k] - 1) for k in range(len(rooms))]
        lines += [f"    +{'-' * width}+", f"{floor:2}  |{'|'.join(cells)}|"]
    return "\n".join(["```text", *lines, f"    +{'-' * width}+", "```"])


def test_the_picture_shows_the_floors_of_the_table():
    assert picture() in PAGE.read_text(encoding="utf-8"), f"it should be\n{picture()}"


@pytest.mark.parametrize("path", PATHS)
def test_torch_is_loaded_by_few_rooms_alone(path):
    if room_of(path) in {"nn", "training", "keras"} and path not in TORCH_FREE:
        return
    if path in OF_TORCH:
        return
    source = PATHS[path].read_text(encoding="utf-8")
    heavy = {name.split(".")[0] for name in imported(source, in_functions=False)} & HEAVY
    if room_of(path) == "onnx" and path != "onnx/__init__.py":  # imported when it is its turn
        heavy -= {"onnx"}
    assert not heavy
