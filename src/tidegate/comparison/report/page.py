"""A comparison as files: a page, its figures and its pictures.

The page is one HTML file that needs nothing else, light or dark, on a telephone too.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from html import escape
from pathlib import Path

from tidegate.cells import title
from tidegate.comparison.report.drawing import as_png, as_svg
from tidegate.comparison.report.result import Comparison
from tidegate.comparison.report.table import cells_of, columns_of
from tidegate.output.places import MARK
from tidegate.output.writing import write_atomically

# Names of the page and of the file of figures.
REPORT, FIGURES = "report.html", "comparison.json"

_STYLE = """
:root { color-scheme: light dark; --ink: #1a1a1a; --paper: #fff; --rule: #d4d4d4; --soft: #f3f4f6;
  --faint: #5b5b5b }
@media (prefers-color-scheme: dark) { :root { --ink: #e8e8e8; --paper: #16181b; --rule: #3a3d42;
  --soft: #22252a; --faint: #a5a8ad } }
body { margin: 0 auto; max-width: 62rem; padding: 1rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif }
h1 { font-size: 1.5rem; line-height: 1.25; margin: .5rem 0 }
h2 { font-size: 1.15rem; margin: 2rem 0 .5rem }
.advice { background: var(--soft); border-left: .25rem solid #0072B2; padding: .75rem 1rem }
.wide { overflow-x: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .92rem }
th, td { padding: .3rem .5rem; text-align: right; border-bottom: 1px solid var(--rule) }
td { white-space: nowrap }
th { font-weight: 600; vertical-align: bottom }
tbody th { text-align: left; min-width: 7rem; padding-left: 0 }
small { display: block; font-weight: 400 }
small, figcaption, .faint { color: var(--faint); font-size: .88rem }
.pair { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(19rem, 1fr)) }
figure { margin: 0 }
figure svg { display: block; width: 100%; height: auto }
pre { background: var(--soft); padding: .75rem 1rem; overflow-x: auto; white-space: pre-wrap;
  overflow-wrap: anywhere; font-size: .88rem }
"""

_RULE = (
    "How the advice is made: cells are compared on the validation part by the loss of the first "
    "column, which also says whether probabilities can be believed. The best cell has the least "
    "mean loss. It is better than another one if two tests agree. Over the seeds: the 95 % "
    "interval of the difference of their means (Welch) does not contain 0. Over the {examples}: "
    "a paired test on the losses of the same {examples} gives p < 0.05. The paired test is "
    "exact if at most 16 {examples} differ, else it is Student's t. If one of the tests does "
    "not say so, the two cells are level. If it is the paired test and there are fewer than 30 "
    "{examples}, they are called too few to tell. Of level cells whose mean loss is within 2 % "
    "of the least, the one with the fewest weights is advised. If several are within 5 % of the "
    "fewest weights, the fastest of them is advised. The baseline with the least validation "
    "loss is compared with the advised cell in the same way, on the {held_out} part. Each run "
    "keeps the weights with the best validation figure. The one model that is named is that run "
    "of the advised cell which has the least validation loss."
)


def write(comparison: Comparison, folder: Path) -> None:
    """Write the page, the figures and the pictures, which the page holds as well."""
    for name, draw in comparison.pictures.items():
        write_atomically(folder / f"{name}.png", as_png(draw))
    values = {"generator": MARK} | comparison.to_json()
    text = json.dumps(values, indent=2, ensure_ascii=False) + "\n"
    # a name that is no UTF-8 as JSON writes it, and then as it stands there
    write_atomically(folder / FIGURES, text.encode(errors="backslashreplace"))
    page = as_html(comparison)
    write_atomically(folder / REPORT, page.encode(errors="backslashreplace"))


def as_html(comparison: Comparison) -> str:
    """The whole page."""
    c = comparison
    cells = [title(cell) for cell in c.reach]
    heading = f"{' or '.join([', '.join(cells[:-1]), cells[-1]] if cells[1:] else cells)}?"
    sections = [
        f'<h1>{heading}</h1><p class="faint">{escape(_subject(c))}</p>',
        f'<p class="advice">{escape(str(c.advice))}</p>',
        *(f'<p class="advice">Failed: {escape(problem)}</p>' for problem in c.problems),
        _table(
            columns_of(c.metric, c.held_out, c.rows[0].accuracy is not None),
            [cells_of(row, c.held_out) for row in c.rows],
        ),
        f'<p class="faint">{escape(_about_table(c))}</p>',
        "<h2>While training</h2>",
        _curves(c),
        "<h2>How far back the gradient reaches</h2>",
        _gradient_reach(c),
        *_samples(c),
        "<h2>Every run</h2>",
        _runs(c),
        "<h2>How it was made</h2>",
        _made(c),
    ]
    return "\n".join(
        [
            '<!doctype html><html lang="en"><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f'<meta name="generator" content="{MARK}">',
            f"<title>{heading} {escape(_subject(c))}</title><style>{_STYLE}</style>",
            *sections,
            "</html>",
        ]
    )


def _subject(c: Comparison) -> str:
    data = c.runs[0].model.provenance_.get("data")
    about = [c.task.replace("-", " "), data, c.environment["date"]]
    return ", ".join(str(part) for part in about if part is not None)


def _table(head: list[str], lines: Iterable[list[str]]) -> str:
    """Rows whose first cell is their name and whose second is about it."""
    columns = "".join(f"<th>{escape(name)}</th>" for name in head[1:])
    rows = "".join(
        f"<tr><th>{escape(name)}<small>{escape(about)}</small></th>"
        + "".join(f"<td>{escape(value)}</td>" for value in values)
        + "</tr>"
        for name, about, *values in lines
    )
    return (
        f'<div class="wide"><table><thead><tr>{columns}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _figure(svg: str, caption: str) -> str:
    return f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>"


def _about_table(c: Comparison) -> str:
    text = f"{c.about_figures} Less is better, but for accuracies. "
    text += (
        f"Training − {c.held_out}: the figure on the training part minus that on the {c.held_out} "
        "part; a large difference is a sign of overfitting. "
    )
    if c.unit == "texts":
        text += "Evidence counts the labels of the training texts, which adds to the difference. "
    if c.rows[0].accuracy is not None:
        text += (
            f"The spread over the seeds does not show how much depends on which {c.unit} were "
            f"held out. The 95 % interval (Wilson) does: it says how far an accuracy on {c.size} "
            f"{c.unit} may be from that on all {c.unit}. "
        )
    return text + _RULE.format(held_out=c.held_out, examples=c.examples)


def _curves(c: Comparison) -> str:
    band = "Lines are means over the seeds; bands reach from the lowest to the highest seed."
    by_time = _figure(
        as_svg(c.pictures["curve-time"], f"validation {c.metric.label} against time"),
        f"Against training time, evaluations included. {band}",
    )
    by_steps = _figure(
        as_svg(c.pictures["curve-steps"], f"validation {c.metric.label} against steps"),
        f"Against optimiser steps. {band}",
    )
    return f'<div class="pair">{by_time}{by_steps}</div>'


def _gradient_reach(c: Comparison) -> str:
    picture = _figure(
        as_svg(c.pictures["gradient-reach"], "gradient against distance from the last step"),
        "Gradient of the loss at the last step T by the states of the last recurrent layer: its "
        f"geometric mean over seeds and sequences of the {c.held_out} part. Dashed: before "
        "training. The gradient has faded where it is below a thousandth of that at T.",
    )
    return f'<div style="max-width: 34rem">{picture}</div>'


def _samples(c: Comparison) -> list[str]:
    if not c.samples:
        return []
    texts = "".join(
        f"<figure><figcaption>{title(cell)}</figcaption><pre>{escape(text)}</pre></figure>"
        for cell, text in c.samples.items()
    )
    about = "Text by the best run of each cell, without a prompt, at temperature 0.8."
    return [
        "<h2>What they write</h2>",
        f'<p class="faint">{about}</p><div class="pair">{texts}</div>',
    ]


def _runs(c: Comparison) -> str:
    name = c.metric.name
    head = [
        "",
        "",
        f"validation {c.metric.label}",
        f"training {c.metric.label}",
        "seconds",
        "seconds to best weights",
    ]
    if c.held_out == "test":
        head.insert(3, f"test {c.metric.label}")
    lines = []
    for run in c.runs:
        figures = [run.validation[name], run.training[name]]
        if c.held_out == "test":
            figures.insert(1, run.held_out[name])
        file = "" if run.path is None else run.path.name
        best = " (best)" if run is c.best else ""
        seconds = [run.history[-1]["seconds"], run.seconds_to_best]
        lines.append(
            [
                f"{title(run.cell)}, seed {run.seed}{best}",
                file,
                *(f"{figure:.4g}" for figure in figures),
                *(f"{second:.3g}" for second in seconds),
            ]
        )
    return _table(head, lines)


def _made(c: Comparison) -> str:
    about = c.environment
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    lines = [
        f"{about['date']}, Python {about['python']}, {versions}",
        f"{about['processor']}, {about['isa']}, {about['threads']} of {about['processors']} "
        "processors",
        f"Seeds: {', '.join(map(str, c.seeds))}; the parts were drawn with seed {c.seeds[0]}",
        f"Options: {c.options}",
    ]
    told = "".join(f"<li>{escape(line)}</li>" for line in lines)
    command = "" if c.command is None else f"<pre>{escape(c.command)}</pre>"
    return f"{command}<ul>{told}</ul>"
