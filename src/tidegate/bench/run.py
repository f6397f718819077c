"""A whole run: every case prepared, held to equal results, timed; and what is written of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tidegate.bench import limits, onednn
from tidegate.bench.catalogue import LIBRARIES, OURS
from tidegate.bench.figures import CASES, Case, Choice
from tidegate.bench.hosts import Hosts
from tidegate.bench.neighbours import busy, fair_share, shares
from tidegate.bench.shapes import Shape, operations
from tidegate.bench.summary import ratios
from tidegate.bench.timing import Timed, in_turns
from tidegate.bench.work import Results
from tidegate.machine import describe
from tidegate.output.places import MARK

# Of the largest value: sums over thousands of float32 terms, taken in another order.
_TOLERANCE = 1e-4
# Keras adds Adam's epsilon before the bias correction, torch after it: losses 1e-4 apart after two
# steps, 1e-6 with an epsilon of 1e-12.  A step moves the loss by 1e-2.
_LOSS_TOLERANCE = 1e-3
Row = dict[str, Any]


def run(
    figures: Sequence[str], choice: Choice, turns: int | None, say: Callable[[str], None]
) -> dict[str, Any]:
    """Everything as one JSON object.  Raises RuntimeError where two libraries disagree."""
    about = describe({p for name in (OURS, *choice.peers) for p in LIBRARIES[name].packages})
    say(
        f"{about['processor']}, {about['isa']}, {about['threads']} threads of "
        f"{about['processors']} processors"
    )
    product = limits.product()
    times, _ = in_turns({"product": product}, turns, seconds=1.0)
    about["peak_operations_per_second"] = limits.peak(times["product"][0])
    about["bandwidth_bytes_per_second"] = limits.bandwidth(turns)
    say(
        f"a large float32 product {about['peak_operations_per_second'] / 1e9:.0f} GF/s, "
        f"a copy {about['bandwidth_bytes_per_second'] / 1e9:.0f} GB/s"
    )
    rows = []
    with Hosts(about["threads"]) as hosts:
        for figure in figures:
            for case in CASES[figure](choice):
                row = _measured(case, hosts, product, turns)
                rows.append(row)
                if case.neighbours is not None:
                    row["shares"] = shares(row, rows)
                    row["fair_share"] = fair_share(
                        case.neighbours, about["threads"], about["processors"]
                    )
                _set_fractions([row], about)
                say(line(row))
    _set_fractions(rows, about)
    return {"generator": MARK, "machine": about, "rows": rows}


def _set_fractions(rows: Sequence[Row], about: dict[str, Any]) -> None:
    """Fractions of the peak: the fastest that the large product ran at, in any row's turns.

    Beside some libraries it runs a third slower, and a fraction of that would flatter.
    """
    timed = [row for row in rows if "product_per_second" in row]
    peaks = [about["peak_operations_per_second"], *(row["product_per_second"] for row in timed)]
    about["peak_operations_per_second"] = max(peaks)
    for row in timed:
        row["fraction_of_peak"] = row["operations_per_second"] / max(peaks)
        yardstick = onednn.fraction_of_peak(row["cell"], Shape(*row["shape"]), row["mode"])
        if yardstick is not None:
            row["ratios"]["onednn"] = row["fraction_of_peak"] / yardstick


def _measured(case: Case, hosts: Hosts, product: Timed, turns: int | None) -> Row:
    timed: dict[str, Timed] = {}
    library, our_work = case.contestants[OURS]
    ours, timed[OURS] = hosts.prepare(library, our_work)
    for label, (library, work) in case.contestants.items():
        if label == OURS:
            continue
        theirs, timed[label] = hosts.prepare(library, work)
        if work is our_work:
            _must_agree(case, label, ours, theirs)
    if case.beside_product:
        timed["product"] = product
    with busy(case.neighbours or 0):
        seconds, taken = in_turns(timed, turns, case.seconds, case.turn_seconds)
    peak_seconds = seconds.pop("product", None)
    row: Row = {
        "figure": case.figure,
        "cell": case.cell,
        "shape": list(case.shape),
        "mode": case.mode,
        "turns": taken,
        "seconds": seconds,
        "ratios": ratios(seconds),
    }
    if case.neighbours is not None:
        row["neighbours"] = case.neighbours
    if case.padding is not None:
        row["padding"] = case.padding
    if peak_seconds is not None:
        row["product_per_second"] = limits.peak(peak_seconds[0])
        row["operations_per_second"] = (
            operations(case.cell, case.shape, case.mode) / (case.padding or 1) / seconds[OURS][0]
        )
    return row


def _must_agree(case: Case, label: str, ours: Results, theirs: Results) -> None:
    for name in theirs:
        tolerance = _LOSS_TOLERANCE if name == "loss" else _TOLERANCE
        size = max(1.0, float(np.abs(theirs[name]).max()))
        apart = float(np.abs(ours[name] - theirs[name]).max()) / size
        if not apart <= tolerance:  # a NaN is no agreement
            raise RuntimeError(
                f"{case.figure} {case.cell} {case.shape} {case.mode}: expected {name} of {label} "
                f"within {tolerance:g} of ours, got {apart:.2g} of its largest value"
            )


def line(row: Row) -> str:
    """A row for people: our median with least and greatest, and how many times as long as ours."""
    median, least, greatest = (1e3 * s for s in row["seconds"][OURS])
    shape = "x".join(map(str, row["shape"]))
    parts = [
        f"{row['figure']:6} {row['cell']:4} {shape:15} {row['mode']:9} "
        f"{median:9.3f} ms ({least:.3f}-{greatest:.3f} of {row['turns']})"
    ]
    if "fraction_of_peak" in row:
        parts.append(f"{row['fraction_of_peak']:.2f} of peak")
    if row.get("neighbours"):
        each = ", ".join(f"{name} {share:.2f}" for name, share in row["shares"].items())
        parts.append(f"beside {row['neighbours']}: share {each} (fair {row['fair_share']:.2f})")
    if "padding" in row:
        parts.append(f"padding {row['padding']:.2f}")
    parts += [f"{name} {ratio:.2f}" for name, ratio in row["ratios"].items()]
    return "  ".join(parts)


def as_json(results: dict[str, Any]) -> str:
    """One row on a line, for whoever compares two runs."""
    rows = ",\n".join(f"  {json.dumps(row)}" for row in results["rows"])
    about = json.dumps(results["machine"], indent=1).replace("\n", "\n ")
    return f'{{\n "generator": "{MARK}",\n "machine": {about},\n "rows": [\n{rows}\n ]\n}}\n'
