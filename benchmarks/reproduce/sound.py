"""Sound as a text of mu-law samples: how well it is predicted, and how fast it is written.

    python benchmarks/reproduce/sound.py
    python benchmarks/reproduce/sound.py --units 384 --minutes 10

Vowels by formants at 8 kHz, a pulse of 100 to 220 Hz through three resonances that glide from vowel
to vowel (Peterson & Barney 1952, table II, men), or with --espeak spoken numbers by espeak-ng.  A
language model of characters learns from 40 s, of which the end chooses the weights; 5 others are
asked.  Beside its bits a sample stand those of counted n-grams of samples, of up to nine.  Then a
process without torch writes a second from the model's file, and says how long that took.

Rows go to benchmarks/results/sound.json.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from math import log
from pathlib import Path
from typing import Any

import numpy as np
from record import Clock, Record, Row, markdown

import tidegate as tg
from tidegate.data.text.sound import Sound, read_wav

RATE, LEARNED, ASKED = 8000, 40, 5  # samples a second, seconds
VOWELS = np.array(
    [
        [270, 2290, 3010], [530, 1840, 2480], [660, 1720, 2410], [730, 1090, 2440],
        [570, 840, 2410], [300, 870, 2240],
    ]
)  # fmt: skip
WIDTHS = (60.0, 90.0, 120.0)  # Hz, of the resonances

WRITE = """
import sys, time
sys.modules["torch"] = None
import tidegate
model = tidegate.load(sys.argv[1])
"".join(model.generate("", 200, seed=0))
began = time.perf_counter()
written = "".join(model.generate("", 8000, seed=1))
print(time.perf_counter() - began)
"""


def vowels(seconds: float, rng: np.random.Generator) -> np.ndarray:
    """Samples of gliding vowels, int16 [T]."""
    count, every = int(seconds * RATE), RATE // 4
    marks = np.arange(0, count + every, every)
    at = np.arange(count)
    formants = np.stack(
        [np.interp(at, marks, f) for f in VOWELS[rng.integers(len(VOWELS), size=len(marks))].T]
    )
    pitch = np.interp(at, marks, rng.uniform(100, 220, len(marks)))
    phase = np.cumsum(pitch / RATE)
    signal = np.diff(np.floor(phase), prepend=0.0) + 0.01 * rng.standard_normal(count)
    for centres, width in zip(formants, WIDTHS, strict=True):
        radius = np.exp(-np.pi * width / RATE)
        first, second = 2 * radius * np.cos(2 * np.pi * centres / RATE), -(radius**2)
        out = np.zeros(count)
        for t in range(count):
            out[t] = signal[t] + first[t] * out[t - 1] + second * out[t - 2]
        signal = out
    return (signal / np.abs(signal).max() * 20_000).astype(np.int16)


def spoken(seconds: float, rng: np.random.Generator) -> np.ndarray:
    """Numbers that espeak-ng speaks, int16 [T], by its own rate of 22,050 brought to 8 kHz."""
    words = " ".join(map(str, rng.integers(0, 1000, int(seconds))))
    command = ["espeak-ng", "-s", "150", "--stdout", words]
    data = subprocess.run(command, capture_output=True, check=True).stdout
    samples = np.frombuffer(data[44:], "<i2").astype(float)
    smooth = np.convolve(samples, np.hanning(7) / np.hanning(7).sum(), "same")
    at = np.arange(int(seconds * RATE)) * 22_050 / RATE
    return np.interp(at, np.arange(len(smooth)), smooth).astype(np.int16)


def heard(samples: np.ndarray, folder: Path) -> Sound:
    """The samples in mu-law, as a file gives them."""
    import wave

    path = folder / "heard.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(samples.astype("<i2").tobytes())
    return read_wav(path)


def measure(units: int, minutes: float, seed: int, *, espeak: bool) -> Row:
    source = spoken if espeak else vowels
    samples = source(LEARNED + ASKED, np.random.default_rng(0))
    options = {"hidden_sizes": (units,), "embedding_size": 32, "max_minutes": minutes}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        known, asked = (heard(part, folder) for part in np.split(samples, [LEARNED * RATE]))
        model, clock = tg.LanguageModel(seed=seed, verbose=0, **options), Clock()
        model.fit(known)
        row: Row = {"sound": source.__name__, "units": units, "seed": seed, "options": options}
        row |= clock.read() | {"steps": model.provenance_["steps"]}
        row["bits"] = model.evaluate(asked)["cross_entropy"] / log(2)
        row["validation_bits"] = model.metrics_["cross_entropy"] / log(2)
        row["ngram_validation_bits"] = model.metrics_["baseline_cross_entropy"] / log(2)
        model.save(folder / "m.safetensors")
        command = [sys.executable, "-c", WRITE, str(folder / "m.safetensors")]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        row["seconds_for_one"] = round(json.loads(told), 3)
    return row


COLUMNS: dict[str, Callable[[Row], Any]] = {
    "sound": lambda row: row["sound"],
    "units": lambda row: row["units"],
    "minutes": lambda row: row["options"]["max_minutes"],
    "bits a sample of the 5 s": lambda row: f"**{row['bits']:.3f}**",
    "of the validation part": lambda row: f"{row['validation_bits']:.3f}",
    "n-grams there": lambda row: f"{row['ngram_validation_bits']:.3f}",
    "seconds to write one": lambda row: f"**{row['seconds_for_one']:.2f}**",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--units", type=int, default=128)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--espeak", action="store_true")
    given = parser.parse_args()
    record = Record("sound", ("sound", "units", "seed"))
    record.add(measure(given.units, given.minutes, given.seed, espeak=given.espeak))
    print(markdown(record.rows, COLUMNS))


if __name__ == "__main__":
    main()
