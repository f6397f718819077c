"""The system's C++ compiler, and what the engine's headers make of a cell's source."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from tidegate.engine import compiled

_NAMES = ("c++", "g++", "clang++")
_FLAGS = ("-std=c++17", "-O3", "-DNDEBUG", "-fPIC", "-shared", "-fvisibility=hidden")
_INSTALL = (
    "install one (Debian: apt install g++, macOS: xcode-select --install), or name it in the "
    "environment variable CXX"
)


class CannotCompileError(Exception):
    """Why a cell has no kernels: "got ...; what to do"."""


class Compiler(NamedTuple):
    """A command of one or several words, and how it names its version."""

    command: tuple[str, ...]
    version: str


def find_compiler() -> Compiler:
    """The one that CXX names, else the first of the usual names.  Raises CannotCompileError."""
    if sys.platform == "win32":
        raise CannotCompileError("got Windows; use Linux or macOS, where own cells are compiled")
    told = shlex.split(os.environ.get("CXX", ""))
    for command in [told] if told else [[name] for name in _NAMES]:
        if place := shutil.which(command[0]):
            words = (place, *command[1:])
            return Compiler(words, _version_of(words, os.stat(place).st_mtime_ns))
    problem = f"CXX names {told[0]!r:.80}, which is not there" if told else "there is no compiler"
    raise CannotCompileError(f"{problem}; {_INSTALL}")


@cache
def _version_of(command: tuple[str, ...], _: int) -> str:
    try:
        told = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as e:
        raise CannotCompileError(f"{command[0]} does not run; {_INSTALL}") from e
    return told.stdout.partition("\n")[0]


@cache
def find_headers() -> Path:
    """The folder of the headers that the engine was compiled of.  Raises CannotCompileError.

    They lie beside the compiled module, and in a working copy also in ``csrc``.
    """
    for folder in (compiled.FOLDER / "csrc", Path(__file__).parents[3] / "csrc"):
        if folder.is_dir() and _digest_of(folder) == compiled.own_cell_headers:
            return folder
    raise CannotCompileError(
        "the headers that the engine was compiled of are not there; install tidegate again"
    )


def _digest_of(folder: Path) -> str:
    """As csrc/engine.cmake makes it, of the same headers."""
    names = [f"engine/{name}.h" for name in ("cell", "inline", "kernels", "sweeps")]
    names += [f"simd/{path.name}" for path in (folder / "simd").glob("*.h")]
    files = [(name, folder / name) for name in sorted(names)]
    if not all(path.is_file() for _, path in files):
        return ""
    lines = (f"{name} {sha256(path.read_bytes()).hexdigest()}\n" for name, path in files)
    return sha256("".join(lines).encode()).hexdigest()


def flags_for(isa: str) -> tuple[str, ...]:
    """Those for a library of this instruction set.  Raises CannotCompileError where it has none."""
    own = compiled.own_cell_flags(isa)
    if not own:
        raise CannotCompileError(f"the set {isa} runs the engine's own cells alone")
    return (*_FLAGS, f"-DTIDEGATE_ISA={isa}", *own.split())


def compile_library(
    source: str, compiler: Compiler, flags: tuple[str, ...], headers: Path
) -> bytes:
    """The shared library that the compiler makes of ``source``.  Raises CannotCompileError."""
    with tempfile.TemporaryDirectory(prefix="tidegate-") as folder:
        written, made = Path(folder, "cell.cpp"), Path(folder, "cell.so")
        written.write_text(source, encoding="utf-8")
        command = [*compiler.command, *flags, f"-I{headers}", str(written), "-o", str(made)]
        try:
            run = subprocess.run(
                command, capture_output=True, text=True, errors="replace",
                env=os.environ | {"LC_ALL": "C"}, check=False,
            )  # fmt: skip
        except OSError as e:
            raise CannotCompileError(f"{compiler.command[0]}: {e.strerror}; {_INSTALL}") from e
        if run.returncode or not made.is_file():
            lines = run.stderr.splitlines() or [f"it ended with {run.returncode}"]
            told = next((line for line in lines if re.search(r"\berror\b", line)), lines[0])
            raise CannotCompileError(
                f"{compiler.command[0]} failed: {told.strip():.200}; name another compiler in the "
                "environment variable CXX"
            )
        return made.read_bytes()
