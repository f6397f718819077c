"""What a language model of sound goes on with, as a file."""

from __future__ import annotations

from collections.abc import Iterable
from os import PathLike
from pathlib import Path
from typing import Any

from tidegate.data.text.sound import is_sound_file, read_wav, wav_bytes
from tidegate.errors import InputError
from tidegate.output.places import check_output, never_ours
from tidegate.output.writing import write_atomically

RATE = "sample_rate"  # in the provenance of a model of sound: samples a second


def is_sound(fitted: Any) -> bool:
    """Whether a language model was trained on sound."""
    return RATE in fitted.provenance_


def prompt_of(fitted: Any, prompt: str) -> str:
    """What to begin with: the sound in a file, for a model of sound, else the text itself."""
    return read_wav(prompt) if is_sound(fitted) and is_sound_file(prompt) else prompt


def check_sound_path(
    path: str | PathLike[str],
    fitted: Any,
    *,
    inputs: Iterable[str | PathLike[str]] = (),
    force: bool = False,
) -> None:
    """Raise InputError unless what ``fitted`` writes can go to a file of that name."""
    if not is_sound(fitted):
        problem = f"expected none for a {fitted.TASK} of text, got {path}"
        raise InputError(f"{problem}; leave it out", option="output")
    if Path(path).suffix.lower() != ".wav":
        ending = Path(path).suffix
        raise InputError(f"expected a name that ends in .wav, got {ending!r}; rename it", file=path)
    check_output(path, inputs=inputs, force=force, ours=never_ours)


def write_sound(path: str | PathLike[str], sound: str, fitted: Any) -> None:
    """Write a text of samples, at the rate of the model's training."""
    write_atomically(path, wav_bytes(sound, fitted.provenance_[RATE]))
