"""Builds a wheel for Linux of this tree's sources, and tries it where there is no compiler.

    python .ci/wheel.py [PYTHON ...]

`make wheel` runs it.  The wheel stands in dist/ afterwards, beside the archive of sources it was
built of.  tests/installed.py says what must hold: in a fresh environment of this interpreter and of
each other PYTHON, with what pip installs beside the wheel and nothing else; then in that of this
interpreter with the torch that it has.

The last line is a JSON object: megabytes, megabytes_unpacked; seconds and cpu_seconds of the
build; tag; pythons, how many it was tried on.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from typing import Any

TREE = Path(__file__).parents[1]
BUILD, DIST = TREE / "build" / "wheel", TREE / "dist"
COMPILERS = ("cc", "c++", "gcc", "g++", "clang", "cmake", "ninja", "make")


def run(*line: str | Path, **more: Any) -> str:
    """What the command prints; its errors are shown, and end this one."""
    done = subprocess.run(list(map(str, line)), stdout=subprocess.PIPE, text=True, **more)
    if done.returncode:
        raise SystemExit(f"{done.stdout}\nfailed ({done.returncode}): {' '.join(map(str, line))}")
    return done.stdout


def archived() -> Path:
    """The sources in dist/, as they are published."""
    for old in DIST.glob("tidegate-*"):
        old.unlink()
    hook = "import sys, scikit_build_core.build as b; b.build_sdist(sys.argv[1])"
    run(sys.executable, "-c", hook, DIST, cwd=TREE)
    (archive,) = DIST.glob("tidegate-*.tar.gz")
    return archive


def build(archive: Path) -> tuple[Path, dict[str, float]]:
    """A wheel of fresh objects, as the compiler left it; seconds on the wall and of processor."""
    shutil.rmtree(BUILD, ignore_errors=True)
    begin, before = time.perf_counter(), getrusage(RUSAGE_CHILDREN)
    run(
        sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "wheel", "--no-deps",
        "--no-build-isolation", f"--config-settings=build-dir={BUILD / 'objects'}",
        "--wheel-dir", BUILD, archive,
    )  # fmt: skip
    seconds, after = time.perf_counter() - begin, getrusage(RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    (built,) = BUILD.glob("tidegate-*.whl")
    return built, {"seconds": round(seconds, 1), "cpu_seconds": round(cpu, 1)}


def repaired(built: Path) -> Path:
    """The wheel in dist/, with the tag of the oldest systems whose libraries are enough for it."""
    run("auditwheel", "repair", "--wheel-dir", DIST, built, stderr=subprocess.STDOUT)
    (wheel,) = DIST.glob("tidegate-*.whl")
    print(run("auditwheel", "show", wheel).strip())
    return wheel


def bare(environment: Path) -> dict[str, str]:
    """The variables of a user who has this environment and no compiler."""
    path = str(environment / "bin")
    if found := [name for name in COMPILERS if shutil.which(name, path=path)]:
        raise SystemExit(f"expected an environment without compilers, got {', '.join(found)}")
    return {"PATH": path, "HOME": str(environment), "LANG": "C.UTF-8"}


def tried(wheel: Path, python: str, folder: Path, *, torch: bool) -> None:
    """The wheel in a fresh environment of this interpreter; ``torch``: then with ours, too."""
    environment = folder / "environment"
    run(python, "-m", "venv", environment)
    own, variables = environment / "bin" / "python", bare(environment)
    pip = [own, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    # how to reach the packages is the machine's own affair
    reach = {n: v for n, v in os.environ.items() if n.startswith("PIP_") or "proxy" in n.lower()}
    exact = ["--constraint", TREE / "constraints.txt"] if python == sys.executable else []
    run(*pip, "install", "--only-binary", ":all:", *exact, wheel, env=variables | reach)
    print(f"beside pip: {', '.join(sorted(packages(own, variables) - {'pip', 'setuptools'}))}")
    check = [own, "-I", TREE / "tests" / "installed.py"]
    print(run(*check, env=variables, cwd=folder).strip())
    if torch:
        (site,) = environment.glob("lib/python*/site-packages")
        # below the environment's own, and without what .pth files there would do
        (site / "torch.pth").write_text(sysconfig.get_path("purelib") + "\n")
        print(run(*check, "--torch", env=variables, cwd=folder).strip())


def packages(python: Path, variables: dict[str, str]) -> set[str]:
    """Names of what is installed there."""
    code = "import importlib.metadata as m; print(*(d.name for d in m.distributions()))"
    return set(run(python, "-I", "-c", code, env=variables).split())


def main(others: Sequence[str]) -> None:
    """What this file's docstring says."""
    built, figures = build(archived())
    wheel = repaired(built)
    with tempfile.TemporaryDirectory() as name:
        for place, python in enumerate((sys.executable, *others)):  # some have the same name
            found = shutil.which(python)
            if found is None:
                raise SystemExit(f"expected an interpreter, got {python}, which is not here")
            tried(wheel, found, Path(name) / str(place), torch=place == 0)
    with zipfile.ZipFile(wheel) as archive:
        unpacked = sum(file.file_size for file in archive.infolist())
    sizes = {"megabytes": wheel.stat().st_size, "megabytes_unpacked": unpacked}
    print(
        json.dumps(
            {name: round(size / 1e6, 2) for name, size in sizes.items()}
            | figures
            | {"tag": wheel.stem.split("-", 2)[2], "pythons": 1 + len(others)}
        )
    )


if __name__ == "__main__":
    main(sys.argv[1:])
