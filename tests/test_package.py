"""Importing tidegate costs nothing: no torch, no numpy, until a name is used."""

from __future__ import annotations

import subprocess
import sys

import pytest

import tidegate


def test_import_loads_neither_torch_nor_numpy() -> None:
    code = "import sys, tidegate; print({'torch', 'numpy'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"


def test_public_names_are_listed_and_others_refused() -> None:
    assert set(tidegate.__all__) <= set(dir(tidegate))
    with pytest.raises(AttributeError, match="no attribute 'Perceptron'"):
        _ = tidegate.Perceptron  # pyright: ignore[reportAttributeAccessIssue]
