"""What commands print: a table for people, one JSON object for machines."""

from __future__ import annotations

import json
import math
import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext, redirect_stdout
from pathlib import Path
from typing import Any

from tidegate.errors import InputError
from tidegate.intervals import wilson, with_interval
from tidegate.output.writing import own_descriptor
from tidegate.tasks.measured import lines_of
from tidegate.terminal import UNSAFE, elided, printable, say

_NARROWEST = 20  # columns of a table's values, however narrow the terminal is
# Why a figure means nothing, where it is undefined; of several series it may be so of some.
_UNDEFINED = {
    "smape": "values come so near zero that percentages of them mean nothing",
    "weighted_quantile_loss": "all values are 0",
    "mase": "the training rows repeat exactly, so the error of the repetition is no unit",
    "auroc": "one label alone occurs",
    "r2": "all numbers are alike",
    "micro_f1": "no label is told or held",
    "macro_f1": "no label is told or held",
}


def print_json(values: Mapping[str, Any]) -> None:
    """One object on one line; a figure that is undefined is null."""
    plain = not (sys.stdout.encoding or "utf-8").lower().startswith("utf")
    text = json.dumps(_finite(values), ensure_ascii=plain)
    print(UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text), flush=True)


def print_text(text: str, end: str = "\n") -> None:
    """Text as it is, for a file or a program; on a terminal without control characters."""
    if sys.stdout.isatty():
        text = printable(text.replace("\r", ""), lines=True)
    print(text, end=end, flush=True)


def said_aside(json: bool, output: Path | None) -> AbstractContextManager[object]:
    """What is said inside goes to stderr where stdout is for one JSON object, or for the output.

    Raises InputError where it is for both.
    """
    to_stdout = output is not None and own_descriptor(output) == 1
    if json and to_stdout:
        raise InputError(
            "expected none beside an output to stdout, got both; name a file", option="json"
        )
    return redirect_stdout(sys.stderr) if json or to_stdout else nullcontext()


def print_table(title: str, rows: Mapping[str, Any]) -> None:
    """Names and values, numbers to four figures; a long value goes on in the next lines."""
    if title:
        say(title)
    names = [printable(name.replace("_", " ")) for name in rows]
    column = 1 + max(map(_columns, names), default=0)
    width = max(shutil.get_terminal_size().columns - column, _NARROWEST)
    for name, value in zip(names, rows.values(), strict=True):
        lines = textwrap.wrap(elided(printable(as_text(value))), width, break_on_hyphens=False)
        indented = f"\n{' ' * column}".join(lines)
        say(f"{name}{' ' * (column - _columns(name))}{indented}".rstrip())


def _columns(text: str) -> int:
    """How wide a terminal shows a text: a Chinese character takes two columns, an accent none."""
    return sum(
        0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in "WF")
        for c in text
    )


def noted(figures: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """For machines: ``notes``, if there are any, by a figure's name (`_notes_on`)."""
    notes = _notes_on(figures)
    return {"notes": notes} if notes else {}


def _notes_on(figures: Mapping[str, Any]) -> dict[str, str]:
    """Why figures are undefined, and which are means of some of the series alone, by their name."""
    notes = {}
    for name, why in _UNDEFINED.items():
        if name in figures and math.isnan(figures[name]):
            notes[name] = f"undefined: {why}"
        elif (count := figures.get(f"{name}_series")) is not None:
            notes[name] = f"of {count} series; of the others undefined: {why}"
    return notes


def beside_baselines(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Figures with those of cheap and trivial predictions beside them, not below, and notes."""
    notes = _notes_on(figures)
    told = {}
    for name, value, beside in lines_of(figures):
        if name.removesuffix("_series") in notes and name.endswith("_series"):
            continue
        shown = [f"{b.replace('_', ' ')} {as_text(own)}" for b, own in beside.items()]
        note = notes.get(name, "")
        if note.startswith("undefined"):
            told[name] = note
        else:
            told[name] = "   ".join([as_text(value), *shown, *([f"({note})"] if note else [])])
    return told


def accuracy_told(figures: Mapping[str, Any], count: int, what: str) -> dict[str, Any]:
    """Figures for people: an accuracy of ``count`` inputs with how far it may be off."""
    if "accuracy" not in figures:
        return dict(figures)
    return {**figures, "accuracy": with_interval(figures["accuracy"], count, what)}


def accuracy_interval(figures: Mapping[str, Any], count: int) -> dict[str, Any]:
    """For machines: the ends of the 95 % interval, and whether the inputs are too few to tell."""
    if "accuracy" not in figures:
        return {}
    interval = wilson(figures["accuracy"], count)
    return {"accuracy_interval": list(interval), "too_few_to_tell": interval.wide}


def as_text(value: Any) -> str:
    """A value as a person reads it."""
    if isinstance(value, bool) or value is None:
        return "-" if value is None else "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}".replace(",", " ") if abs(value) >= 10_000 else str(value)
    if isinstance(value, float):
        return "undefined" if math.isnan(value) else f"{value:.4g}"
    if isinstance(value, tuple | list):
        return ", ".join(as_text(v) for v in value)
    return str(value)


def clock(seconds: float) -> str:
    """``75.3`` as ``1 min 15 s``."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, tuple | list):
        return [_finite(v) for v in value]
    return value
