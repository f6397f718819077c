"""Importing tidegate costs nothing: no torch, no numpy, until a name is used."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

import tidegate

TREE = Path(__file__).resolve().parents[1]


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


@pytest.fixture(scope="module")
def pyproject() -> dict[str, Any]:
    return tomllib.loads((TREE / "pyproject.toml").read_text(encoding="utf-8"))


def test_a_wheel_is_for_every_python_that_tidegate_is_for(pyproject: dict[str, Any]) -> None:
    major, minor = re.findall(r"\d+", pyproject["project"]["requires-python"])
    oldest = f"cp{major}{minor}"
    tools = pyproject["tool"]
    assert tools["scikit-build"]["wheel"]["py-api"] == oldest
    assert tools["cibuildwheel"]["build"].split()[0] == f"{oldest}-*"
    (editable,) = tools["scikit-build"]["overrides"]
    assert editable == {"if": {"state": "editable"}, "wheel": {"py-api": ""}}  # linked, as tested


def test_what_workflows_and_the_image_name_is_there(pyproject: dict[str, Any]) -> None:
    workflows = "".join(p.read_text("utf-8") for p in (TREE / ".github/workflows").glob("*.yml"))
    targets = set(re.findall(r"^([a-z]+):", (TREE / "Makefile").read_text("utf-8"), re.MULTILINE))
    asked = set(re.findall(r"run: make (\w+)", workflows))
    assert asked == {"check", "wheel"} & targets
    ignored = (TREE / ".dockerignore").read_text("utf-8")
    kept = re.findall(r"^!(.+)$", ignored, re.MULTILINE)
    command = pyproject["tool"]["cibuildwheel"]["test-command"]
    files = re.findall(r"tests/\w+\.py", command + workflows)
    assert all((TREE / name).exists() for name in [*kept, *files]), [*kept, *files]
    assert {"pyproject.toml", pyproject["project"]["readme"], "src", "csrc"} <= set(kept)
    assert {*pyproject["project"]["license-files"], "constraints.txt"} <= set(kept)


def test_a_citation_names_this_version(pyproject: dict[str, Any]) -> None:
    cited = (TREE / "CITATION.cff").read_text("utf-8")
    assert f"\nversion: {pyproject['project']['version']}\n" in cited
    assert f"\nlicense: {pyproject['project']['license']}\n" in cited
