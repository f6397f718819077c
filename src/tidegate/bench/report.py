"""The layers' tables of docs/results.md and docs/roofline.svg, written from what a run left.

``python -m tidegate.bench.report`` writes both from benchmarks/results/layers.json; ``--check``
tells whether the page is current.
"""

from __future__ import annotations

import json
import re
import statistics
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tidegate.bench.catalogue import LIBRARIES, OURS
from tidegate.bench.shapes import Shape
from tidegate.bench.summary import Summary, summarise

RESULTS = Path("benchmarks/results/layers.json")
PAGE = Path("docs/results.md")
ROOFLINE = Path("docs/roofline.svg")
_BEGIN, _END = "<!-- bench -->", "<!-- /bench -->"
_BLOCK = re.compile(f"{_BEGIN}.*{_END}", re.DOTALL)
_COLUMNS = [(cell, mode) for cell in ("gru", "lstm", "rnn") for mode in ("training", "inference")]
# Beside the libraries: variants of ours, and a yardstick of another run.
_TITLES = {name: library.title for name, library in LIBRARIES.items()} | {
    "padded": "tidegate without lengths",
    "reset-before": "tidegate",
    "onednn": "oneDNN from C++ ¹",
}
_WORST_SHOWN = 8
_VERSIONS_SHOWN = ("torch", "onnxruntime", "keras", "jax")
_FIGURES = {
    "numpy": "on numpy",
    "ragged": "ragged",
    "reset": "reset before",
    "step": "one step",
    "adam": "Adam",
    "loop": "Python",
}
_FIGURES_EXPLAINED = (
    "on numpy: a trained layer over a batch, weights packed once, in a process without torch. "
    "ragged: lengths uniform in 1 to T, from a padded batch to a padded one. reset before: the "
    "reset gate before the recurrent product. one step: of a stream, B 1, I 128, H 128, numpy in "
    "and out. Adam: a training step of embedding 128, GRU 128, GRU 64, softmax 2 on the last "
    "state, B 64, T 200; its gradient fades until it is denormal. Python: step by step, T 10."
)

_NEIGHBOURS = {"training": "a GRU layer's training", "adam": "a training step as in Adam"}
_NEIGHBOURS_EXPLAINED = (
    "The share of its speed alone that training keeps while other processes keep a processor busy "
    "each. The fair share is what it would keep if each of its threads had as much of the "
    "processors as each of those processes."
)

# A line's title, and what it has in which columns.
_Lines = dict[str, dict[tuple[str, str], str]]


def block(results: Mapping[str, Any]) -> str:
    """The part of the page between its markers, markers included."""
    about, rows, summaries = results["machine"], results["rows"], summarise(results["rows"])
    layers = [s for s in summaries if s.figure == "layers"]
    parts = [_heading(about, layers), _table("a layer", _layer_lines(layers))]
    if shapes := max((s.count for s in layers if s.peer == "onednn"), default=0):
        parts.append(
            f"¹ by the fraction of the machine's peak, on {shapes} of the shapes: its figures are "
            "of another run (`src/tidegate/bench/onednn.py`)."
        )
    parts.append(_slower([row for row in rows if row["figure"] == "layers"]))
    if others := _other_lines(rows, summaries):
        parts += [_table("what else was timed", others), _FIGURES_EXPLAINED]
    if beside := [row for row in rows if row["figure"] == "neighbours"]:
        parts += [_neighbours(beside), _NEIGHBOURS_EXPLAINED]
    parts.append(
        f"`make bench` measures again and rewrites this. Every time is in `{RESULTS}`; the layers' "
        f"speed beside the machine's limits is drawn in [{ROOFLINE}]({ROOFLINE.name}). Keras on "
        "TensorFlow is not measured."
    )
    texts = (p if p.startswith("|") else textwrap.fill(p, 100) for p in parts)
    return "\n\n".join([_BEGIN, *texts, _END])


def _heading(about: Mapping[str, Any], layers: Sequence[Summary]) -> str:
    shapes = max((s.count for s in layers), default=0)
    peak = about["peak_operations_per_second"] / 1e9
    versions = about["versions"]
    shown = [f"{n} {versions[n].partition('+')[0]}" for n in _VERSIONS_SHOWN if n in versions]
    return (
        "How many times as long as tidegate's layer each takes: geometric mean (least) over "
        f"{shapes} shapes of medians taken in turns. {about['processor']}, {about['isa']}, "
        f"{about['threads']} threads, a large product at {peak:.0f} GF/s, {about['date']}; "
        f"{', '.join(shown)}. torch.nn is timed with and without denormals flushed, "
        "and the faster time counts."
    )


def _slower(rows: Sequence[Mapping[str, Any]]) -> str:
    """Where ours loses, the worst first."""
    compared = [(ratio, peer, row) for row in rows for peer, ratio in row["ratios"].items()]
    lost = sorted((c for c in compared if c[0] < 1), key=lambda c: c[0])
    worst = [
        f"{row['cell'].upper()} {row['mode']} {Shape(*row['shape'])}, {_TITLES[peer]} {ratio:.2f}"
        for ratio, peer, row in lost[:_WORST_SHOWN]
    ]
    named = f" (B x T x I x H, worst first): {'; '.join(worst)}" if worst else ""
    more = "; ..." if len(lost) > len(worst) else "."
    return f"tidegate is slower in {len(lost)} of these {len(compared)} comparisons{named}{more}"


def _layer_lines(layers: Sequence[Summary]) -> _Lines:
    lines: _Lines = {}
    for s in layers:
        lines.setdefault(_TITLES[s.peer], {})[s.cell, s.mode] = _ratio(s)
    return lines


def _other_lines(rows: Sequence[Mapping[str, Any]], summaries: Sequence[Summary]) -> _Lines:
    lines: _Lines = {}
    for figure, about in _FIGURES.items():
        of_figure = [row for row in rows if row["figure"] == figure]
        if figure in ("step", "adam"):  # of one shape: a time says something
            for row in of_figure:
                line = lines.setdefault(f"{about}: tidegate's time", {})
                line[row["cell"], row["mode"]] = _time(row["seconds"][OURS][0])
        for s in (s for s in summaries if s.figure == figure):
            title = f"{about}: {_TITLES[s.peer]}"
            if s.peer == "padded":
                steps = statistics.geometric_mean(row["padding"] for row in of_figure)
                title += f", {steps:.2f} times the steps"
            lines.setdefault(title, {})[s.cell, s.mode] = _ratio(s)
    return lines


def _neighbours(rows: Sequence[Mapping[str, Any]]) -> str:
    counts = sorted({row["neighbours"] for row in rows} - {0})
    found = {(row["mode"], row["neighbours"]): row for row in rows}
    names = {OURS: LIBRARIES[OURS].title, "torch-flushed": LIBRARIES["torch"].title}
    fair = next(iter(_NEIGHBOURS))
    table = [
        ["busy processes beside it", *map(str, counts)],
        ["---"] * (len(counts) + 1),
        ["fair share", *(f"{found[fair, n]['fair_share']:.2f}" for n in counts)],
    ]
    for mode, about in _NEIGHBOURS.items():
        for name in (n for n in names if n in found[mode, 0]["seconds"]):
            parts = (f"**{found[mode, n]['shares'][name]:.2f}**" for n in counts)
            table.append([f"{about}: {names[name]}", *parts])
    return "\n".join(f"| {' | '.join(line)} |" for line in table)


def _ratio(s: Summary) -> str:
    return f"**{s.mean:.2f}**" + (f" ({s.least:.2f})" if s.count > 1 else "")


def _time(seconds: float) -> str:
    return f"{seconds * 1e6:.1f} µs" if seconds < 1e-3 else f"{seconds * 1e3:.0f} ms"


def _table(title: str, lines: _Lines) -> str:
    columns = [c for c in _COLUMNS if any(c in line for line in lines.values())]
    heads = [title, *(f"{cell.upper()} {mode}" for cell, mode in columns)]
    table = [heads, ["---"] * len(heads)]
    table += [[name, *(line.get(c, "") for c in columns)] for name, line in lines.items()]
    return "\n".join(f"| {' | '.join(line)} |" for line in table)


def main(arguments: list[str]) -> int:
    """Write the page's block and the picture, or with ``--check`` say whether it is current."""
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    text = PAGE.read_text(encoding="utf-8")
    current = _BLOCK.sub(lambda _: block(results), text)
    if "--check" in arguments:
        if current == text:
            return 0
        print(f"{PAGE} is not current; run: python -m tidegate.bench.report", file=sys.stderr)
        return 1
    from tidegate.bench.roofline import draw

    PAGE.write_text(current, encoding="utf-8")
    draw(ROOFLINE, results)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
