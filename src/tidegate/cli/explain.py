"""``tidegate explain``: which words carry the answers of a model, and whether they do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tidegate.cli.command import Argument, Option, command
from tidegate.cli.options import later_options
from tidegate.cli.parameters import FORCE, JSON, MODEL, output_option
from tidegate.cli.reading import about_file, file_or_text, names_a_column, source_for
from tidegate.cli.show import print_json
from tidegate.data.files.reading import taken
from tidegate.errors import InputError
from tidegate.tasks import TASKS
from tidegate.terminal import printable, say

if TYPE_CHECKING:
    from tidegate.tasks.explaining import Explanation, Faithfulness

_TASKS = ("text-classifier", "text-regressor")


class _TextOrFile(Argument):
    """May be left out."""

    def __init__(self) -> None:
        super().__init__(
            "asked",
            "[TEXT|FILE|-]",
            "a text; or, where there is one of this name, a file like the one in training or a "
            ".txt of lines. - is lines of standard input",
        )
        self.required = False


@command(
    MODEL,
    _TextOrFile(),
    Option(
        "--check",
        metavar="FILE",
        help="measure on the texts of a file how far answers fall without the words that are "
        "named, and without as many random ones",
    ),
    Option(
        "--top",
        metavar="N",
        type=click.IntRange(1),
        default=10,
        help="how many words to show of a text, those that carry most",
    ),
    output_option("page to write with the words in colours, .html, or a picture, .png or .svg"),
    FORCE,
    JSON,
    told=later_options(*(TASKS[task].source for task in _TASKS)),
)
def explain(
    model: Path,
    asked: str | None,
    check: str | None,
    top: int,
    output: Path | None,
    told: dict[str, Any],
    force: bool,
    json: bool,
) -> None:
    """Show which words carry a model's answer to a text.

    Each word is left out in turn: how far do the log-odds of the label fall, or the number? Words
    that say the same stand in for each other, so --check leaves out several at a time. No torch is
    needed.

    Example: tidegate explain reviews-text-classifier.safetensors "not bad at all"
    """
    from tidegate.tasks import load
    from tidegate.tasks.explaining import explained

    if (asked is None) == (check is None):
        got = "neither" if asked is None else "both"
        raise InputError(
            f"expected a text, or a file to check on with --check, got {got}; give one"
        )
    if check is not None and output is not None:
        raise InputError("expected none beside --check, got one; leave it out", option="output")
    if output is not None:
        from tidegate.tasks.explanation_page import check_page_path

        check_page_path(output, inputs=(model, *([asked] if asked else [])), force=force)
    fitted: Any = load(model)
    if fitted.TASK not in _TASKS:
        problem = f"expected a model of {' or '.join(_TASKS)}, got a {fitted.TASK}"
        raise InputError(f"{problem}; name another", file=model)
    source = source_for(fitted, told)
    given = asked if check is None else check
    assert given is not None
    read = file_or_text(given, source) if check is None else taken(given)
    inputs, _ = source.read_inputs(read, table=names_a_column(told))
    with about_file(read):
        if check is not None:
            _tell_check(fitted.faithfulness(inputs), fitted, json=json)
            return
        found = []
        for one in explained(fitted, inputs):  # each is told once it is known: a file takes minutes
            found.append(one)
            if not json:
                _tell(one, top)
    if output is not None:
        from tidegate.tasks.explanation_page import write_explanations

        write_explanations(output, found, unit=_unit(fitted), force=force)
    if json:
        print_json({"explanations": [one.to_json() for one in found]})
        return
    if output is not None:
        say(f"written: {output}")


def _unit(fitted: Any) -> str:
    return "log-odds" if fitted.kind_.LABELS else "number"


def _tell(one: Explanation, top: int) -> None:
    """The answers to a text, and under each what its words carry, the most first."""
    text = printable(" ".join(one.text.split()))
    for column, name in enumerate(one.names):
        print(f"{printable(name)}\t{text}")
        for word, value in one.top(top, column):
            print(f"  {value:+.3f}  {printable(word)}")


def _tell_check(found: Faithfulness, fitted: Any, *, json: bool) -> None:
    if json:
        print_json(found.to_json())
        return
    say(f"by how much the {_unit(fitted)} falls in the mean of {found.texts} texts without ...")
    for fall in found.falls:
        low, high = fall.interval
        line = (
            f"{fall.share:4.0%} of the words: those named {fall.top:.3g}, random ones "
            f"{fall.random:.3g} (95 % interval of the difference {low:.3g} to {high:.3g})"
        )
        if fall.changed is not None:
            line += f"; another answer {fall.changed:.0%}, and {fall.changed_random:.0%}"
        say(line)
    if found.holds:
        say("words that are named carry more of the answers than random ones")
    else:
        say("words that are named carry no more than random ones, as far as these texts tell")
