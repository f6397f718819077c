"""What a trained model is used for: predict, generate, forecast; and info, what is in its file."""

from __future__ import annotations

import csv
import io
import os
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import typer

from tidegate.cli.reading import (
    Force,
    Json,
    Model,
    about_file,
    file_to_write,
    source_for,
    telling,
)
from tidegate.cli.show import as_text, clock, print_json, print_table, print_text
from tidegate.data.sources import PredictableSource, TimeSeries
from tidegate.errors import InputError
from tidegate.tasks import TASKS
from tidegate.terminal import printable

_PREDICTING = {n: t.source for n, t in TASKS.items() if issubclass(t.source, PredictableSource)}


@telling(*_PREDICTING.values())
def predict(
    model: Model,
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE|-",
            help="a file like the one in training, without the answers; texts may also be the "
            "lines of a .txt file or, for -, of standard input",
        ),
    ],
    told: dict[str, Any],
    json: Json = False,
) -> None:
    """Predict the label, with its probability, or the number of each text or sequence in a file.

    Example: echo 'not bad at all' | tidegate predict reviews-text-classifier.safetensors -
    """
    from tidegate.tasks import load
    from tidegate.tasks.classification import Classifier

    fitted: Any = load(model)
    if fitted.TASK not in _PREDICTING:
        raise InputError(
            f"expected a model of {', '.join(_PREDICTING)}, got a {fitted.TASK}", file=model
        )
    inputs, names = source_for(fitted, told).read_inputs(file)
    with about_file(file):
        if isinstance(fitted, Classifier):
            answers = [_label(fitted, p) for p in fitted.predict_proba(inputs)]
        else:
            answers = [{"value": value} for value in fitted.predict(inputs).tolist()]
    if json:
        named = zip(names, answers, strict=True)
        print_json({"predictions": [{**answer, "input": name} for name, answer in named]})
        return
    for name, answer in zip(names, answers, strict=True):
        if "value" in answer:
            print(f"{answer['value']}\t{printable(name)}")
        else:
            label, probability = printable(answer["label"]), max(answer["probabilities"].values())
            print(f"{label}\t{probability:.3f}\t{printable(name)}")


def _label(fitted: Any, probabilities: Any) -> dict[str, Any]:
    labels = fitted.classes_.tolist()
    return {
        "label": labels[probabilities.argmax()],
        "probabilities": dict(zip(labels, probabilities.tolist(), strict=True)),
    }


def generate(
    model: Model,
    prompt: Annotated[str, typer.Option(metavar="TEXT", help="text to begin with")] = "",
    length: Annotated[int, typer.Option(metavar="N", help="how many tokens to write")] = 500,
    temperature: Annotated[
        float,
        typer.Option(
            metavar="X",
            help="below 1: likelier, duller text; above 1: more varied, with more errors",
        ),
    ] = 0.8,
    top_k: Annotated[
        int | None, typer.Option(metavar="N", help="choose among the N likeliest tokens only")
    ] = None,
    top_p: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            help="choose among the likeliest tokens only, whose probabilities add up to X",
        ),
    ] = None,
    greedy: Annotated[bool, typer.Option(help="always choose the likeliest token")] = False,
    seed: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="seed of the random choices; one seed gives one text (default: a new seed)",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Continue a text, token by token.  A model trained with --reverse writes what leads up to it.

    Example: tidegate generate book-language-model.safetensors --prompt 'The ' --seed 1
    """
    fitted = _load(model, "language-model")
    pieces = fitted.generate(
        prompt,
        length,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        greedy=greedy,
        seed=seed,
    )
    if json:
        print_json({"prompt": prompt, "text": "".join(pieces), "seed": seed})
        return
    for piece in [*pieces, prompt] if fitted.reverse else chain([prompt], pieces):
        print_text(piece, end="")
    print()


@telling(TimeSeries)
def forecast(
    model: Model,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="a file like the one in training, with the series up to now"
        ),
    ],
    told: dict[str, Any],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="PATH",
            parser=file_to_write,
            help="CSV file to write (default: print it); replaces a file only with --force",
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            parser=file_to_write,
            help="picture of the forecast to draw: .png or .svg",
        ),
    ] = None,
    force: Force = False,
    json: Json = False,
) -> None:
    """Forecast the rows that follow the last row of a file.

    Example: tidegate forecast load-forecaster.safetensors load.csv --plot load.png
    """
    from tidegate.output.places import check_output, never_ours
    from tidegate.output.writing import write_atomically

    if output is not None:
        check_output(output, inputs=(model, file), force=force, ours=never_ours)
    if plot is not None:
        if output is not None and os.path.realpath(plot) == os.path.realpath(output):
            raise InputError("option plot: expected another file than the output's", file=plot)
        from tidegate.tasks.forecast_plot import check_plot_path, plot_forecast

        check_plot_path(plot, inputs=(model, file), force=force)
    fitted = _load(model, "forecaster")
    source = source_for(fitted, told)
    (series,) = source.read(str(file), learning=False)
    with about_file(file):
        ahead = fitted.forecast(series)
    times = series.style.write(ahead.times)
    table = io.StringIO(newline="")
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow([source.time, *ahead.names])
    # a float of Python's is written with as many digits as tell it from its neighbours
    writer.writerows([time, *row] for time, row in zip(times, ahead.values.tolist(), strict=True))
    if plot is not None:
        plot_forecast(plot, series, ahead, force=force)
    if output is not None:
        write_atomically(output, table.getvalue().encode())
    if json:
        values = dict(zip(ahead.names, ahead.values.T.tolist(), strict=True))
        print_json({"times": times, "forecast": values})
    elif output is None:
        print_text(table.getvalue(), end="")


def info(model: Model, json: Json = False) -> None:
    """Show what a model file holds: task, layers, figures, options.  This needs no torch.

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
    shown = {name: value for name, value in architecture.to_json().items() if value is not None}
    print_table(str(model), {k: v for k, v in summary.items() if v is not None})
    print_table("\narchitecture", shown)
    print("\n" + summary_text("layers", architecture))
    print_table("\nfigures", held.metrics)
    if changed:
        print_table("\noptions that differ from the defaults", changed)
    print_table("\nprovenance", _provenance(held.provenance))


def _provenance(values: dict[str, Any]) -> dict[str, str]:
    return {
        name: clock(value) if name.endswith("_seconds") else as_text(value)
        for name, value in values.items()
    }


def _load(path: Path, task: str) -> Any:
    from tidegate.tasks import load

    fitted = load(path)
    if task != fitted.TASK:
        raise InputError(f"expected a {task}, got a {fitted.TASK}", file=path)
    return fitted
