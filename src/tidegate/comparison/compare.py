"""``compare``: the same data, splits and budget for every cell and seed, beside a baseline."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from tidegate.cells import get_cell, title
from tidegate.comparison.experiments.experiment import Experiment, Metric
from tidegate.comparison.experiments.of_tasks import experiment_of
from tidegate.comparison.report.advice import Candidate, Scores, advise
from tidegate.comparison.report.drawing import Reach
from tidegate.comparison.report.page import FIGURES, REPORT, write
from tidegate.comparison.report.result import PICTURES, Comparison
from tidegate.comparison.runs.progress import RunsProgress
from tidegate.comparison.runs.runs import (
    Failure,
    Run,
    copy_of,
    equal_sizes,
    options_of,
    places_of,
    run_all,
    seconds_per_epoch,
)
from tidegate.errors import InputError, written
from tidegate.machine import describe
from tidegate.model.checkpoint import is_model_file
from tidegate.output.lock import lock
from tidegate.output.places import check_folder, check_output, is_marked, refuse_inputs
from tidegate.tasks.architectures import cells_as_given
from tidegate.tasks.estimator import Estimator
from tidegate.training.gradient_reach import gradient_reach
from tidegate.training.option_values import check_value, plain

_SAMPLE = 300  # tokens that a language model writes for the report


def compare(
    model: Estimator,
    *data: Any,
    cells: Sequence[str] = ("rnn", "lstm", "gru"),
    seeds: int = 3,
    validation: Any = None,
    test: Any = None,
    equal_parameters: bool = False,
    folder: str | PathLike[str] | None = None,
    inputs: Sequence[str | PathLike[str]] = (),
    provenance: Mapping[str, str | int | bool] | None = None,
    command: str | None = None,
    **told: Any,
) -> Comparison:
    """Train ``model`` with several cells and seeds on the same data, and advise on a cell.

    ``data`` is what the model's ``fit`` takes, and ``told`` what ``fit`` takes by name, such as
    ``time="date"`` of a forecaster, ``conditions`` or ``sample_weight``.  Each of ``cells`` is
    trained with ``seeds`` seeds, which count up from the model's own seed.  All runs get the same
    training, validation and test parts, and the model's limits, such as ``max_minutes``, hold for
    each run.  The figures are measured on the test part: ``test``, or the part that the model's
    options hold out; without either, on the validation part.  ``validation`` and ``test`` have the
    form of ``fit``'s own ``validation``: one text, or a pair of inputs and answers.  Every cell has
    the model's hidden sizes.  With ``equal_parameters`` every cell has about as many weights as the
    first one instead.

    With ``folder``, the report, the models and the run folders are written there; runs that have
    finished there are not repeated.  ``provenance`` is added to the models.  Files in ``folder``
    that tidegate did not write are replaced only with the model's option ``force``; files in
    ``inputs`` are never replaced.  The report shows ``command`` as the command that was typed.

    >>> import tidegate as tg
    >>> texts, labels = ["a good film", "a bad film"] * 20, ["good", "bad"] * 20
    >>> model = tg.TextClassifier(hidden_sizes=(8,), max_steps=10, verbose=0)
    >>> result = tg.compare(model, texts, labels, cells=["gru", "lstm"], seeds=1)
    >>> sorted(run.cell for run in result.runs)
    ['gru', 'lstm']

    Raises InputError for options or data that cannot be used, and TypeError for what ``fit`` does
    not take.  The result names runs that failed for another reason; raises TrainingError if all
    runs failed.
    """
    import scipy  # noqa: F401  where one of them is missing, say so before the runs
    import sklearn  # noqa: F401

    cells = _checked(cells, seeds)
    folder = None if folder is None else Path(folder)
    # what is compared is what was measured, weights that have seen no more; and baselines stand
    # beside all runs at once
    alone = {"run_folder": None, "resume": False, "refit": False, "baseline": False}
    model = copy_of(for_cells(model, cells), **alone)
    if hasattr(model, "sample_steps"):
        model.set_params(sample_steps=())
    if getattr(model, "counts", False) is None and model.level == "char":
        model.set_params(counts=False)  # else some networks might be mixed with them, others not
    if equal_parameters and getattr(model, "tie_embeddings", False) is None:
        model.set_params(tie_embeddings=False)  # tied, vectors fix the hidden size
    model.check()
    experiment = experiment_of(model, data, validation, test, **told)
    sizes = equal_sizes(experiment, model, cells) if equal_parameters else {}
    models = [
        copy_of(
            model,
            cell=cell,
            seed=seed,
            hidden_sizes=sizes.get(cell, model.hidden_sizes),
            **options_of(model, cell),
        )
        for seed in range(model.seed, model.seed + seeds)  # after some of the runs, cells are even
        for cell in cells
    ]
    runs: list[Run] = []
    failures: list[Failure] = []
    with ExitStack() as stack:
        if folder is not None:
            _check_places(folder, models, inputs)
            folder.mkdir(parents=True, exist_ok=True)
            expected = "a folder that no other comparison writes"
            stack.enter_context(lock(folder / ".lock", folder, expected))
        progress = stack.enter_context(RunsProgress(model.speaks, len(models)))
        for outcome in run_all(
            experiment,
            models,
            folder=folder,
            provenance=provenance or {},
            begin=lambda m: progress.begin(f"{title(str(m.cell))}, seed {m.seed}"),
        ):
            progress.done(_said(outcome, experiment))
            (runs if isinstance(outcome, Run) else failures).append(outcome)  # pyright: ignore
        if not runs:
            from tidegate.training.objective import TrainingError

            raise TrainingError(f"all runs failed; the first one: {failures[0].problem}")
        progress.begin("baselines and gradients")
        runs.sort(key=lambda run: cells.index(run.cell))  # seeds stay in their order
        result = _concluded(model, experiment, runs, failures, equal_parameters, command)
        if folder is not None:
            write(result, folder)
    return result


def for_cells(model: Estimator, cells: Sequence[str]) -> Any:
    """A copy of ``model`` with that of the cells which takes the most options, to check them."""
    has_heads, projects = model.num_heads > 1, model.projection_size is not None
    declared = [get_cell(cell) for cell in cells_as_given(cells)]
    first = max(declared, key=lambda c: has_heads * c.heads + projects * c.is_projected)
    return copy_of(model, cell=first.key)


def _check_places(
    folder: Path, models: Sequence[Estimator], inputs: Sequence[str | PathLike[str]]
) -> None:
    """Raise InputError where the comparison could not write, or would write over other files."""
    from tidegate.training.run_folder import FILES

    check_folder(folder)
    places = [places_of(model, folder) for model in models]
    ours = dict.fromkeys((path for path, _ in places), is_model_file)
    pictures = [f"{name}.png" for name in PICTURES]
    ours |= {folder / name: is_marked for name in (REPORT, FIGURES, *pictures)}
    for path, is_ours in ours.items():
        if os.path.lexists(path):
            check_output(path, inputs=inputs, force=models[0].force, ours=is_ours)
    for _, run_folder in places:
        check_folder(run_folder)
        refuse_inputs(run_folder, FILES, inputs)


def _checked(cells: Sequence[str], seeds: int) -> list[str]:
    """The cells' own names.  Raises InputError."""
    try:
        several = isinstance(cells, list | tuple)
        names = [get_cell(cell).key for cell in cells_as_given(cells)] if several else []
    except InputError as e:
        raise InputError(str(e), option="cells") from None
    if not names or len(set(names)) < len(names):
        raise InputError(
            f"expected different cells, such as {written(('gru', 'lstm'))}, got {written(cells)}; "
            "name each once",
            option="cells",
        )
    check_value("seeds", plain(seeds), int, {"bounds": {"at least": 1}})
    return names


def _said(outcome: Run | Failure, experiment: Experiment) -> str:
    """One line about a run that has ended."""
    run = f"{title(outcome.cell)}, seed {outcome.seed}"
    if isinstance(outcome, Failure):
        return f"{run}: failed: {outcome.problem}"
    metric, part = experiment.metric, experiment.held_out
    seconds = outcome.history[-1]["seconds"]
    return f"{run}: {part} {metric.label} {outcome.held_out[metric.name]:.4g}, {seconds:.1f} s"


def _concluded(
    model: Estimator,
    experiment: Experiment,
    runs: list[Run],
    failures: list[Failure],
    equal_parameters: bool,
    command: str | None,
) -> Comparison:
    problem, baselines = None, []
    try:
        baselines = experiment.baselines(runs[0].model)
    except Exception as e:  # the runs are worth a report without it
        problem = f"{type(e).__name__}: {e}"
    by_cell = {
        cell: [r for r in runs if r.cell == cell] for cell in dict.fromkeys(r.cell for r in runs)
    }
    name = experiment.metric.name
    candidates = [
        Candidate(
            title=title(cell),
            validation=Scores(
                [run.validation[name] for run in of_cell],
                np.stack([run.losses[0] for run in of_cell]),
            ),
            held_out=Scores(
                [run.held_out[name] for run in of_cell],
                np.stack([run.losses[1] for run in of_cell]),
            ),
            parameters=of_cell[0].parameters,
            seconds_per_epoch=seconds_per_epoch(of_cell),
        )
        for cell, of_cell in by_cell.items()
    ]
    return Comparison(
        task=model.TASK,
        metric=experiment.metric,
        held_out=experiment.held_out,
        size=experiment.size,
        unit=experiment.unit,
        examples=experiment.examples,
        budget=_budget(model, runs, equal_parameters),
        options=repr(model),
        seeds=tuple(dict.fromkeys(run.seed for run in [*runs, *failures])),
        runs=runs,
        failures=failures,
        baselines=baselines,
        baseline_problem=problem,
        advice=advise(
            candidates, baselines, experiment.metric, experiment.held_out, experiment.examples
        ),
        reach={cell: _reach(experiment, of_cell) for cell, of_cell in by_cell.items()},
        samples=_samples(by_cell, experiment.metric),
        environment=describe(("torch", "scikit-learn")),
        command=command,
    )


def _budget(model: Estimator, runs: list[Run], equal_parameters: bool) -> str:
    """What every run was given, in words."""
    sizes = "the same hidden sizes for every cell"
    if equal_parameters:
        first = runs[0].parameters
        off = max(abs(run.parameters / first - 1) for run in runs)
        sizes = f"as many parameters for every cell, within {100 * off:.2g} %"
    limits = {
        "epochs": model.epoch_limit(),
        "steps": model.max_steps,
        "minutes": model.max_minutes,
    }
    given = " or ".join(f"{n:g} {what}" for what, n in limits.items() if n is not None)
    return f"{sizes}; at most {given} for each run"


def _reach(experiment: Experiment, runs: list[Run]) -> Reach:
    """The geometric mean over a cell's seeds, before and after training.

    A forecaster's network that got no weight beside the line has no gradient, and does not count.
    """
    reach = {"before": [], "after": []}
    for run in runs:
        batch = experiment.batch(run.model)
        networks = {
            "before": run.model.initial_network(run.model.runtime_.architecture),
            "after": run.model.network_,
        }
        for when, network in networks.items():
            reach[when].append(gradient_reach(experiment.reader(network), *batch))
    with np.errstate(divide="ignore"):
        told = {when: [one for one in of if len(one)] or of for when, of in reach.items()}
        return Reach(**{when: np.exp(np.mean(np.log(of), axis=0)) for when, of in told.items()})


def _samples(by_cell: Mapping[str, list[Run]], metric: Metric) -> dict[str, str]:
    """What each cell's best language model writes; nothing for other tasks."""
    samples = {}
    for cell, runs in by_cell.items():
        best: Any = min(runs, key=lambda run: run.validation[metric.name]).model
        if best.TASK == "language-model":
            samples[cell] = "".join(best.generate(length=_SAMPLE, temperature=0.8, seed=0))
    return samples
