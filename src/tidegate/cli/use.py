"""What is done with a model file: evaluate, predict, generate, forecast, info."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tidegate.cli.reading import about_file, text_lines
from tidegate.cli.show import as_text, beside_baselines, clock, print_json, print_table
from tidegate.errors import InputError

Model = Annotated[Path, typer.Argument(metavar="MODEL", help="a model file of tidegate train")]
Json = Annotated[bool, typer.Option("--json", help="print one JSON object and nothing else")]
TextColumn = Annotated[
    str | None,
    typer.Option(metavar="COLUMN", help="column of the texts (default: as in training)"),
]
TimeColumn = Annotated[
    str | None,
    typer.Option(metavar="COLUMN", help="column of the moments (default: as in training)"),
]
FillGaps = Annotated[
    bool, typer.Option("--fill-gaps", help="carry the last value over missing rows and values")
]


def evaluate(
    model: Model,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="data of the kind it learned from")],
    text: TextColumn = None,
    label: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="column of the labels (default: as in training)"),
    ] = None,
    time: TimeColumn = None,
    fill_gaps: FillGaps = False,
    start: Annotated[
        str | None,
        typer.Option(metavar="WHEN", help="of a series: first moment to forecast (default: new)"),
    ] = None,
    end: Annotated[
        str | None,
        typer.Option(metavar="WHEN", help="of a series: where to stop (default: its end)"),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="PATH", help="of a series: its last forecasts, .png .svg")
    ] = None,
    json: Json = False,
) -> None:
    """Measure a model on data it has not seen.

    Example: tidegate evaluate reviews-text-classifier.safetensors test.csv
    """
    from tidegate.tasks import load

    fitted: Any = load(model)
    of_series = {"time": time, "start": start, "end": end, "plot": plot}
    _refuse_others(
        fitted, {"text-classifier": {"text": text, "label": label}, "forecaster": of_series}
    )
    figures: dict[str, Any]
    if fitted.TASK == "language-model":
        from tidegate.data.text import read_text

        content = read_text(file)
        with about_file(file):
            figures = fitted.evaluate(content)
    elif fitted.TASK == "text-classifier":
        figures = _evaluate_classifier(fitted, file, text, label, json)
    else:
        series = _series(fitted, file, time, fill_gaps)
        with about_file(file):
            figures = fitted.evaluate(series, start, end)
            if plot is not None:
                from tidegate.tasks.forecast_plot import plot_backtest

                plot_backtest(plot, fitted.backtest(series, start, end))
    if json:
        print_json(figures)
    else:
        print_table("", beside_baselines(figures))


def _refuse_others(fitted: Any, given: dict[str, dict[str, Any]]) -> None:
    """Raise InputError for an option that is another task's than the model's."""
    for task, options in given.items():
        for name, value in options.items():
            if value is not None and task != fitted.TASK:
                raise InputError(f"option {name}: expected none for a {fitted.TASK}, got {value}")


def _evaluate_classifier(
    fitted: Any, file: Path, text: str | None, label: str | None, json: bool
) -> dict[str, Any]:
    from tidegate.data.tables import read_labelled_texts

    columns = _column(fitted, "text", text), _column(fitted, "label", label)
    texts, labels = read_labelled_texts(file, *columns, allow_one_class=True)
    _refuse_unknown_labels(fitted, file, columns[1], labels)
    with about_file(file):
        figures = fitted.evaluate(texts, labels)
        matrix = fitted.confusion_matrix(texts, labels)
    if json:
        return {**figures, "labels": fitted.classes_.tolist(), "confusion": matrix.tolist()}
    if len(fitted.classes_) <= 12:
        rows = {
            str(true): ", ".join(f"{p} {n}" for p, n in zip(fitted.classes_, row, strict=True))
            for true, row in zip(fitted.classes_, matrix, strict=True)
        }
        print_table("true label: how often each label was predicted", rows)
    return figures


def _refuse_unknown_labels(fitted: Any, file: Path, column: str, labels: list[str]) -> None:
    from tidegate.data.tables import line_of_row

    known = set(fitted.classes_.tolist())
    for row, label in enumerate(labels):
        if label not in known:
            shown = ", ".join(sorted(known)[:10])
            raise InputError(
                f"expected a label of the training texts ({shown}), got {label!r}; mend it, or "
                "train with it",
                file=file,
                line=line_of_row(file, row),
                column=column,
            )


def predict(
    model: Model,
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE|-", help="a table, or a text file with one text per line; - for stdin"
        ),
    ],
    text: TextColumn = None,
    json: Json = False,
) -> None:
    """Tell the label of each text: label, probability, text, with tabs between.

    Example: echo 'not bad at all' | tidegate predict reviews-text-classifier.safetensors -
    """
    fitted = _load(model, "text-classifier")
    if file == "-" or file.removesuffix(".gz").endswith(".txt"):
        texts = text_lines(file)
    else:
        from tidegate.data.tables import read_table

        column = _column(fitted, "text", text)
        values = read_table(file, [column])[column].to_list()
        texts = ["" if value is None else str(value) for value in values]
    probabilities = fitted.predict_proba(texts)
    best = probabilities.argmax(1)
    if json:
        labels = fitted.classes_.tolist()
        predictions = [
            {"label": labels[i], "probabilities": dict(zip(labels, p.tolist(), strict=True))}
            for i, p in zip(best, probabilities, strict=True)
        ]
        print_json({"predictions": predictions})
        return
    for one, i, p in zip(texts, best, probabilities, strict=True):
        print(f"{fitted.classes_[i]}\t{p[i]:.3f}\t{' '.join(one.split())}")


def generate(
    model: Model,
    prompt: Annotated[str, typer.Option(metavar="TEXT", help="what the text begins with")] = "",
    length: Annotated[int, typer.Option(metavar="N", help="tokens to write")] = 500,
    temperature: Annotated[
        float, typer.Option(metavar="X", help="below 1 plays safe, above 1 dares")
    ] = 0.8,
    top_k: Annotated[
        int | None, typer.Option(metavar="N", help="only the N likeliest tokens")
    ] = None,
    top_p: Annotated[
        float | None,
        typer.Option(metavar="X", help="only the likeliest tokens that share X of probability"),
    ] = None,
    greedy: Annotated[bool, typer.Option("--greedy", help="always the likeliest token")] = False,
    seed: Annotated[
        int | None, typer.Option(metavar="N", help="for the same text again (default: any)")
    ] = None,
    json: Json = False,
) -> None:
    """Write on from a prompt, token by token.

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
    print(prompt, end="", flush=True)
    for piece in pieces:
        print(piece, end="", flush=True)
    print()


def forecast(
    model: Model,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="the series up to now")],
    time: TimeColumn = None,
    fill_gaps: FillGaps = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="PATH", help="a CSV file (default: the terminal)"),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="PATH", help="a picture of it: .png or .svg")
    ] = None,
    json: Json = False,
) -> None:
    """Forecast what follows the last row of a file.

    Example: tidegate forecast load-forecaster.safetensors load.csv --plot load.png
    """
    from tidegate.container import write_atomically

    fitted = _load(model, "forecaster")
    series = _series(fitted, file, time, fill_gaps)
    with about_file(file):
        ahead = fitted.forecast(series)
    times = [str(t) for t in ahead.times]
    rows = zip(times, ahead.values.tolist(), strict=True)
    header = [_column(fitted, "time", time), *ahead.names]
    lines = [",".join(header), *(",".join([t, *(f"{v:.7g}" for v in row)]) for t, row in rows)]
    if plot is not None:
        from tidegate.tasks.forecast_plot import plot_forecast

        plot_forecast(plot, series, ahead)
    if output is not None:
        write_atomically(output, ("\n".join(lines) + "\n").encode())
    if json:
        values = dict(zip(ahead.names, ahead.values.T.tolist(), strict=True))
        print_json({"times": times, "forecast": values})
    elif output is None:
        print("\n".join(lines))


def info(model: Model, json: Json = False) -> None:
    """Tell what is in a model file; needs no torch.

    Example: tidegate info reviews-text-classifier.safetensors
    """
    from dataclasses import fields

    from tidegate.checkpoint import load_model
    from tidegate.tasks import task_class

    held = load_model(model)
    architecture = held.architecture
    defaults = {f.name: f.default for f in fields(task_class(held.task))}  # pyright: ignore
    changed = {
        name: value
        for name, value in held.options.items()
        if name not in ("run_folder", "resume", "show_progress")
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
                "metrics": held.metrics,
                "options": held.options,
                "provenance": held.provenance,
            }
        )
        return
    shown = {name: value for name, value in architecture.to_json().items() if value is not None}
    print_table(str(model), {k: v for k, v in summary.items() if v is not None})
    print_table("\narchitecture", shown)
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


def _column(fitted: Any, role: str, given: str | None) -> str:
    """The column of that role: as given, else as in training."""
    column = given or fitted.provenance_.get(f"{role}_column")
    if column is None:
        raise InputError(f"expected the name of the {role} column, got none; give --{role} COLUMN")
    return str(column)


def _series(fitted: Any, file: Path, time: str | None, fill_gaps: bool) -> Any:
    from tidegate.data.tables import read_series

    w = fitted.windowing_
    time = _column(fitted, "time", time)
    return read_series(file, time, w.names, w.covariate_names, fill_gaps=fill_gaps)
