"""docs/cells.md: every cell's equations, forward and backward, written from its definition.

``python -m tidegate.export.latex docs/cells.md`` writes the page, ``--check`` compares it.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tidegate import expr
from tidegate.cells import CELLS, Cell

_FUNCTIONS = {"sigmoid": r"\sigma", "tanh": r"\tanh", "relu": r"\operatorname{relu}"}
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
                return f"{value:g}", _FACTOR
            case expr.Input(g):
                return rf"W_{{i{g}}} x_t + b_{{i{g}}}", _SUM
            case expr.State(s):
                return rf"{s}_{{t-1}}", _FACTOR
            case expr.StateGradient(s):
                return rf"\delta {s}_t", _FACTOR
            case expr.Product(g, a, True):
                return rf"W_{{h{g}}}^\top {self.print(a, _FACTOR)}", _SUM
            case expr.Product(g, a):
                return rf"W_{{h{g}}} {self.print(a, _FACTOR)} + b_{{h{g}}}", _SUM
            case expr.Unary("positive", a):
                return rf"\mathbb{{1}}\!\left[{self.print(a)} > 0\right]", _FACTOR
            case expr.Unary(op, a):
                return rf"{_FUNCTIONS[op]}\!\left({self.print(a)}\right)", _FACTOR
            case expr.Binary("mul", expr.Constant(-1.0), b):
                return rf"-{self.print(b, _TERM)}", _SUM
            case expr.Binary("mul", a, b) if a is b:
                return rf"{self.print(a, _FACTOR)}^2", _FACTOR
            case expr.Binary("mul", a, b):
                return rf"{self.print(a, _TERM)} \odot {self.print(b, _TERM)}", _TERM
            case expr.Binary("sub", a, b):
                return f"{self.print(a)} - {self.print(b, _TERM)}", _SUM
            case expr.Binary("add", a, expr.Binary("mul", expr.Constant(-1.0), b)):
                return f"{self.print(a)} - {self.print(b, _TERM)}", _SUM
            case expr.Binary("add", a, b):
                return f"{self.print(a)} + {self.print(b)}", _SUM
        raise TypeError(f"cannot print {node}")


def _equations(lines: list[tuple[str, str]]) -> str:
    body = " \\\\\n".join(f"{left} &= {right}" for left, right in lines)
    return f"```math\n\\begin{{aligned}}\n{body}\n\\end{{aligned}}\n```"


def forward_equations(cell: Cell) -> list[tuple[str, str]]:
    """Left and right side of each equation of a step, gates first, LaTeX."""
    trace = cell.trace
    named = {e: f"{name}_t" for name, e in {**trace.gates, **trace.states}.items()}
    printer = _Printer(named)
    states = list(trace.states.values())
    order = [*trace.gates.values(), *(e for e in expr.topological(states) if e in states)]
    return [(named[e], printer.print(e, defining=True)) for e in order]


def backward_equations(cell: Cell) -> list[tuple[str, str]]:
    """One step of back-propagation through time: gradients before the step from those after it."""
    trace, adjoint = cell.trace, cell.adjoint
    names = {e: f"{name}_t" for name, e in {**trace.gates, **trace.states}.items()}
    lines = []
    for g in cell.gates:
        gradient = adjoint.inputs[g]
        symbol = rf"\delta a_{{{g}}}"
        lines.append((gradient, symbol))
    for g in cell.gates:
        gradient = adjoint.products[g]
        if gradient is not adjoint.inputs[g]:
            lines.append((gradient, rf"\delta b_{{{g}}}"))
    for s in cell.state:
        lines.append((adjoint.states[s], rf"\delta {s}_{{t-1}}"))
    named = {**names, **{e: symbol for e, symbol in lines}}
    position = {e: k for k, e in enumerate(expr.topological([e for e, _ in lines]))}
    lines.sort(key=lambda line: position[line[0]])
    printer = _Printer(named)
    return [(symbol, printer.print(e, defining=True)) for e, symbol in lines]


def _section(cell: Cell) -> str:
    symbols = [f"{g}: {meaning}" for g, meaning in {**cell.gates, **cell.state}.items()]
    blocks = ", ".join(cell.gates)
    return "\n\n".join(
        [
            f"## {cell.name}",
            f"Source: {cell.source}.  Rows of the weights, in order: {blocks}.  "
            f"Weights of one layer: {len(cell.gates)}·H·(I + H + 2).",
            "; ".join(symbols) + ".",
            _equations(forward_equations(cell)),
            "Backward:",
            _equations(backward_equations(cell)),
        ]
    )


def page() -> str:
    """The whole of docs/cells.md."""
    head = """# Cells

Written by `python -m tidegate.export.latex docs/cells.md` from the functions in
`src/tidegate/cells/`: the same functions that compute. Do not edit.

x_t is the input [B, I], h_t the hidden state [B, H], ⊙ the product by element, σ the logistic
function. δ stands for the gradient of the loss: δh_t is what reaches the state after step t (from
the loss at t and from step t+1), δa_g the gradient of block g's input product W_ig x_t + b_ig and,
where no δb_g is listed, of its recurrent product too; δb_g is that of the recurrent product where
the two differ. Over all steps, dL/dW_ig adds up δa_g x_tᵀ and dL/dW_hg adds up δb_g vᵀ, v being
what W_hg is applied to."""
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
