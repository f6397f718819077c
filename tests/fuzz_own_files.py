"""A program that damages files of tidegate's own behind their digest, reads them and uses them.

``python fuzz_own_files.py FOLDER EXAMPLES SEED`` ends with 0 unless something other than a clear
refusal came of it.  A program of its own, since memory that is corrupted ends a process.
"""

from __future__ import annotations

import copy
import json
import random
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tiny_objective import TinyObjective

import tidegate as tg
from tidegate.data.series.series import Series
from tidegate.errors import InputError
from tidegate.model.container import pack, unpack
from tidegate.tasks import load
from tidegate.training.loop import fit
from tidegate.training.objective import TrainingError
from tidegate.training.options import LEARNING_RATES, TrainingOptions

JUNK: list[Any] = [
    None, True, False, -1, 0, 1, 2, 3, 7, 2**31, 2**53, 10**18, -0.5, 0.5, 1e300, 1e-300,
    float("nan"), float("inf"), "", "tensor", "x" * 300, "\x1b[31m", "1970", "NaT", "999999999999",
    "adam", "char", "é̂", [], [[]], [0], ["a", "a"], [1e300], {}, {"a": 1}, {"list": []},
]  # fmt: skip
SMALL: dict[str, Any] = {"max_steps": 2, "verbose": 0, "hidden_sizes": (3,)}
TEXTS = ["a good film", "a bad film", "good", "bad, bad"] * 5
CLASSES = ["good", "bad"] * 10
BOOK = "the cat sat on the mat\n" * 40

Use = Callable[[Path], object]


def series() -> Series:
    t = np.arange(80)
    values = np.stack([np.sin(t), np.cos(t)], 1)
    return Series.of(np.datetime64("2024-01-01T00") + t * np.timedelta64(1, "h"), values)


def sequences() -> list[np.ndarray]:
    return [np.linspace(0, i, 12)[:, None] for i in range(1, 21)]


def models(folder: Path) -> list[tuple[Path, Use]]:
    """Small trained models of every task, and how each is used."""
    sized = {**SMALL, "embedding_size": 3}
    numbers = np.arange(20.0)
    makers: list[tuple[Any, tuple[Any, ...], Callable[[Any], object]]] = [
        (tg.TextClassifier(**sized), (TEXTS, CLASSES), lambda m: m.predict(["good", "", "?"])),
        (
            tg.TextClassifier(**sized, level="bpe", vocabulary_size=270),
            (TEXTS, CLASSES),
            lambda m: m.predict(["good", "", "?"]),
        ),
        (
            tg.TextClassifier(**sized),
            (TEXTS, [[label, "any"] for label in CLASSES]),
            lambda m: m.predict(["good", "", "?"]),
        ),
        (tg.TextRegressor(**sized), (TEXTS, numbers), lambda m: m.predict(["good", "", "?"])),
        (tg.LanguageModel(**sized, bptt=5), (BOOK,), lambda m: list(m.generate("t", 5, seed=0))),
        (
            tg.LanguageModel(**sized, bptt=5, level="word"),
            (BOOK,),
            lambda m: list(m.generate("the", 5, seed=0)),
        ),
        (
            tg.Forecaster(**SMALL, horizon=3, context=12),
            (series(),),
            lambda m: (m.forecast(series()), m.evaluate(series())),
        ),
        (
            tg.SequenceClassifier(**SMALL, batch_norm=True),
            (sequences(), CLASSES),
            lambda m: m.predict(sequences()),
        ),
        (tg.SequenceRegressor(**SMALL), (sequences(), numbers), lambda m: m.predict(sequences())),
        (
            tg.SequenceTagger(**SMALL, embedding_size=3, letter_hidden_size=3, crf=True),
            ([["a", "cat"]] * 20, [["B-D", "O"]] * 20),
            lambda m: m.predict([["a", "dog"], [], ["\u00fc" * 40]]),
        ),
    ]
    made = []
    for i, (model, data, use) in enumerate(makers):
        path = folder / f"{i}.safetensors"
        model.fit(*data).save(path)
        made.append((path, lambda path, use=use: use(load(path))))
    return made


def states(folder: Path) -> list[tuple[Path, Use]]:
    """Training states of every optimiser, and how a run goes on with each."""
    made = []
    for name in LEARNING_RATES:
        options = {"optimizer": name, "average": 0.9, "evaluate_every": 2, "verbose": 0}
        kept = folder / name
        fit(TinyObjective(), TrainingOptions(**options, max_steps=4, run_folder=kept))

        def go_on(path: Path, options: Any = options) -> None:
            (path.parent / "metrics.csv").unlink(missing_ok=True)
            again = TrainingOptions(**options, max_steps=6, run_folder=path.parent, resume=True)
            fit(TinyObjective(), again)

        made.append((kept / "state.safetensors", go_on))
    return made


def damaged(tensors: dict[str, np.ndarray], text: str, draw: random.Random) -> bytes:
    """The bytes of the file with one to three changes, and with their digest."""
    tensors, values = dict(tensors), json.loads(text)
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        if draw.random() < 0.5 and tensors:
            _damage_tensor(tensors, draw)
        else:
            _damage_value(values, draw)
    return pack(tensors, json.dumps(values))


def _damage_tensor(tensors: dict[str, np.ndarray], draw: random.Random) -> None:
    one, other = draw.choice(sorted(tensors)), draw.choice(sorted(tensors))
    array = tensors[one]
    changes: list[Callable[[], Any]] = [
        lambda: tensors.update({one: tensors[other], other: array}),
        lambda: tensors.update({one: tensors[other]}),
        lambda: tensors.pop(one),
        lambda: tensors.update({one + "x": array}),
        lambda: tensors.update({one: array.T.copy()}),
        lambda: tensors.update({one: array.ravel()}),
        lambda: tensors.update({one: array[None]}),
        lambda: tensors.update({one: array.ravel()[: array.size // 2]}),
        lambda: tensors.update({one: np.resize(array, (*array.shape[:-1], 97))}),
        lambda: tensors.update({one: np.zeros((0, *array.shape[1:]), array.dtype)}),
    ]
    for dtype in (np.float32, np.float64, np.int32, np.int64):
        changes.append(lambda dtype=dtype: tensors.update({one: array.astype(dtype)}))
    for value in (np.nan, np.inf, -1, 0, 3e38, -(2**31), 2**62):
        changes.append(lambda value=value: tensors.update({one: _one_set(array, value, draw)}))
    draw.choice(changes)()


def _one_set(array: np.ndarray, value: float, draw: random.Random) -> np.ndarray:
    changed = array.copy()
    if changed.size:
        at = draw.randrange(changed.size)
        changed.reshape(-1)[at : at + 1] = np.array([value]).astype(changed.dtype)
    return changed


def _damage_value(values: Any, draw: random.Random) -> None:
    """Change what stands at a random place of nested lists and objects."""
    at = values
    while True:
        keys = list(at) if isinstance(at, dict) else range(len(at))
        if not keys:
            return
        key = draw.choice(list(keys))
        if isinstance(at[key], dict | list) and at[key] and draw.random() < 0.9:
            at = at[key]
            continue
        junk = copy.deepcopy(draw.choice(JUNK))
        what = draw.random()
        if what < 0.1:
            del at[key]
        elif what < 0.2 and isinstance(at, dict):
            at[draw.choice(["more", *keys])] = junk
        elif what < 0.3 and isinstance(at, list):
            at.insert(key, junk if draw.random() < 0.5 else at[key])
        elif what < 0.4 and type(at[key]) in (int, float):
            at[key] = at[key] * draw.choice((-1, 2, 10, 0.5)) + draw.choice((0, 1))
        else:
            at[key] = junk
        return


def main() -> int:
    folder, examples, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    warnings.simplefilter("error")  # a warning in use is a failure, too
    torch.set_num_threads(1)
    draw = random.Random(seed)
    files = [(*unpack(path, lambda *_: None, ""), path, use) for path, use in
             [*models(folder), *states(folder)]]  # fmt: skip
    used = refused = 0
    for i in range(examples):
        tensors, text, path, use = files[i % len(files)]
        try:
            with np.errstate(all="ignore"):
                data = damaged(tensors, text, draw)
        except ValueError:  # such a file cannot be written
            continue
        path.write_bytes(data)
        try:
            use(path)
            used += 1
        except (InputError, TrainingError) as e:
            refused += 1
            if len(str(e)) > 1000 or not str(e).isprintable():
                print(f"example {i} of seed {seed}: no line for people: {e}", file=sys.stderr)
                return 1
        except BaseException:
            traceback.print_exc()
            print(f"example {i} of seed {seed}: {path}", file=sys.stderr)
            return 1
    print(f"{used} used, {refused} refused")
    return 0 if min(used, refused) > examples // 100 else 2


if __name__ == "__main__":
    sys.exit(main())
