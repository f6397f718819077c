"""``tidegate info``: what a model file holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tidegate.cli.command import command
from tidegate.cli.parameters import JSON, MODEL
from tidegate.cli.show import as_text, clock, print_json, print_table

if TYPE_CHECKING:
    from tidegate.model.checkpoint import ModelFile

_START, _END = "start", "end"  # of a sentence
_MOST = 8  # labels that are shown after one


@command(MODEL, JSON)
def info(model: Path, json: bool) -> None:
    """Show what a model file holds: task, layers, figures, options.

    This needs no torch.

    Example: tidegate info reviews-text-classifier.safetensors
    """
    from dataclasses import fields

    from tidegate.data.text.conditions import Conditions
    from tidegate.model.checkpoint import load_model
    from tidegate.tasks import task_class
    from tidegate.tasks.summary import layers_of, summary_text

    held = load_model(model)
    architecture = held.architecture
    conditions = {**(held.encoder or {}), **(held.scaling or {})}.get("conditions")
    defaults = {f.name: f.default for f in fields(task_class(held.task))}  # pyright: ignore
    changed = {
        name: value
        for name, value in held.options.items()
        if name not in ("run_folder", "resume", "force", "verbose")
        and (tuple(value) if isinstance(value, list) else value) != defaults.get(name)
    }
    summary = {
        "task": held.task,
        "parameters": architecture.parameter_count(),
        "vocabulary_size": architecture.vocabulary_size,
        "labels": held.labels,
        "thresholds": (held.scaling or {}).get("thresholds"),
        "conditions": None if conditions is None else Conditions.from_json(conditions).told(),
        "counted_ngrams": sum(len(a) for n, a in held.counts.items() if n.endswith(".keys"))
        or None,
    }
    follows = _transitions(held)
    if json:
        print_json(
            {
                **summary,
                "architecture": architecture.to_json(),
                "layers": [layer._asdict() for layer in layers_of(architecture)],
                "metrics": held.metrics,
                "options": held.options,
                "provenance": held.provenance,
                "transitions": follows,
            }
        )
        return
    shown = _flat(architecture.to_json())
    print_table(str(model), _flat(summary))
    print_table("\narchitecture", shown)
    print("\n" + summary_text("layers", architecture))
    if follows is not None:
        rows = {before: _shown(after) for before, after in follows.items()}
        print_table("\nwhat speaks for a label after another, the most first", rows)
    print_table("\nfigures", held.metrics)
    if changed:
        print_table("\noptions that differ from the defaults", changed)
    print_table("\nprovenance", _provenance(held.provenance))


def _transitions(held: ModelFile) -> dict[str, dict[str, float]] | None:
    """Of each label, and of a sentence's start, what a CRF adds to the labels that follow it."""
    weights = held.tensors.get("transitions.weight")
    if weights is None or held.labels is None:
        return None
    labels = [str(label) for label in held.labels]
    froms, to = [*labels, _START], [*labels, _END]
    return {
        before: dict(zip(to, row, strict=True))
        for before, row in zip(froms, weights.tolist(), strict=True)
    }


def _shown(after: dict[str, float]) -> str:
    ordered = sorted(after.items(), key=lambda one: -one[1])
    told = [f"{label} {weight:+.2f}" for label, weight in ordered]
    if len(told) > _MOST:
        told = [*told[: _MOST - 1], "...", told[-1]]
    return ", ".join(told)


def _flat(values: dict[str, Any]) -> dict[str, Any]:
    """What is known, an object's values by two names."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            found |= {f"{name} {inner}": of_it for inner, of_it in _flat(value).items()}
        elif value is not None:
            found[name] = value
    return found


def _provenance(values: dict[str, Any]) -> dict[str, str]:
    return {
        name: clock(value) if name.endswith("_seconds") else as_text(value)
        for name, value in values.items()
    }
