"""A tidegate model written again, as it is or with weights in fewer bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tidegate.cli.evaluate import MEASURES, Asked
from tidegate.cli.reading import about_file, source_for
from tidegate.cli.show import print_json, print_table
from tidegate.data.files.reading import taken
from tidegate.errors import InputError, spelled
from tidegate.interchange.formats import FORMATS
from tidegate.model.narrow import checked_weights
from tidegate.output.places import check_output
from tidegate.terminal import say

_OTHERS = {suffix for about in FORMATS.values() for suffix in about.suffixes} - {".safetensors"}


def copy_model(
    file: Path, output: Path, weights: str | None, on: str | None, force: bool, json: bool
) -> None:
    """Write the model in ``file`` to ``output``, and say what rounding its weights has changed.

    ``on``: data like those in training, on which both models are measured.  Raises InputError.
    """
    from tidegate.model.checkpoint import is_model_file, load_model, save_model
    from tidegate.tasks import load

    kept = None if weights is None else checked_weights(weights)
    if output.suffix.lower() in _OTHERS:
        raise InputError(
            "expected the name of a tidegate model, .safetensors, got one of another library's "
            f"file; write .safetensors, or leave out {spelled('weights' if kept else 'to')}",
            file=output,
        )
    data = [] if on in (None, "-") else [Path(str(on))]
    check_output(output, inputs=(file, *data), force=force, ours=is_model_file)
    if kept is None:
        model = load_model(file)
        save_model(output, model)
        if json:
            print_json({"input": str(file), "output": str(output), "task": model.task})
        else:
            say(f"{output}: a {model.task}")
        return
    before: Any = load(file)
    measured = None if on is None else _Measured(before, on)
    before.save(output, force=True, weights=kept)  # checked above
    after: Any = load(output)
    largest, change = _changed_outputs(before, after)
    sizes = {"bytes_before": file.stat().st_size, "bytes": output.stat().st_size}
    figures = {} if measured is None else {"before": measured(before), "after": measured(after)}
    if json:
        outputs = {"largest_output": largest, "largest_change": change}
        said = {"input": str(file), "output": str(output), "weights": after.runtime_.weights}
        print_json(said | sizes | outputs | figures)
        return
    smaller = f"{sizes['bytes']:,} bytes, from {sizes['bytes_before']:,}"
    say(f"{output}: a {after.TASK}, weights in {after.runtime_.weights}, {smaller}")
    if figures:
        rows = {
            name: f"{value:.6g} -> {figures['after'][name]:.6g}"
            for name, value in figures["before"].items()
        }
        print_table(f"on {on}, before -> after", rows)
    else:
        say(
            f"on the model's test input, outputs of up to {largest:.3g} changed by up to "
            f"{change:.2g}; --on FILE measures both models on data"
        )


def _changed_outputs(before: Any, after: Any) -> tuple[float, float]:
    """The largest output of the test input, and the largest change of one."""
    from tidegate.tasks.model_file import new_test_vector, run_test

    vector = new_test_vector(before.runtime_)
    change = np.abs(run_test(after.runtime_, vector) - vector["output"]).max()
    return float(np.abs(vector["output"]).max()), float(change)


class _Measured:
    """Figures of a model on one file, which is read once."""

    def __init__(self, fitted: Any, on: str) -> None:
        self._source, self._file = source_for(fitted, {}), taken(on)
        self._data = self._source.read(self._file, learning=False)

    def __call__(self, fitted: Any) -> dict[str, float]:
        asked = Asked(self._source, self._file, None, None, None, None, force=False, json=True)
        with about_file(self._file):
            figures = MEASURES[fitted.TASK].figures(fitted, self._data, asked)
        return {n: v for n, v in figures.items() if type(v) in (int, float)}
