"""docs/cells/NAME.svg: one step of every cell as a drawing, made from its traced graph.

``python -m tidegate.export.drawing docs/cells`` writes the drawings, ``--check`` compares them.

What enters stands left, what leaves right.  A box is a gate: an activation of a sum of matrix
products, of which the recurrent ones take what comes in by lines.  A circle works by element.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from tidegate.cells import CELLS, Cell
from tidegate.equations import expr

_ACTIVATIONS = {"sigmoid": "σ", "rsqrt": "1/√"}
_SIGNS = {"add": "+", "sub": "−", "mul": "×", "div": "÷", "maximum": "max", "minimum": "min"}
_COLUMN, _ROW, _MARGIN = 92, 62, 58  # pixels from one node's centre to the next, and to the edge
_SWEEPS = 12


@dataclass(eq=False)
class Node:
    """Something drawn: ``kind`` is box, circle, state or bend (where a line passes a column).

    ``text`` stands in it and ``below`` under that, each with its subscript behind ``_``.
    """

    kind: str
    text: str = ""
    below: str = ""
    before: list[Node] = field(default_factory=list)
    column: int = 0
    row: float = 0.0


class _Reader:
    """Makes nodes of expressions, each once."""

    def __init__(self, cell: Cell) -> None:
        self.names = {e: name for name, e in cell.trace.gates.items()}
        self.made: dict[expr.Expr, Node] = {}
        self.x = Node("state", "x_t")

    def node(self, e: expr.Expr) -> Node:
        if e not in self.made:
            self.made[e] = self._make(e)
        return self.made[e]

    def _make(self, e: expr.Expr) -> Node:
        name = self.names.get(e, "")
        match e:
            case expr.State(s):
                return Node("state", f"{s}_t−1")
            case expr.Noise():
                return Node("state", "ε_t")
            case expr.Vector(parameter, g):
                return Node("state", f"w_{g or parameter.removeprefix('weight_')}")
            case expr.Constant(value):
                return Node("state", f"{value:g}")
            case expr.Input(g):
                return Node("box", "W", name or f"W_i{g} x", [self.x])
            case expr.Product(parameter, g, a):
                told = f"W_h{g}" if parameter == expr.RECURRENT else f"W_{parameter[7:]}"
                return Node("box", told, name, [self.node(a)])
            case expr.Unary(op, a):
                text = _ACTIVATIONS.get(op, op)
                if sources := self._of_sum(a):
                    return Node("box", text, name, sources)
                return Node("circle", text, name, [self.node(a)])
            case expr.Mean(a):
                return Node("circle", "mean", name, [self.node(a)])
            case expr.Binary("sub", expr.Constant(value), b):
                return Node("circle", f"{value:g}−", name, [self.node(b)])
            case expr.Binary("mul", expr.Constant(value), b) | expr.Binary(
                "mul", b, expr.Constant(value)
            ):
                return Node("circle", "−" if value == -1 else f"{value:g}×", name, [self.node(b)])
            case expr.Binary(op, a, b):
                return Node("circle", _SIGNS[op], name, [self.node(a), self.node(b)])
        raise TypeError(f"cannot draw {e}")

    def _of_sum(self, e: expr.Expr) -> list[Node]:
        """What a gate takes in, if ``e`` is a sum with a matrix product in it."""
        addends = _addends(e)
        if not any(isinstance(a, expr.Input | expr.Product) for a in addends):
            return []
        found: dict[Node, None] = {}
        for a in addends:
            match a:
                case expr.Noise() | expr.Vector() | expr.Constant():
                    found[self.node(a)] = None
                case expr.Input():
                    found[self.x] = None
                case expr.Product(_, _, of):
                    found[self.node(of)] = None
                case expr.Binary("mul", expr.Vector(), of) | expr.Binary("mul", of, expr.Vector()):
                    found[self.node(of)] = None  # a peephole
                case _:
                    found[self.node(a)] = None
        return list(found)


def _addends(e: expr.Expr) -> list[expr.Expr]:
    if isinstance(e, expr.Binary) and e.op == "add":
        return [*_addends(e.a), *_addends(e.b)]
    return [e]


def graph(cell: Cell) -> list[Node]:
    """Every node of a cell's step, those that others need first."""
    reader = _Reader(cell)
    ends = [Node("state", f"{s}_t", "", [reader.node(e)]) for s, e in cell.trace.states.items()]
    found: dict[Node, None] = {}

    def visit(node: Node) -> None:
        if node not in found:
            for other in node.before:
                visit(other)
            found[node] = None

    for state in reversed(cell.states):  # the output lowest, beside the input
        for e, node in reader.made.items():
            if isinstance(e, expr.State) and e.name == state:
                visit(node)
    for end in reversed(ends):
        visit(end)
    return list(found)


def _placed(cell: Cell) -> list[Node]:
    """The nodes in columns and rows, with bends where a line passes others."""
    nodes = graph(cell)
    for node in nodes:
        node.column = 1 + max((n.column for n in node.before), default=-1)
    last = max(node.column for node in nodes)
    targets = {n for node in nodes for n in node.before}
    for node in nodes:
        if node not in targets:
            node.column = last
    lines = [(node, k) for node in nodes for k in range(len(node.before))]
    for node, k in lines:
        source = node.before[k]
        for column in range(source.column + 1, node.column):
            bend = next(
                (
                    n
                    for n in nodes
                    if n.kind == "bend" and n.column == column and source in n.before
                ),
                None,
            )
            if bend is None:
                bend = Node("bend", before=[source], column=column)
                nodes.append(bend)
            source = bend
        node.before[k] = source
    columns = [[n for n in nodes if n.column == column] for column in range(last + 1)]
    _order(columns)
    return nodes


def _order(columns: list[list[Node]]) -> None:
    """Rows by which lines are short and cross little: each node near those that it is joined to."""
    behind: dict[Node, list[Node]] = {n: [] for column in columns for n in column}
    for node in behind:
        for other in node.before:
            behind[other].append(node)
    for column in columns:
        _spread(column, {n: float(k) for k, n in enumerate(column)})
    for sweep in range(_SWEEPS):
        for column in columns if sweep % 2 else reversed(columns):
            wanted = {}
            for node in column:
                joined = (
                    [*node.before, *behind[node]]
                    if sweep > _SWEEPS // 2
                    else (node.before if sweep % 2 else behind[node])
                )
                rows = [n.row for n in joined] or [node.row]
                wanted[node] = sum(rows) / len(rows)
            _spread(sorted(column, key=lambda n: wanted[n]), wanted)
    top = min(n.row for n in behind)
    for node in behind:
        node.row -= top


def _spread(column: list[Node], wanted: dict[Node, float]) -> None:
    """Rows as near to those wanted as an order and a distance of one allow."""
    groups: list[tuple[float, list[Node]]] = []  # the row of each group's first node
    for node in column:
        groups.append((wanted[node], [node]))
        while len(groups) > 1 and groups[-2][0] + len(groups[-2][1]) > groups[-1][0]:
            _, later = groups.pop()
            _, earlier = groups.pop()
            both = [*earlier, *later]
            start = sum(wanted[n] - k for k, n in enumerate(both)) / len(both)
            groups.append((start, both))
    for start, group in groups:
        for k, node in enumerate(group):
            node.row = start + k


def svg(cell: Cell) -> str:
    """The drawing of a cell's step."""
    nodes = _placed(cell)
    width = 2 * _MARGIN + _COLUMN * max(n.column for n in nodes)
    height = round(2 * _MARGIN + _ROW * max(n.row for n in nodes))
    lines = [_line(source, node) for node in nodes for source in node.before]
    shapes = [_shape(node) for node in nodes if node.kind != "bend"]
    title = escape(f"One step of {cell.name}: what flows from the old state to the new one")
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'width="{width}" height="{height}" role="img" font-family="Georgia, serif" '
            'font-size="16" text-anchor="middle">',
            f"<title>{title}</title>",
            f'<rect width="{width}" height="{height}" rx="8" fill="#ffffff"/>',
            '<g fill="none" stroke="#4a5560" stroke-width="1.6">',
            *lines,
            '</g>\n<g stroke="#4a5560" stroke-width="1.4">',
            *[shape for shape, _ in shapes],
            '</g>\n<g fill="#1c2733">',
            *[text for _, text in shapes],
            "</g>\n</svg>\n",
        ]
    )


def _at(node: Node) -> tuple[int, int]:
    return _MARGIN + _COLUMN * node.column, round(_MARGIN + _ROW * node.row)


_HALF = {"box": 26, "circle": 17, "state": 26, "bend": 0}


def _line(source: Node, node: Node) -> str:
    (x0, y0), (x1, y1) = _at(source), _at(node)
    x0, x1 = x0 + _HALF[source.kind], x1 - _HALF[node.kind]
    middle = (x0 + x1) // 2
    tip = "" if node.kind == "bend" else f" M{x1 - 6} {y1 - 4} L{x1} {y1} L{x1 - 6} {y1 + 4}"
    return f'<path d="M{x0} {y0} C{middle} {y0} {middle} {y1} {x1} {y1}{tip}"/>'


def _shape(node: Node) -> tuple[str, str]:
    x, y = _at(node)
    if node.kind == "circle":
        shape = f'<circle cx="{x}" cy="{y}" r="17" fill="#f7c8c4"/>'
    else:
        colour, corner = ("#fbe6a2", 4) if node.kind == "box" else ("#cfe3f5", 15)
        place = f'x="{x - 26}" y="{y - 16}" width="52" height="32" rx="{corner}"'
        shape = f'<rect {place} fill="{colour}"/>'
    text = _text(node.text, x, y + 5, 12 if len(node.text) > 3 and node.kind == "circle" else 16)
    if node.below:
        text += _text(f"{node.below}_t" if "_" not in node.below else node.below, x, y + 31, 13)
    return shape, text


def _text(text: str, x: int, y: int, size: int) -> str:
    """Italic where a letter stands for a value; what follows ``_`` is a subscript."""
    word, _, subscript = text.partition("_")
    style = ' font-style="italic"' if len(word) == 1 and word.isalpha() and word != "σ" else ""
    told = escape(word)
    if subscript:
        told += f'<tspan dy="4" font-size="{size - 5}">{escape(subscript)}</tspan>'
    return f'<text x="{x}" y="{y}" font-size="{size}"{style}>{told}</text>'


def main(arguments: list[str]) -> int:
    """Write the drawings to the folder given, or with ``--check`` say whether they are current."""
    check = "--check" in arguments
    folder = Path(next((a for a in arguments if a != "--check"), "docs/cells"))
    folder.mkdir(parents=True, exist_ok=True)
    for cell in CELLS.values():
        path, drawn = folder / f"{cell.name}.svg", svg(cell)
        if not check:
            path.write_text(drawn, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != drawn:
            command = f"python -m tidegate.export.drawing {folder}"
            print(f"{path} is not current; run: {command}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
