"""``tidegate info``: what a model file holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tidegate.cli.command import command
from tidegate.cli.parameters import JSON, MODEL
from tidegate.cli.show import as_text, clock, print_json, print_table


@command(MODEL, JSON)
def info(model: Path, json: bool) -> None:
    """Show what a model file holds: task, layers, figures, options.

    This needs no torch.

    Example: tidegate info reviews-text-classifier.safetensors
    """
    from dataclasses import fields

    from tidegate.model.checkpoint import load_model
    from tidegate.tasks import task_class
    from tidegate.tasks.summary import layers_of, summary_text

    held = load_model(model)
    architecture = held.architecture
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
        "counted_ngrams": sum(len(a) for n, a in held.counts.items() if n.endswith(".keys"))
        or None,
    }
    if json:
        print_json(
            {
                **summary,
                "architecture": architecture.to_json(),
                "layers": [layer._asdict() for layer in layers_of(architecture)],
                "metrics": held.metrics,
                "options": held.options,
                "provenance": held.provenance,
            }
        )
        return
    shown = _flat(architecture.to_json())
    print_table(str(model), {k: v for k, v in summary.items() if v is not None})
    print_table("\narchitecture", shown)
    print("\n" + summary_text("layers", architecture))
    print_table("\nfigures", held.metrics)
    if changed:
        print_table("\noptions that differ from the defaults", changed)
    print_table("\nprovenance", _provenance(held.provenance))


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
