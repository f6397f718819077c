"""The sentences of docs/results.md that hold figures, from the rows of benchmarks/results/*.json.

`results_page.py` writes them between ``<!-- words: NAME -->`` and ``<!-- /words -->``, NAME being a
function here.  Each is given ``rows_of``, which reads the rows of a result file by its name.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from typing import Any

from tidegate.cells import get_cell

RowsOf = Callable[[str], list[dict[str, Any]]]


def standard_errors(rows_of: RowsOf) -> str:
    """How far one accuracy may be off, of as many test texts as there are."""
    (sst2, of_sst2), (imdb, of_imdb) = (
        _accuracy_error(rows_of("sentiment"), data) for data in ("sst2", "imdb")
    )
    return (
        f"One accuracy on the {sst2:,} sentences of SST-2 has a standard error of {of_sst2:.3f}, "
        f"one on the {imdb:,} reviews of IMDb {of_imdb:.3f}."
    )


def _accuracy_error(rows: list[dict[str, Any]], data: str) -> tuple[int, float]:
    found = [row["test"] for row in rows if row["data"] == data]
    (count,) = {test["n"] for test in found}
    accuracy = sum(test["accuracy"] for test in found) / len(found)
    return count, math.sqrt(accuracy * (1 - accuracy) / count)


def missed_characters(rows_of: RowsOf) -> str:
    """The networks whose test figure is above the published one of the same name."""
    missed = [
        f"{row['name']} by {row['test_cross_entropy'] - row['published']:.3f}"
        for row in rows_of("karpathy_chars")
        if row["test_cross_entropy"] > row["published"]
    ]
    return f"Above the published figure: {', '.join(missed) or 'none'}."


def word_tokens(rows_of: RowsOf) -> str:
    """The test part's size."""
    (count,) = {row["test"]["tokens"] for row in rows_of("penn_treebank")}
    return f"{count:,} test tokens"


def missed_sequences(rows_of: RowsOf) -> str:
    """Data sets on which the neighbour is better."""
    missed = [
        f"{row['data']} ({row['mean_accuracy']:.3f}, the neighbour {row['dtw_accuracy']:.3f})"
        for row in rows_of("series_classification")
        if row["mean_accuracy"] < row["dtw_accuracy"]
    ]
    return f"The neighbour is better on: {', '.join(missed) or 'none'}."


def missed_memory(rows_of: RowsOf) -> str:
    """What the gated cells leave of the cost of an answer without memory."""
    missed = [
        f"{get_cell(row['cell']).name.upper()}, {row['task']}: "
        f"{row['test'] / row['baseline']:.1%} of the figure without memory is left".replace(
            "%", " %"
        )
        for row in rows_of("long_memory")
        if not row["solved"] and row["cell"] != "rnn"
    ]
    return f"Not solved by a gated cell: {'; '.join(missed) or 'none'}."


def batches_gain(rows_of: RowsOf) -> str:
    """How many times as many requests batches answer, by size of the network."""
    rates = {(r["units"], r["network"], r["batch"], r["clients"]): r["requests_per_s"]
             for r in rows_of("serving")}  # fmt: skip
    units = sorted({key[0] for key in rates})
    gains = [
        f"{rates[n, 'tidegate', 64, 64] / rates[n, 'tidegate', 1, 64]:.1f} times at {n}"
        for n in units
    ]
    beside = [
        rates[n, "tidegate", 64, 64] / rates[n, "ONNX Runtime", 64, 64]
        for n in units
        if (n, "ONNX Runtime", 64, 64) in rates
    ]
    return (
        f"Batches answer {', '.join(gains[:-1])} and {gains[-1]} units as many requests as the "
        f"same clients get one at a time, and {' to '.join(f'{g:.1f}' for g in sorted(beside))} "
        "times as many as ONNX Runtime in batches behind the same server. The goal was five "
        "times one at a time: small networks miss it, because their weights stay in the cache "
        "and a review alone is read fast."
    )


def random_shapes(rows_of: RowsOf) -> str:
    """Of each cell, mode and rival, how many times as long it took on shapes drawn by a seed."""
    found: dict[tuple[str, str, str], list[float]] = {}
    for row in rows_of("random-shapes"):
        for rival, ratio in row["ratios"].items():
            found.setdefault((row["cell"], row["mode"], rival), []).append(ratio)
    lines = [
        "| cell | mode | beside | shapes | geometric mean | lowest tenth | lowest | below 1.1 |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for (cell, mode, rival), ratios in sorted(found.items()):
        mean = statistics.geometric_mean(ratios)
        tenth, below = statistics.quantiles(ratios, n=10)[0], sum(r < 1.1 for r in ratios)
        name = {"torch": "torch.nn", "onnxruntime": "ONNX Runtime"}[rival]
        lines.append(
            f"| {cell} | {mode} | {name} | {len(ratios)} | **{mean:.2f}** | {tenth:.2f} | "
            f"{min(ratios):.2f} | {below} |"
        )
    return "\n" + "\n".join(lines) + "\n"
