"""Values of options as a line that a shell takes again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from tidegate.data.source import as_list
from tidegate.errors import spelled, written
from tidegate.terminal import quoted


def typed_ones(values: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the options' values that were given on the line."""
    context = click.get_current_context()
    return {
        name: value
        for name, value in values.items()
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    }


def as_typed(name: str, value: Any) -> str:
    """An option as a shell takes it."""
    if isinstance(value, bool):
        return spelled(name, value)
    if value is None:
        return f"{spelled(name)} none"
    if isinstance(value, tuple | list) and all(isinstance(one, str) for one in value):
        return f"{spelled(name)} {quoted(as_list(value))}"
    if isinstance(value, str | Path):
        text = str(value)
        return f"{spelled(name)}={quoted(text)}" if text[:1] == "-" else spelled(name, text)
    if isinstance(value, tuple | list):
        return f"{spelled(name)} {quoted(','.join(str(one) for one in value))}"
    return f"{spelled(name)} {written(value)}"
