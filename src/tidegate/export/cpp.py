"""csrc/generated/cells.h: every cell's pointwise step and its derivative, from its equations.

``python -m tidegate.export.cpp csrc/generated/cells.h`` writes the header, ``--check`` compares it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from tidegate.cells import CELLS, Cell
from tidegate.equations import expr

_ONE_LINE = "TIDEGATE_INLINE static void"


class _Writer:
    """Writes nodes as C++; ``known`` maps the nodes that stand in a variable to its name."""

    def __init__(self, known: dict[expr.Expr, str], roots: Iterable[expr.Expr]) -> None:
        self.known = dict(known)
        self.lines: list[str] = []
        roots = list(roots)
        reached = [n for n in expr.topological(roots) if n not in known]
        self.uses = Counter(o for n in reached for o in n.operands) + Counter(roots)
        for node in expr.topological(roots, self.known):
            shared = self.uses[node] > 1 or isinstance(node, expr.Unary)
            if shared and not isinstance(node, expr.Constant):
                text = self.text(node)
                name = f"v{len(self.lines)}"
                self.lines.append(f"const Vec {name} = {text};")
                self.known[node] = name

    def text(self, node: expr.Expr) -> str:
        if node in self.known:
            return self.known[node]
        match node:
            case expr.Constant(value):
                return f"broadcast({value:.1f}f)"
            case expr.Unary(op, a):
                return f"{op}({self.text(a)})"
            case expr.Binary("mul", expr.Constant(-1.0), b):
                return f"-({self.text(b)})"
            case expr.Binary("mul", a, b):
                return f"({self.text(a)} * {self.text(b)})"
            case expr.Binary("add", a, b) if self._fuses(b):
                return self._fused(b, a)
            case expr.Binary("add", a, b) if self._fuses(a):
                return self._fused(a, b)
            case expr.Binary("sub", a, b) if self._fuses(b):
                return self._fused(b, a, sign="-")
            case expr.Binary("add", a, b):
                return f"({self.text(a)} + {self.text(b)})"
            case expr.Binary("sub", a, b):
                return f"({self.text(a)} - {self.text(b)})"
        raise TypeError(f"cannot write {node}")

    def _fuses(self, node: expr.Expr) -> bool:
        return node not in self.known and isinstance(node, expr.Binary) and node.op == "mul"

    def _fused(self, product: expr.Expr, addend: expr.Expr, sign: str = "") -> str:
        a, b = product.operands
        if isinstance(a, expr.Constant) and a.value == -1.0:
            return f"({self.text(addend)} {'+' if sign else '-'} {self.text(b)})"
        return f"multiply_add({sign}{self.text(a)}, {self.text(b)}, {self.text(addend)})"


def saved_nodes(cell: Cell) -> list[expr.Expr]:
    """What the backward step needs of the forward one: G blocks that replace w, then the others."""
    forward = expr.topological(cell.trace.states.values())
    adjoint = cell.adjoint
    wanted: dict[expr.Expr, None] = {}
    kept = (expr.Unary, expr.Product)

    def visit(node: expr.Expr) -> None:
        if isinstance(node, kept) and node in forward:
            wanted[node] = None
        else:
            for operand in node.operands:
                visit(operand)

    for group in (adjoint.inputs, adjoint.products, adjoint.states):
        for root in group.values():
            visit(root)
    nodes = [n for n in forward if n in wanted]
    in_gates = [cell.trace.gates[g] for g in cell.gates if g in cell.trace.gates]
    return in_gates + [n for n in nodes if n not in in_gates]


def separate_products(cell: Cell) -> list[str]:
    """The gates whose recurrent product has another gradient than their input product."""
    adjoint = cell.adjoint
    return [g for g in cell.gates if adjoint.products[g] is not adjoint.inputs[g]]


def write_cell(cell: Cell) -> str:
    """One struct: sizes, ``forward`` and ``backward`` on vectors of 16, 8 or 4 units."""
    trace, adjoint, gates = cell.trace, cell.adjoint, list(cell.gates)
    saved, separate = saved_nodes(cell), separate_products(cell)
    state_names = list(cell.state)
    before: dict[expr.Expr, str] = {
        n: f"before[{state_names.index(n.name)}]"
        for n in expr.topological(trace.states.values())
        if isinstance(n, expr.State)
    }
    leaves: dict[expr.Expr, str] = dict(before)
    for node in expr.topological(trace.states.values()):
        if isinstance(node, expr.Input):
            leaves[node] = f"w[{gates.index(node.gate)}]"
        elif isinstance(node, expr.Product):
            leaves[node] = f"u[{gates.index(node.gate)}]"
    forward = _Writer(leaves, [*trace.states.values(), *saved])
    forward_lines = [
        *forward.lines,
        *(f"after[{k}] = {forward.text(e)};" for k, e in enumerate(trace.states.values())),
        *(f"saved[{k}] = {forward.text(e)};" for k, e in enumerate(saved)),
    ]

    known: dict[expr.Expr, str] = {**before, **{e: f"saved[{k}]" for k, e in enumerate(saved)}}
    roots = [*adjoint.inputs.values(), *(adjoint.products[g] for g in separate)]
    direct = {s: _without_products(e) for s, e in adjoint.states.items()}
    roots += [e for e in direct.values() if e is not None]
    for node in expr.topological(roots):
        if isinstance(node, expr.StateGradient):
            known[node] = f"d_after[{state_names.index(node.name)}]"
    backward = _Writer(known, roots)
    backward_lines = [
        *backward.lines,
        *(f"d_w[{gates.index(g)}] = {backward.text(e)};" for g, e in adjoint.inputs.items()),
        *(f"d_u[{k}] = {backward.text(adjoint.products[g])};" for k, g in enumerate(separate)),
        *(
            f"d_before[{k}] = {backward.text(e) if e is not None else 'broadcast(0.0f)'};"
            for k, e in enumerate(direct.values())
        ),
    ]
    parameters = "const Vec* w, const Vec* u, const Vec* before, Vec* after, Vec* saved"
    back_parameters = (
        "const Vec* saved, const Vec* before, const Vec* d_after, Vec* d_w, Vec* d_u, Vec* d_before"
    )
    slots = ", ".join(str(separate.index(g) if g in separate else -1) for g in gates)
    return "\n".join(
        [
            f"// {cell.source}",
            f"// gates: {', '.join(gates)}; states: {', '.join(state_names)}",
            f"struct {class_name(cell)} {{",
            f'static constexpr const char* kName = "{cell.name}";',
            f"static constexpr int kGates = {len(gates)}, kStates = {len(state_names)};",
            f"static constexpr int kExtra = {len(saved) - len(gates)};",
            f"static constexpr int kSeparate = {len(separate)};",
            f"static constexpr int kSlot[] = {{{slots}}};",
            f"{_ONE_LINE} forward({parameters}) {{",
            *_unused(["w", "u", "before", "after", "saved"], forward_lines),
            *forward_lines,
            "}",
            f"{_ONE_LINE} backward({back_parameters}) {{",
            *_unused(["saved", "before", "d_after", "d_w", "d_u", "d_before"], backward_lines),
            *backward_lines,
            "}",
            "};",
        ]
    )


def write_staged_cell(cell: Cell) -> str:
    """One struct of a cell whose last gates' product takes more than the state, as r * h."""
    trace, adjoint, gates = cell.trace, cell.adjoint, list(cell.gates)
    first = len(cell.gates_of_state)
    saved, products = saved_nodes(cell), trace.products
    operand = products[gates[first]].a
    inner = next(n for n in expr.topological(adjoint.inputs.values()) if _is_transposed(n))
    if gates[:first] != list(cell.gates_of_state) or len(saved) != len(gates):
        raise NotImplementedError(f"{cell.name}: no two stages of gates and nothing else")
    before: dict[expr.Expr, str] = {
        n: "before[0]" for n in expr.topological([operand]) if isinstance(n, expr.State)
    }
    names = {e: f"saved[{k}]" for k, e in enumerate(saved)}
    leaves: dict[expr.Expr, str] = dict(before)
    for node in expr.topological(trace.states.values()):
        if isinstance(node, expr.Input):
            leaves[node] = f"w[{gates.index(node.gate)}]"
        elif isinstance(node, expr.Product):
            leaves[node] = f"u[{gates.index(node.gate)}]"
    one = _Writer(leaves, saved[:first])
    first_lines = one.lines + [f"saved[{k}] = {one.text(e)};" for k, e in enumerate(saved[:first])]
    known = {**leaves, **{e: names[e] for e in saved[:first]}}
    (state,) = trace.states.values()
    two = _Writer(known, [state, *saved[first:]])
    second_lines = [
        *two.lines,
        f"after[0] = {two.text(state)};",
        *(f"saved[{k}] = {two.text(e)};" for k, e in enumerate(saved) if k >= first),
    ]
    known = {**before, **names, inner: "d_operand"}
    for node in expr.topological(adjoint.inputs.values()):
        if isinstance(node, expr.StateGradient):
            known[node] = "d_after[0]"
    (sum_of_all,) = adjoint.states.values()
    sums = [t for t in _terms(sum_of_all) if not isinstance(t, expr.Product)]
    late = {g: inner in expr.topological([e]) for g, e in adjoint.inputs.items()}
    parts = []
    for is_late, header in ((False, "d_before[0] ="), (True, "d_before[0] +=")):
        roots = {g: e for g, e in adjoint.inputs.items() if late[g] == is_late}
        terms = [t for t in sums if (inner in expr.topological([t])) == is_late]
        writer = _Writer(known, [*roots.values(), *terms])
        lines = [f"d_w[{gates.index(g)}] = {writer.text(e)};" for g, e in roots.items()]
        parts.append(writer.lines + lines + [f"{header} {' + '.join(map(writer.text, terms))};"])
    overwritten = [f"saved[{k}]" for k, g in enumerate(gates) if not late[g]]
    if any(name in line for name in overwritten for line in parts[1]):
        raise NotImplementedError(f"{cell.name}: its gradients cannot replace what is saved")
    values = _Writer({**before, **names}, [operand])
    slots = ", ".join("-1" for _ in gates)
    flags = [str(late[g]).lower() for g in gates]
    return "\n".join(
        [
            f"// {cell.source}",
            f"// gates: {', '.join(gates)}; states: {', '.join(cell.state)}",
            f"struct {class_name(cell)} {{",
            f'static constexpr const char* kName = "{cell.name}";',
            f"static constexpr int kGates = {len(gates)}, kFirst = {first}, kStates = 1;",
            "static constexpr int kExtra = 0, kSeparate = 0;",
            f"static constexpr int kSlot[] = {{{slots}}};",
            "// whose gradient needs d_operand",
            f"static constexpr bool kLate[] = {{{', '.join(flags)}}};",
            f"{_ONE_LINE} first(const Vec* w, const Vec* u, Vec* saved) {{",
            *first_lines,
            "}",
            "TIDEGATE_INLINE static Vec operand(const Vec* saved, const Vec* before) {",
            *values.lines,
            f"return {values.text(operand)};",
            "}",
            f"{_ONE_LINE} second(const Vec* w, const Vec* u, const Vec* before, Vec* after,",
            "Vec* saved) {",
            *second_lines,
            "}",
            "// all but what needs d_operand, dL/d(operand)",
            f"{_ONE_LINE} backward(const Vec* saved, const Vec* before, const Vec* d_after,",
            "Vec* d_w, Vec* d_before) {",
            *parts[0],
            "}",
            f"{_ONE_LINE} backward_operand(const Vec* saved, const Vec* before, Vec d_operand,",
            "Vec* d_w, Vec* d_before) {",
            *parts[1],
            "}",
            "};",
        ]
    )


def _is_transposed(node: expr.Expr) -> bool:
    return isinstance(node, expr.Product) and node.transposed


def _terms(node: expr.Expr) -> list[expr.Expr]:
    if isinstance(node, expr.Binary) and node.op == "add":
        return [t for operand in node.operands for t in _terms(operand)]
    return [node]


def _without_products(node: expr.Expr) -> expr.Expr | None:
    """A sum without its recurrent products W_h^T d, which the matrix product adds."""
    if isinstance(node, expr.Product):
        return None
    if isinstance(node, expr.Binary) and node.op == "add":
        a, b = (_without_products(o) for o in node.operands)
        if a is None or b is None:
            return a if b is None else b
        return node if (a, b) == node.operands else a + b
    if isinstance(node, expr.Constant) and node.value == 0:
        return None
    return node


def _unused(names: list[str], lines: list[str]) -> list[str]:
    return [
        f"(void){n};"
        for n in names
        if not any(f" {n}[" in f" {x}".replace("(", " ").replace("-", " ") for x in lines)
    ]


def class_name(cell: Cell) -> str:
    """gru_reset_before -> GruResetBefore."""
    return "".join(part.capitalize() for part in cell.name.split("_"))


def write_header() -> str:
    """The whole header, in clang-format's layout."""
    staged = [c for c in CELLS.values() if c.gates_of_state != tuple(c.gates)]
    single = [c for c in CELLS.values() if c not in staged]
    text = "\n".join(
        [
            "// Generated by `python -m tidegate.export.cpp` from src/tidegate/cells; do not edit.",
            "//",
            "// forward: w [G] holds W_i x + b_i, u [G] holds W_h h + b_h, before the states;",
            "// saved is what backward needs: G values that replace w, then kExtra others.",
            "// backward: d_after is dL/d(state after the step). It gives dL/dw; d_u, dL/du of the",
            "// kSeparate gates where that differs (gate g's is d_u[kSlot[g]]); and d_before,",
            "// the part of dL/d(state before) that does not pass through W_h.",
            "//",
            "// A staged cell has two recurrent products: the first kFirst gates take the state,",
            "// the others an operand of H values made from it and the first gates.",
            "#pragma once",
            "",
            '#include "../simd.h"',
            "",
            "namespace tidegate::TIDEGATE_ISA {",
            "",
            "\n\n".join([*map(write_cell, single), *map(write_staged_cell, staged)]),
            "",
            "}  // namespace tidegate::TIDEGATE_ISA",
            "",
        ]
    )
    beside_python = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    formatter = shutil.which("clang-format", path=beside_python)
    if formatter is None:
        raise FileNotFoundError("expected clang-format, found none; install the extra 'dev'")
    command = [formatter, "--assume-filename=csrc/generated/cells.h"]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout


def main(arguments: list[str]) -> int:
    """Write the header, or compare it with ``--check``; 0 if all is well."""
    check = "--check" in arguments
    paths = [a for a in arguments if not a.startswith("--")]
    path = Path(paths[0]) if paths else Path("csrc/generated/cells.h")
    text = write_header()
    if not check:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return 0
    if path.read_text(encoding="utf-8") == text:
        return 0
    print(f"{path}: not what the cells say; run python -m tidegate.export.cpp", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
