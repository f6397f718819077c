"""docs/cells.md: every cell's equations, forward and backward, written from its definition.

``python -m tidegate.export.latex docs/cells.md`` writes the page, ``--check`` compares it.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections import Counter
from pathlib import Path

from tidegate.cells import CELLS, Cell
from tidegate.cells.costs import formula
from tidegate.equations import expr

_FUNCTIONS = {
    "sigmoid": r"\sigma",
    "tanh": r"\tanh",
    "relu": r"\operatorname{relu}",
    "exp": r"\exp",
    "log": r"\log",
    "erf": r"\operatorname{erf}",
    "maximum": r"\max",
    "minimum": r"\min",
}
_SUM, _TERM, _FACTOR = range(3)  # how tightly a printed expression binds


class _Printer:
    """Prints nodes; one that has a name prints as its name."""

    def __init__(self, names: dict[expr.Expr, str]) -> None:
        self.names = names

    def print(self, node: expr.Expr, within: int = _SUM, defining: bool = False) -> str:
        if node in self.names and not defining:
            return self.names[node]
        text, binds = self._print(node)
        return rf"\left({text}\right)" if binds < within else text

    def _print(self, node: expr.Expr) -> tuple[str, int]:
        match node:
            case expr.Constant(value):
                return _number(value), _FACTOR
            case expr.Noise(g):
                return rf"\varepsilon_{{{g.removeprefix('noise ')},t}}", _FACTOR
            case expr.Input(g):
                return rf"W_{{i{g}}} x_t + b_{{i{g}}}", _SUM
            case expr.State(s):
                return rf"{s}_{{t-1}}", _FACTOR
            case expr.StateGradient(s):
                return rf"\delta {s}_t", _FACTOR
            case expr.Vector(parameter, g):
                return _symbol(parameter, g), _FACTOR
            case expr.Product(parameter, g, a, True):
                return rf"{_symbol(parameter, g)}^\top {self.print(a, _FACTOR)}", _TERM
            case expr.Product(parameter, "", a):
                return rf"{_symbol(parameter, '')} {self.print(a, _FACTOR)}", _TERM
            case expr.Product(parameter, g, a):
                return rf"{_symbol(parameter, g)} {self.print(a, _FACTOR)} + b_{{h{g}}}", _SUM
            case expr.Mean(a):
                return rf"\operatorname{{mean}}\!\left({self.print(a)}\right)", _FACTOR
            case expr.Unary("rsqrt", a):
                return rf"\left({self.print(a)}\right)^{{-1/2}}", _TERM
            case expr.Unary("positive", a):
                return rf"\mathbb{{1}}\!\left[{self.print(a)} > 0\right]", _FACTOR
            case expr.Unary(op, a):
                return rf"{_FUNCTIONS[op]}\!\left({self.print(a)}\right)", _FACTOR
            case expr.Binary("maximum" | "minimum" as op, a, b):
                inside = f"{self.print(a)}, {self.print(b)}"
                return rf"{_FUNCTIONS[op]}\!\left({inside}\right)", _FACTOR
            case expr.Binary("div", a, b):
                return rf"\frac{{{self.print(a)}}}{{{self.print(b)}}}", _FACTOR
            case expr.Binary("mul", expr.Constant(-1.0), b):
                return rf"-{self.print(b, _TERM)}", _SUM
            case expr.Binary("mul", expr.Constant(value), b):
                return f"{_number(value)} {self.print(b, _FACTOR)}", _TERM if value > 0 else _SUM
            case expr.Binary("mul", a, b) if a is b:
                return rf"{self.print(a, _FACTOR)}^2", _TERM
            case expr.Binary("mul", a, b):
                return rf"{self.print(a, _TERM)} \odot {self.print(b, _TERM)}", _TERM
            case expr.Binary("sub", a, b):
                return f"{self.print(a)} - {self.print(b, _TERM)}", _SUM
            case expr.Binary("add", a, expr.Binary("mul", expr.Constant(-1.0), b)):
                return f"{self.print(a)} - {self.print(b, _TERM)}", _SUM
            case expr.Binary("add", a, b):
                return f"{self.print(a)} + {self.print(b)}", _SUM
        raise TypeError(f"cannot print {node}")


def _number(value: float) -> str:
    digits, _, power = f"{value:g}".partition("e")
    power = f"10^{{{int(power)}}}" if power else ""
    return power if power and digits == "1" else f"{digits} \\cdot {power}" if power else digits


def _symbol(parameter: str, gate: str) -> str:
    """W_hi of the recurrent weights; of others what follows ``weight_``, and the gate."""
    if parameter == expr.RECURRENT:
        return f"W_{{h{gate}}}"
    letter = "b" if parameter.startswith("bias_") else "w"
    name = parameter.removeprefix("weight_").removeprefix("bias_").replace("_", r"\_")
    return f"{letter}_{{{name},{gate}}}" if gate else f"W_{{{name}}}"


def _equations(lines: list[tuple[str, str]]) -> str:
    body = " \\\\\n".join(f"{left} &= {right}" for left, right in lines)
    return f"```math\n\\begin{{aligned}}\n{body}\n\\end{{aligned}}\n```"


def forward_equations(cell: Cell) -> list[tuple[str, str]]:
    """Left and right side of each equation of a step, in the order of computing, LaTeX."""
    named = _forward_names(cell)
    printer = _Printer(named)
    roots = [*cell.trace.gates.values(), *cell.trace.states.values()]
    order = [e for e in expr.topological(roots) if e in named]
    return [(named[e], printer.print(e, defining=True)) for e in order]


def _forward_names(cell: Cell) -> dict[expr.Expr, str]:
    """Of gates, states and parts that several take."""
    trace = cell.trace
    named = {e: f"{name}_t" for name, e in {**trace.gates, **trace.states}.items()}
    return _with_parts([*trace.gates.values(), *trace.states.values()], named, "q", 40)


def _with_parts(
    roots: list[expr.Expr], named: dict[expr.Expr, str], letter: str, longest: int
) -> dict[expr.Expr, str]:
    """These names, and letters for what is used more than once and would be ``longest`` or more."""
    nodes = expr.topological(roots)
    uses = Counter(operand for node in nodes for operand in node.operands)
    found = dict(named)
    for node in nodes:
        shared = node.operands and uses[node] > 1 and node not in found
        if shared and len(_Printer(found).print(node)) >= longest:
            found[node] = f"{letter}_{{{len(found) - len(named) + 1}}}"
    return found


def backward_equations(cell: Cell) -> list[tuple[str, str]]:
    """One step of back-propagation through time: gradients before the step from those after it."""
    trace, adjoint = cell.trace, cell.adjoint
    lines = []
    for g, gradient in adjoint.inputs.items():
        if g not in trace.noises:
            lines.append((gradient, rf"\delta a_{{{g}}}"))
    for (parameter, g), gradient in adjoint.products.items():
        if gradient is not adjoint.inputs.get(g):
            of = g or parameter.removeprefix("weight_")
            lines.append((gradient, rf"\delta b_{{{of}}}"))
    for (parameter, g), gradient in adjoint.vectors.items():
        lines.append((gradient, rf"\delta {_symbol(parameter, g)}"))
    for s in cell.states:
        lines.append((adjoint.states[s], rf"\delta {s}_{{t-1}}"))
    known = {**_forward_names(cell), **{e: symbol for e, symbol in lines}}
    named = _with_parts([e for e, _ in lines], known, "p", 120)
    lines += [(e, symbol) for e, symbol in named.items() if e not in known]
    position = {e: k for k, e in enumerate(expr.topological([e for e, _ in lines]))}
    lines.sort(key=lambda line: position[line[0]])
    printer = _Printer(named)
    return [(symbol, printer.print(e, defining=True)) for e, symbol in lines]


def _section(cell: Cell) -> str:
    gates = [
        f"{name}: {gate.meaning}" + (f", which {gate.role}" if gate.role else "")
        for name, gate in cell.gates.items()
    ]
    states = [f"{name}: {state.meaning} [B, {state.width}]" for name, state in cell.states.items()]
    called = f"{cell.name}, or {cell.short}" if cell.short else cell.name
    return "\n\n".join(
        [
            f"## {called}",
            cell.use,
            f"![One step of {cell.name}, from the old state to the new one](cells/{cell.name}.svg)",
            f"Source: {cell.source}.",
            f"Gates: {'; '.join(gates)}.  States: {'; '.join(states)}.",
            parameters_table(cell),
            cost(cell),
            _equations(forward_equations(cell)),
            "Backward:",
            _equations(backward_equations(cell)),
            "As it is written:",
            f"```python\n{_code(cell)}\n```",
        ]
    )


def cost(cell: Cell) -> str:
    """How many numbers a step multiplies a row by, and what biases and vectors add, in letters."""
    return (
        f"Cost: for each row a step multiplies by {formula(cell, vectors=False)} weights; biases"
        f"{' and vectors' if cell.vectors else ''} are {formula(cell, matrices=False)} more "
        "numbers."
    )


def _code(cell: Cell) -> str:
    """The function of the step, without its declaration and docstring."""
    source = inspect.getsource(cell.equations)
    source = source[source.index("def ") :].rstrip()
    return re.sub(r'\n    """.*?"""', "", source, count=1, flags=re.DOTALL)


def parameters_table(cell: Cell) -> str:
    """Every parameter with its role, shape and rows, Markdown."""
    lines = ["| parameter | role | shape | rows, in order |", "|---|---|---|---|"]
    for name, p in cell.parameters.items():
        rows = p.rows if len(p.blocks) == 1 else f"{len(p.blocks)} {p.rows}"
        shape = f"[{rows}]" if p.columns is None else f"[{rows}, {p.columns}]"
        lines.append(f"| {name} | {p.role} | {shape} | {', '.join(p.blocks)} |")
    if cell.heads:
        lines += ["", _HEADS]
    return "\n".join(lines)


_HEADS = """The recurrent weights are block-diagonal over K heads of H/K units: row h of a gate's
block multiplies the units of the head of h alone. K divides H."""


def page() -> str:
    """The whole of docs/cells.md."""
    head = """# Cells

Written by `python -m tidegate.export.latex docs/cells.md` from the functions in
`src/tidegate/cells/`: the same functions that compute. Do not edit.

`tidegate.Recurrent(name, input_size, hidden_size)` is the layer of any of them, and `--cell name`
the option of every task. A drawing shows one step: a box is a gate, an activation of a sum of
matrix products, and takes what lines bring; a circle works by element (1− is one minus it).
Lines that part carry the same values. [Vanishing gradients](tutorials/vanishing-gradients.md)
tells what the gates are for. Parameters of a layer are named as in torch.nn, with `_l0`,
`_l1_reverse` and so on behind the names below. Sizes: B rows, I input, H hidden
(units), P projection.

x_t is the input [B, I], h_t the output and state [B, H], ⊙ the product by element, σ the logistic
function. δ stands for the gradient of the loss: δh_t is what reaches the state after step t (from
the loss at t and from step t+1), δa_g the gradient of block g's input product W_ig x_t + b_ig and,
where no δb_g is listed, of its recurrent product too; δb_g is that of the recurrent product where
the two differ, or of a projection. Over all steps, dL/dW_ig adds up δa_g x_tᵀ and dL/dW_hg adds up
δb_g vᵀ, v being what W_hg is applied to; that of a vector w adds up δw over rows and steps. The
letters q and p stand for what several equations share, there and back.

The role of a gate (it keeps the old state, writes to it, or shows it) and that of a parameter
decide how training starts: recurrent weights are orthogonal, those of a unit on itself
(weight_diagonal) uniform from 0 to 1, input weights and projections Glorot uniform, all else 0."""
    return "\n\n".join([head, *(_section(cell) for cell in CELLS.values())]) + "\n"


def main(arguments: list[str]) -> int:
    """Write the page to the path given, or with ``--check`` say whether it is current."""
    check = "--check" in arguments
    paths = [Path(a) for a in arguments if a != "--check"]
    path = paths[0] if paths else Path("docs/cells.md")
    if not check:
        path.write_text(page(), encoding="utf-8")
        return 0
    if path.exists() and path.read_text(encoding="utf-8") == page():
        return 0
    print(f"{path} is not current; run: python -m tidegate.export.latex {path}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
