"""``help()`` of every public name: an example that runs, and every argument explained."""

from __future__ import annotations

import doctest
import inspect
from pathlib import Path
from typing import Any

import pytest

import tidegate as tg
from tidegate.nn.described import described

NAMES = [name for name in tg.__all__ if name != "__version__"]


@pytest.mark.parametrize("name", NAMES)
def test_the_example_of_a_public_name_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    text = inspect.getdoc(getattr(tg, name)) or ""
    example = doctest.DocTestParser().get_doctest(text, {}, name, None, None)
    assert example.examples, f"{name} has none"
    told: list[str] = []
    doctest.DocTestRunner(verbose=False).run(example, out=told.append)
    assert not told, "".join(told)


@pytest.mark.parametrize("name", [n for n in NAMES if inspect.isclass(getattr(tg, n))])
def test_every_argument_of_a_public_class_is_explained(name: str) -> None:
    public: Any = getattr(tg, name)
    _, _, told = (inspect.getdoc(public) or "").partition("Parameters\n----------\n")
    lines = told.splitlines()
    parameters = inspect.signature(public).parameters.values()
    assert [line.partition(" : ")[0] for line in lines if not line.startswith(" ")] == [
        p.name for p in parameters
    ]
    for line, following in zip(lines, lines[1:], strict=False):
        if not line.startswith(" "):
            assert len(following.strip()) > 5, f"{line}: not explained"


def test_an_argument_without_an_explanation_cannot_be_described() -> None:
    class Layer:
        """A layer."""

        def __init__(self, unheard_of: int) -> None: ...

    with pytest.raises(KeyError, match="unheard_of"):
        described(Layer)


@pytest.mark.parametrize("name", ["TextClassifier", "Forecaster"])
def test_the_signature_of_an_estimator_names_options_and_defaults_alone(name: str) -> None:
    shown = str(inspect.signature(getattr(tg, name)))
    assert shown.startswith("(*, optimizer='adamw', learning_rate=")
    assert "->" not in shown
