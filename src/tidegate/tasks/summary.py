"""What a model is, for people: its layers as a table, its options and figures in a notebook."""

from __future__ import annotations

import html
from collections.abc import Mapping
from math import prod
from typing import Any, NamedTuple

from tidegate.cells import title as title_of
from tidegate.model.architecture import Architecture
from tidegate.model.encoder_decoder import EncoderDecoder
from tidegate.output.html_tables import html_table
from tidegate.tasks.measured import figures_table


class Layer(NamedTuple):
    """One layer: what it is, what it puts out ([T, B, width] or [B, width]), its weights."""

    name: str
    kind: str
    output: str
    parameters: int


def layers_of(architecture: Architecture | EncoderDecoder) -> list[Layer]:
    """The layers from the input on; T steps, B sequences.  Needs no torch."""
    if isinstance(architecture, EncoderDecoder):
        return _of_both(architecture)
    a = architecture
    counts: dict[str, int] = {}
    for tensor, shape in a.tensor_shapes().items():
        if ".running_" not in tensor:
            name = tensor.rsplit(".", 1)[0]
            counts[name] = counts.get(name, 0) + prod(shape)
    cells, found = [title_of(cell) for cell in a.cells], []

    def add(name: str, kind: str, width: int, parameters: int, steps: str = "T, ") -> None:
        found.append(Layer(name, kind, f"[{steps}B, {width}]", parameters))

    if a.embedding_size is not None:
        add("embedding", "Embedding", a.embedding_size, counts["embedding"])
        if a.evidence_size:
            add("evidence", "Linear, added", a.embedding_size, counts["evidence"])
    if a.letters:
        both = counts["spelling.embedding"] + counts["spelling.recurrent"]
        add("spelling", f"{cells[0]} over letters, both directions", a.spelling_size, both)
    if a.condition_size:
        states = sum(n for name, n in counts.items() if name.startswith("initial."))
        add(
            "initial", "Linear of the condition, each state", states // a.condition_size, states, ""
        )
    for k, (cell, width) in enumerate(zip(cells, a.layer_output_sizes(), strict=True)):
        if f"recurrent.norms.{k}" in counts:
            read = a.layer_sizes()[k]["I"]
            add(f"recurrent.norms.{k}", "LayerNorm", read, counts[f"recurrent.norms.{k}"])
        kind = cell
        if a.layer_cells[k].heads and a.num_heads > 1:
            kind += f", {a.num_heads} heads"
        kind += ", both directions" if a.bidirectional else ""
        add(f"recurrent.{k}", kind, width, counts[f"recurrent.{k}"])
        if k > 0 and a.residual:
            mapped = counts.get(f"recurrent.shortcuts.{k}", 0)
            kind = "Linear past the layer, added" if mapped else "Past the layer, added"
            add(f"recurrent.shortcuts.{k}", kind, width, mapped)
        if f"norms.{k}" in counts:
            add(f"norms.{k}", "BatchNorm", width, counts[f"norms.{k}"])
    steps = "T, " if a.readout == "every" else ""
    if not steps:
        add("pooling", a.readout, a.feature_size, 0, steps)
    kind = "Linear, embedding's weight" if a.tie_embeddings else "Linear"
    add("dense", kind, a.output_size, counts["dense"], steps)
    if a.linear_steps:
        kind = f"Linear of the last {a.linear_steps} steps, added"
        if a.input_size is None:
            kind = "Line of words and pairs, added"
        add("linear", kind, a.output_size, counts["linear"], steps)
    if a.crf:
        kind = "CRF, weights of neighbouring labels"
        add("transitions", kind, a.output_size, counts["transitions"], steps)
    return found


def _of_both(two: EncoderDecoder) -> list[Layer]:
    """The encoder's layers, what stands between, the decoder's."""
    counts: dict[str, int] = {}
    for tensor, shape in two.tensor_shapes().items():
        part = tensor.split(".")[0]
        counts[part] = counts.get(part, 0) + prod(shape)
    found = [
        layer._replace(name=f"{part}.{layer.name}")
        for part, own in (("source", two.source), ("target", two.target))
        for layer in layers_of(own)
    ]
    states = sum(width for _, _, width, _ in two.starts())
    start = Layer("start", "Linear of the last states", f"[B, {states}]", counts["start"])
    width = two.target.feature_size
    kind = f"Attention, {two.score}"
    attention = Layer("attention", kind, f"[T, B, {width}]", counts["attention"])
    at = next(i for i, layer in enumerate(found) if layer.name.startswith("target."))
    return [*found[:at], start, *found[at:-1], attention, found[-1]]


def summary_text(title: str, architecture: Architecture | EncoderDecoder) -> str:
    """The layers as lines of text."""
    rows = [("layer", "kind", "output", "parameters")]
    rows += [
        (layer.name, layer.kind, layer.output, _spaced(layer.parameters))
        for layer in layers_of(architecture)
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = [
        "  ".join([*(cell.ljust(w) for cell, w in zip(row[:3], widths, strict=False)),
                   row[3].rjust(widths[3])])
        for row in rows
    ]  # fmt: skip
    lines.insert(1, "-" * len(lines[0]))
    total = f"{_spaced(architecture.parameter_count())} parameters; T steps, B sequences"
    return "\n".join([title, *lines, total])


def as_html(
    name: str,
    task: str,
    changed: Mapping[str, Any],
    learned: tuple[Architecture | EncoderDecoder, Mapping[str, Any], Mapping[str, Any]] | None,
) -> str:
    """An estimator for a notebook: options that differ from their defaults, then what it learned.

    ``learned``: the architecture, the figures and the provenance; None where nothing is.
    """
    state = "not fitted" if learned is None else "fitted"
    parts = [f"<b>{html.escape(name)}</b> ({html.escape(task)}, {state})"]
    if changed:
        rows = [[key, _short(value)] for key, value in changed.items()]
        parts.append(html_table([], rows, "options that differ from the defaults"))
    if learned is not None:
        architecture, figures, about = learned
        rows = [
            [one.name, one.kind, one.output, _spaced(one.parameters)]
            for one in layers_of(architecture)
        ]
        rows.append(["", "", "", _spaced(architecture.parameter_count())])
        layers = "layers; T steps, B sequences"
        parts.append(html_table(["", "kind", "output", "parameters"], rows, layers))
        of_test = {n.removeprefix("test_"): v for n, v in figures.items() if n.startswith("test_")}
        of_both = {n: v for n, v in figures.items() if not n.startswith("test_")}
        split = {"validation": of_both} | ({"test": of_test} if of_test else {})
        parts.append(figures_table(split, _beside(about)))
    return f"<div>{''.join(parts)}</div>"


def _beside(about: Mapping[str, Any]) -> str:
    """Under what figures stand: how long was trained, and what the baseline is."""
    told = []
    if {"steps", "training_seconds"} <= set(about):
        told.append(f"{about['steps']} steps in {about['training_seconds']:g} s")
    if "baseline" in about:
        told.append(f"baseline {about['baseline']}")
    return "; ".join(["figures", *told])


def _spaced(number: int) -> str:
    return f"{number:,}".replace(",", " ")


def _short(value: Any) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 80 else text[:77] + "..."
