"""What a model may be asked, by what it can do: one table, of which routes are made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tidegate.serving.answers import Asked, forecasts, predictions, reads, tags
from tidegate.serving.bodies import Member
from tidegate.serving.explanations import gates, looked_back, weights
from tidegate.tasks.tags_steps import TagsSteps

MODEL = Member("model", ("string",), "name one of GET /v1/models, if several can do it")
_INPUTS = Member(
    "inputs",
    ("array",),
    "give a list of texts, of lists of tokens, or of sequences of numbers (a list of lists of the "
    "channels' values, null for a missing one), as in training",
    required=True,
)
_INPUT = Member(
    "input", ("string", "array"), "give one input, as predict, tag or forecast reads it", True
)
_TEXT = Member("input", ("string",), "give a text", True)
_ROWS = Member(
    "rows",
    ("array",),
    "give a list for each moment up to now, the oldest first: the series' values, the covariates' "
    "and those of the known columns, in the order that GET /v1/models tells; of a model with known "
    "columns or elapsed times also those of the horizon, null for the others",
    required=True,
)
_TIMES = Member(
    "times", ("array",), "leave it out, or give the time of each row, as text or a number"
)
_STATIC = Member(
    "static", ("object",), "give what the series is by the static columns' names, or leave it out"
)
_QUANTILES = Member("quantiles", ("array",), "give some such as [0.1, 0.5, 0.9], or leave it out")
_BEAM = Member("beam", ("integer",), "give how many answers are followed at a time")
_PENALTY = Member("length_penalty", ("number",), "give how much longer answers are preferred")


@dataclass(frozen=True, kw_only=True)
class Verb:
    """One thing that models can be asked, at ``/v1/NAME``.

    ``can``: whether a fitted model can.  ``answer``: several requests at once, which agree in the
    members ``alike``.  ``answer_about``: what comes back.
    """

    name: str
    about: str
    members: tuple[Member, ...]
    can: Callable[[Any], bool]
    answer: Callable[[Any, Asked], Sequence[dict[str, Any]]]
    answer_about: str
    alike: tuple[str, ...] = ()


def has(name: str) -> Callable[[Any], bool]:
    """Whether a model's class has a method of this name."""
    return lambda fitted: callable(getattr(type(fitted), name, None))


def _predicts(fitted: Any) -> bool:
    return has("predict")(fitted) and not isinstance(fitted, TagsSteps) and reads(fitted) != "rows"


def _weighs(fitted: Any) -> bool:
    return _predicts(fitted) and reads(fitted) == "text" and "encoder_" in vars(fitted)


def _looks_back(fitted: Any) -> bool:
    held = vars(fitted)
    language = has("generate")(fitted) and reads(fitted) == "text"
    return language and not held.get("reverse") and held.get("conditions_") is None


VERBS = (
    Verb(
        name="predict",
        about="Predict the label, the number or the answer of each input.",
        members=(MODEL, _INPUTS, _BEAM, _PENALTY),
        can=_predicts,
        answer=predictions,
        answer_about="predictions: for each input a label or labels with the probability of each, "
        "a value, or an answer",
        alike=("beam", "length_penalty"),
    ),
    Verb(
        name="tag",
        about="Predict the label of each token or step of each input.",
        members=(MODEL, _INPUTS),
        can=lambda fitted: isinstance(fitted, TagsSteps),
        answer=tags,
        answer_about="predictions: for each input its steps' labels, and how likely each is",
    ),
    Verb(
        name="forecast",
        about="Forecast the rows that follow the last one.",
        members=(MODEL, _ROWS, _TIMES, _STATIC, _QUANTILES),
        can=has("forecast"),
        answer=forecasts,
        answer_about="times, or numbers of rows ahead; forecast: values by series; quantiles: of "
        "each series by level, if they were asked for",
    ),
    Verb(
        name="inspect",
        about="Show what each gate does at each step of one input: its mean over the units.",
        members=(MODEL, _INPUT, _TIMES, _STATIC),
        can=has("inspect"),
        answer=gates,
        answer_about="steps, and gates: of each its name, meaning, bounds, and means by step",
    ),
    Verb(
        name="weigh",
        about="Tell how much each word of a text counts: what the answer loses without it.",
        members=(MODEL, _TEXT),
        can=_weighs,
        answer=weights,
        answer_about="label, and words: where each begins and ends, and its weight: log-odds of "
        "the label in nats, or what a number loses",
    ),
    Verb(
        name="connect",
        about="Tell how much the last token of a text hangs on each before it: the length of the "
        "gradient of its logit (Madsen 2019).",
        members=(MODEL, _TEXT),
        can=_looks_back,
        answer=looked_back,
        answer_about="steps: the tokens before the last, at most 200; connectivity of each",
    ),
)


def extent(request: dict[str, Any]) -> tuple[int, int]:
    """How many inputs a request has, and how many steps, tokens or characters."""
    inputs = request.get("inputs")
    if inputs is None:
        inputs = [request.get("rows") or request.get("input")]
    return len(inputs), sum(len(one) if isinstance(one, str | list) else 1 for one in inputs)
