"""What prediction without torch costs: time to import, memory, size on disk, start of commands.

    python benchmarks/reproduce/without_torch.py

Builds a wheel of this tree, installs it with its dependencies, and nothing else, in a fresh virtual
environment, and there trains nothing: models with random weights, written here, are loaded and
asked.  Every figure is the best of some runs in processes of their own: seconds on the wall, and of
processor, which is what counts where neighbours are busy.  Those of imports begin when Python has
started, those of commands before it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from typing import Any

import numpy as np
from record import RESULTS, Record, markdown

import tidegate as tg

TREE = Path(__file__).parents[2]
RUNS = 10
NOT_OURS = (
    "numpy",
    "pip",
    "pkg_resources",
    "setuptools",
    "wheel",
    "_distutils_hack",
    "distutils-precedence",
    "__pycache__",
)

START = "import json, sys, time\nbegin = time.perf_counter(), time.process_time()\n"
END = """
took = time.perf_counter() - begin[0], time.process_time() - begin[1]
with open("/proc/self/status") as status:
    (line,) = (line for line in status if line.startswith("VmRSS:"))
assert "torch" not in sys.modules and "click" not in sys.modules
memory = int(line.split()[1]) / 1024
print(json.dumps({"seconds": took[0], "cpu_seconds": took[1], "megabytes": memory}))
"""
USES = {
    "import numpy": "import numpy",
    "import tidegate": "import tidegate",
    "load and predict a text": "import tidegate\n"
    "tidegate.load('classifier.safetensors').predict(['a lovely film'])",
    "load and generate": "import tidegate\n"
    "''.join(tidegate.load('language.safetensors').generate('a ', 20, seed=1))",
}


def models(folder: Path) -> None:
    """Trained for one step: what a model costs does not depend on what it has learned."""
    common: dict[str, Any] = {"max_steps": 1, "verbose": 0, "seed": 1}
    texts = ["a lovely film", "a dreadful film, not good"] * 50
    classifier = tg.TextClassifier(**common, max_length=50)
    classifier.fit(texts, ["good", "bad"] * 50)
    classifier.provenance_ |= {"text_column": "text", "label_column": "label"}  # of a table
    classifier.save(folder / "classifier.safetensors")
    language = tg.LanguageModel(**common, bptt=10)
    language.fit("a tide turns, and turns again\n" * 50).save(folder / "language.safetensors")


def fresh_environment(folder: Path) -> Path:
    """A virtual environment that holds this tree and what it needs; its folder."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    subprocess.run([*pip, "wheel", "--no-deps", "-w", folder, TREE], check=True)
    (wheel,) = folder.glob("tidegate-*.whl")
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    python = folder / "venv/bin/python"
    subprocess.run([python, "-m", "pip", "-q", "install", wheel], check=True)
    return folder / "venv"


def sizes(environment: Path) -> dict[str, float]:
    """Megabytes of each package beside numpy, compiled Python files included."""
    (packages,) = environment.glob("lib/python*/site-packages")
    found: dict[str, float] = {}
    for entry in packages.iterdir():
        if entry.name.startswith(NOT_OURS):
            continue
        name = entry.name.partition("-")[0].partition(".")[0]
        files = [entry] if entry.is_file() else [f for f in entry.rglob("*") if f.is_file()]
        found[name] = found.get(name, 0.0) + sum(f.stat().st_size for f in files) / 1e6
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def used(python: Path, code: str, folder: Path) -> dict[str, float]:
    """The least time and memory that the code takes in a process of its own."""
    runs = [
        json.loads(
            subprocess.run(
                [python, "-c", START + code + END],
                cwd=folder, capture_output=True, text=True, check=True,
            ).stdout
        )
        for _ in range(RUNS)
    ]  # fmt: skip
    return {key: min(run[key] for run in runs) for key in runs[0]}


def command(environment: Path, *arguments: str) -> dict[str, float]:
    """The least time of a command of tidegate, from its start to its end."""
    line, runs = [environment / "bin/tidegate", *arguments], []
    for _ in range(RUNS):
        begin, before = time.perf_counter(), getrusage(RUSAGE_CHILDREN)
        subprocess.run(line, check=True, stdout=subprocess.DEVNULL)
        seconds, after = time.perf_counter() - begin, getrusage(RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        runs.append((seconds, cpu))
    seconds, cpu = (min(column) for column in zip(*runs, strict=True))
    return {"seconds": seconds, "cpu_seconds": cpu}


COLUMNS: dict[str, Any] = {
    "what": lambda r: r["what"],
    "seconds": lambda r: r.get("seconds", ""),
    "of processor": lambda r: r.get("cpu_seconds", ""),
    "MB": lambda r: r.get("megabytes", ""),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--environment", type=Path, help="a virtual environment with a wheel of this tree"
    )
    given = parser.parse_args().environment
    # whole, since packages of an earlier one may be needed no more
    (RESULTS / "without_torch.json").unlink(missing_ok=True)
    record = Record("without_torch", ("what",))

    def add(what: str, **figures: float) -> None:
        rounded = {name: round(float(np.float64(f)), 3) for name, f in figures.items()}
        record.add({"what": what, **rounded})

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        models(folder)
        environment = (given or fresh_environment(folder)).absolute()
        for what, code in USES.items():
            add(what, **used(environment / "bin/python", code, folder))
        add("tidegate --help", **command(environment, "--help"))
        text = folder / "texts.txt"
        text.write_text("a lovely film\n")
        model = str(folder / "classifier.safetensors")
        add("tidegate predict", **command(environment, "predict", model, str(text)))
        add("tidegate info", **command(environment, "info", model))
        by_package = sizes(environment)
        add("installed beside numpy", megabytes=sum(by_package.values()))
        for package, megabytes in by_package.items():
            add(f"of it {package}", megabytes=megabytes)
    print("\n" + markdown(record.rows, COLUMNS))


if __name__ == "__main__":
    main()
