"""Tables of the pages of results, and README's six figures, of benchmarks/results/*.json.

    python benchmarks/results_page.py            # rewrite the pages
    python benchmarks/results_page.py --check    # say whether they are current

A page holds its words; between ``<!-- table: NAME -->`` and ``<!-- /table -->`` stands what this
command writes.  NAME is a module of benchmarks/reproduce/, whose COLUMNS show the rows of the
result file of the same name, or what its ``grouped`` makes of them; ``six`` is README's table.
Sentences with figures stand between ``<!-- words: NAME -->`` and ``<!-- /words -->``, NAME being a
function of results_words.py.
"""

from __future__ import annotations

import importlib
import json
import re
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGES = (
    ROOT / "README.md",
    ROOT / "docs" / "results.md",
    ROOT / "docs" / "results-cells.md",
    ROOT / "docs" / "results-elsewhere.md",
    ROOT / "docs" / "results-tasks.md",
    ROOT / "docs" / "onnx.md",
    ROOT / "docs" / "serving.md",
    ROOT / "docs" / "wheels.md",
)
_TABLE = re.compile(r"<!-- table: (\w+) -->.*?<!-- /table -->", re.DOTALL)
_WORDS = re.compile(r"<!-- words: (\w+) -->.*?<!-- /words -->", re.DOTALL)

Row = dict[str, Any]


def rows_of(name: str) -> list[Row]:
    """What the commands have written to ``benchmarks/results/NAME.json``."""
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))["rows"]


def row_of(file: str, **wanted: Any) -> Row:
    """The one row of a result file that has these values."""
    (row,) = (r for r in rows_of(file) if all(r[key] == value for key, value in wanted.items()))
    return row


def where_measured(rows: Sequence[Row]) -> str:
    """Machines, threads, versions and dates of the rows, in one line."""
    found = [row["measured"] for row in rows]
    machines = sorted({f"{m['processors']} cores of an {m['processor']}" for m in found})
    threads = sorted({m["threads"] for m in found})
    versions = sorted({m["versions"]["torch"].partition("+")[0] for m in found})
    dates = sorted({m["date"] for m in found})
    days = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    return (
        f"Measured on {' and '.join(machines)}; threads: {', '.join(map(str, threads))}; "
        f"torch {', '.join(versions)}; {days}."
    )


def reproduced(name: str) -> str:
    """The table of one reproduction, and where it was measured."""
    markdown = importlib.import_module("record").markdown
    rows = rows_of(name)
    module = importlib.import_module(name)
    shown = module.grouped(rows) if hasattr(module, "grouped") else rows  # means over seeds
    return f"{markdown(shown, module.COLUMNS)}\n\n{where_measured(rows)}"


def six() -> str:
    """README's table: one figure of each kind of work, and what stands beside it."""
    hour = row_of("karpathy_chars", name="best")
    imdb = row_of("sentiment", data="imdb", seed=0)
    words = row_of("penn_treebank", name="best")
    units = " and ".join(map(str, words["options"]["hidden_sizes"]))
    load = row_of("ett", horizon=24)
    digits = row_of("series_classification", data="pen digits")
    gru = [
        row["ratios"]["torch"]
        for row in rows_of("layers")
        if (row["figure"], row["cell"], row["mode"]) == ("layers", "gru", "training")
    ]
    lines = [
        (
            "text: War and Peace, characters, one hour, the network alone",
            f"{hour['network_cross_entropy']:.3f} nats per character",
            f"{hour['published']}: {hour['published_source']}",
        ),
        (
            f"reviews: IMDb, {imdb['cpu_seconds'] / 60:.0f} minutes of one core",
            f"{imdb['test']['accuracy']:.3f} accuracy",
            f"{imdb['tfidf_accuracy']:.3f}: TF-IDF and logistic regression",
        ),
        (
            f"words: Penn Treebank, LSTM {units}, the network alone",
            f"perplexity {words['network']['perplexity']:.1f}",
            f"{words['published']}: Zaremba et al. 2014, LSTM 2 x 650 on a GPU (from memory)",
        ),
        (
            "forecast: ETTh1, 7 series, 24 hours",
            f"{load['mean_test_mse']:.3f} squared error (standardised)",
            f"{load['ridge_test_mse']:.3f}: ridge regression on the same windows",
        ),
        (
            "sequences: pen digits, 10 classes",
            f"{digits['mean_accuracy']:.3f} accuracy",
            f"{digits['dtw_accuracy']:.3f}: nearest neighbour by dynamic time warping",
        ),
        (
            f"layer: training a GRU, {len(gru)} shapes",
            "time 1",
            f"time {statistics.geometric_mean(gru):.1f}: torch.nn.GRU (geometric mean)",
        ),
    ]
    body = [f"| {what} | **{ours}** | {other} |" for what, ours, other in lines]
    return "\n".join(["| task, on two CPU cores | tidegate | beside it |", "|---|---|---|", *body])


def current(text: str) -> str:
    """A page with its tables and figures written anew."""

    def table(found: re.Match[str]) -> str:
        name = found[1]
        body = six() + "\n" if name == "six" else reproduced(name) + " "
        return f"<!-- table: {name} -->\n{body}<!-- /table -->"

    def words(found: re.Match[str]) -> str:
        said = getattr(importlib.import_module("results_words"), found[1])(rows_of)
        # a line that begins with a comment is all comment to Markdown, and no paragraph
        begins = "\n" if text[: text.index(found[0])].endswith("\n") else ""
        return f"<!-- words: {found[1]} -->{begins}{said}<!-- /words -->"

    text = _TABLE.sub(table, text)
    return _WORDS.sub(words, text)


def main() -> int:
    """Exit code 1 where ``--check`` finds a page that is not current."""
    sys.path[:0] = [str(ROOT / "benchmarks" / "reproduce"), str(ROOT / "benchmarks")]
    stale = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        if (new := current(text)) == text:
            continue
        stale.append(page.relative_to(ROOT))
        if "--check" not in sys.argv:
            page.write_text(new, encoding="utf-8")
    if "--check" not in sys.argv or not stale:
        return 0
    names = " and ".join(map(str, stale))
    print(f"{names}: not current; run: python benchmarks/results_page.py", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
