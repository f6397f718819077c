"""How wide each value of a step is, so that what does not fit together is refused by name."""

from __future__ import annotations

from collections.abc import Mapping

from tidegate.equations.expr import (
    RECURRENT,
    Constant,
    Expr,
    Input,
    Mean,
    Product,
    State,
    Vector,
)
from tidegate.equations.tracing import Trace

ROW = "1"  # one value for each row, or for all: it stands beside values of any width


def widths(trace: Trace, of_states: Mapping[str, str]) -> dict[Expr, str]:
    """The width of every node: H units, P of a projection, or ``ROW``.

    ``of_states`` are those that the states are declared with.  Raises ValueError for values that
    do not fit together, for a state that is not as wide as declared, and for recurrent products of
    two widths.
    """
    found: dict[Expr, str] = {}
    seen = ""
    for node in trace.nodes:
        match node:
            case Input() | Vector():
                found[node] = "H"
            case State(name):
                found[node] = of_states[name]
            case Constant() | Mean():
                found[node] = ROW
            case Product(parameter, gate, a):
                found[node] = "H" if parameter == RECURRENT else "P"
                if gate and found[a] != ROW:  # all gates' weights stand in one matrix
                    seen = seen or found[a]
                name, wanted = (f"u.{gate}", seen or "H") if gate else (parameter, "H")
                if found[a] != wanted:
                    advice = (
                        "all recurrent products take values of one width"
                        if gate and found[a] != ROW
                        else "compute v from gates, vectors or states of that width"
                    )
                    raise trace.refusal(
                        f"{name}(v): expected v of {_words(wanted)}, got {_words(found[a])}; "
                        f"{advice}",
                        node,
                    )
            case _:
                wide = {found[operand] for operand in node.operands} - {ROW}
                if len(wide) > 1:
                    raise trace.refusal(
                        f"expected values of one width, got {_words('H')} beside {_words('P')}; "
                        "project the first, or take the second through recurrent weights",
                        node,
                    )
                found[node] = wide.pop() if wide else ROW
    for name, node in trace.states.items():
        if found[node] != of_states[name]:
            advice = {
                ROW: "add it to values of that width",
                "P": "declare its width as P",
                "H": "project it, or declare its width as H",
            }
            raise trace.refusal(
                f"state {name}: expected {_words(of_states[name])}, got {_words(found[node])}; "
                f"{advice[found[node]]}",
                node,
            )
    return found


def _words(width: str) -> str:
    words = {"H": "H units", "P": "the P values of a projection", ROW: "one value for each row"}
    return words[width]
