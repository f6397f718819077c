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


def printed(code: str) -> str:
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return run.stdout


def test_modules_that_the_guide_names_need_no_import_of_their_own() -> None:
    code = "import sys, tidegate; tidegate.onnx.translation_table; tidegate.interchange.read"
    assert printed(code + "; print({'torch', 'onnx', 'keras'} & set(sys.modules))") == "set()\n"


def test_a_layer_without_torch_says_what_to_install() -> None:
    code = "import sys; sys.modules['torch'] = None\nimport tidegate\ntry: tidegate.GRU"
    assert "install 'tidegate[train]'" in printed(code + "\nexcept ImportError as e: print(e)")


def test_keras_without_what_it_runs_on_says_how_to_choose_torch() -> None:
    pytest.importorskip("keras")
    code = "import os, sys; os.environ['KERAS_BACKEND'] = 'jax'; sys.modules['jax'] = None\n"
    told = printed(code + "try: import tidegate.keras\nexcept ImportError as e: print(e)")
    assert "Keras is set to run on jax, which is not installed; set KERAS_BACKEND=torch" in told
