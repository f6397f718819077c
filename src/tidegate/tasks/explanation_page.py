"""Explanations to look at: a page with the words in colours, or a picture of bars."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from os import PathLike

import numpy as np

from tidegate.output.pictures import check_ending, image_of, new_figure
from tidegate.output.places import MARK
from tidegate.output.writing import write_atomically
from tidegate.tasks.explaining import Explanation
from tidegate.terminal import printable

MOST_PANELS = 6  # answers drawn in a picture; the first ones of more
_MOST_BARS = 30  # words of a text in a picture, those that carry most, in the text's order
_FORMATS = ("html", "png", "svg")
_FOR, _AGAINST = (46, 125, 50), (198, 40, 40)  # red, green, blue

_PAGE = """<!doctype html>
<html><head><meta charset="utf-8"><title>{title}</title><!-- {mark} -->
<style>
body {{ font: 16px/1.7 sans-serif; max-width: 50em; margin: 2em auto; padding: 0 1em }}
h2 {{ font-size: 1em; margin: 2em 0 .3em }} p {{ white-space: pre-wrap; margin: 0 }}
span {{ border-radius: 3px }}
</style></head><body>
<p>Green words speak for the answer, red ones against it: by how much its {unit} falls without the \
word. Point at a word to see how much.</p>
{body}
</body></html>
"""


def check_page_path(
    path: str | PathLike[str], *, inputs: Iterable[str | PathLike[str]] = (), force: bool = False
) -> str:
    """The format that a file's ending names, as `check_ending` does."""
    return check_ending(path, _FORMATS, "a page or a picture", inputs=inputs, force=force)


def write_explanations(
    path: str | PathLike[str],
    explanations: Sequence[Explanation],
    *,
    unit: str,
    force: bool = False,
) -> None:
    """A page of all texts, .html, or a picture of the first, .png or .svg.

    ``unit`` is what contributions are of.  Raises InputError as ``check_page_path``.
    """
    ending = check_page_path(path, force=force)
    if ending == "html":
        parts = [_marked(one, k) for one in explanations for k in range(len(one.names))]
        page = _PAGE.format(
            title="Which words carry the answer", mark=MARK, unit=unit, body="\n".join(parts)
        )
        write_atomically(path, page.encode("utf-8", "backslashreplace"))
        return
    write_atomically(path, _picture(explanations, unit, ending))


def _marked(one: Explanation, column: int) -> str:
    """A text whose words have a colour as strong as what they carry."""
    of_words = one.contributions[:, column]
    most = max(float(np.abs(of_words).max(initial=0)), 1e-12)
    parts, at = [], 0
    beside = []
    for word, value in zip(one.words, of_words.tolist(), strict=True):
        red, green, blue = _FOR if value > 0 else _AGAINST
        if word.column is None:
            parts.append(html.escape(one.text[at : word.start]))
            at = word.end
        (parts if word.column is None else beside).append(
            f'<span title="{value:+.3g}" style="background: rgba({red}, {green}, {blue}, '
            f'{0.6 * abs(value) / most:.2f})">{html.escape(word.text)}</span>'
        )
    text = "".join(parts) + html.escape(one.text[at:]) + "".join(f"\n{one}" for one in beside)
    return f"<h2>{html.escape(_title(one, column))}</h2>\n<p>{text}</p>"


def _title(one: Explanation, column: int) -> str:
    name, score = one.names[column], f"{one.scores[column]:.4g}"
    return name if name == score else f"{name} (log-odds {score})"


def _picture(explanations: Sequence[Explanation], unit: str, ending: str) -> bytes:
    panels = [(one, k) for one in explanations for k in range(len(one.names))][:MOST_PANELS]
    counts = [min(_MOST_BARS, len(one.words)) for one, _ in panels]
    heights = [0.9 + 0.22 * count for count in counts]
    figure = new_figure((6.5, sum(heights)))
    axes_of = figure.subplots(len(panels), squeeze=False, height_ratios=heights)[:, 0]
    for axes, (one, column), count in zip(axes_of, panels, counts, strict=True):
        of_words = one.contributions[:, column]
        shown = np.sort(np.argsort(-np.abs(of_words), kind="stable")[:count])[::-1]
        colours = [[c / 255 for c in (_FOR if v > 0 else _AGAINST)] for v in of_words[shown]]
        axes.barh(range(count), of_words[shown], color=colours)
        words = [printable(one.words[i].text) for i in shown]
        axes.set_yticks(range(count), words, parse_math=False)  # a word is no formula
        axes.set_title(printable(_title(one, column)), loc="left", parse_math=False)
        axes.axvline(0, color="black", linewidth=0.8)
        axes.spines[["top", "right", "left"]].set_visible(False)
    axes_of[-1].set_xlabel(f"by how much the {unit} falls without the word")
    return image_of(figure, ending)
