"""A language model with counts as ONNX files: their sizes, and the time that a token takes.

    python benchmarks/reproduce/onnx_counts.py DATA

Models of words with the defaults: Penn Treebank, of 10,000 words, and War and Peace in Russian, of
which the 33,000 most frequent are known.  They are trained for one step, since size and time do not
depend on what the network has learned; all n-grams are counted.  One stream reads the validation
text token by token, on one thread: by tidegate's stream, and by ONNX Runtime with the file of one
step, with counts and without.  ONNX Runtime also reads 100 tokens at once by the file of whole
texts.  They take turns of some calls each; of microseconds a token the median, the least and the
greatest are kept, and the least is shown, which a busy neighbour spoils least.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime  # pyright: ignore[reportMissingImports]
import torch
from language_models import penn_treebank
from record import Record, markdown

import tidegate as tg
from tidegate.bench.timing import in_turns, seconds_per_call
from tidegate.data.text.reading import read_text
from tidegate.tasks.splitting import split_text

KNOWN = 33_000
AT_ONCE = 100  # tokens that the file of whole texts reads
TURNS, SHORTEST = 60, 0.02  # seconds
AGREE = 1e-4  # of the logarithm of a probability


def texts(data: Path) -> dict[str, tuple[str, str, int | None]]:
    """Training and validation text and how many words are known, by name."""
    train, validation, _ = penn_treebank(data)
    book = read_text(data / "warpeace" / "voyna_i_mir_t1-3_ru.txt.gz")
    parts = split_text(
        book, None, 0, validation_fraction=0.05, test_fraction=0.0, between_lines=True
    )
    return {
        "penn treebank": (train, validation, None),
        "war and peace, russian": (parts[0], parts[1], KNOWN),
    }


def opened(path: Path) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def stepwise(path: Path) -> Callable[[int], np.ndarray]:
    """Reads a token with the states before it, and gives the logits of the next one."""
    session = opened(path)
    names = [one.name for one in session.get_outputs()]
    state = {i.name: np.zeros((1, i.shape[1]), np.float32) for i in session.get_inputs()[1:]}

    def feed(token: int) -> np.ndarray:
        nonlocal state
        made = session.run(None, state | {"tokens": np.array([token], np.int32)})
        answers = dict(zip(names, made, strict=True))
        state = {name: answers[f"{name}_out"] for name in state}
        return answers["output"][0]

    return feed


def ours(model: Any) -> Callable[[int], np.ndarray]:
    stream = model.stream()
    return lambda token: stream.feed([token]).log_probabilities


def measured(model: Any, folder: Path, tokens: np.ndarray, turns: int) -> dict[str, Any]:
    """Sizes of files in MB and spreads of microseconds a token."""
    paths: dict[str, Path] = {}
    for name, counts in (("with counts", True), ("network alone", False)):
        paths[name], step = (folder / f"{name}{end}.onnx" for end in ("", " step"))
        model.export_onnx(paths[name], step=step, counts=counts)
    megabytes = {name: round(path.stat().st_size / 1e6, 1) for name, path in paths.items()}
    feeds = {"tidegate": ours(model)} | {
        f"step, {name}": stepwise(folder / f"{name} step.onnx") for name in paths
    }
    answers = [[feed(int(token)) for feed in feeds.values()] for token in tokens[:20]]
    apart = float(np.abs(answers[-1][0] - answers[-1][1]).max())
    if not apart <= AGREE:
        raise SystemExit(f"expected the same answers, got a difference of {apart:.2g}")
    calls: dict[str, Any] = {
        name: partial(seconds_per_call, partial(_next, feed, iter(np.tile(tokens, 100).tolist())))
        for name, feed in feeds.items()
    }
    some = {
        "tokens": tokens[None, :AT_ONCE].astype(np.int32),
        "sequence_lens": np.array([AT_ONCE], np.int32),
    }
    for name, path in paths.items():
        calls[f"whole, {name}"] = partial(
            seconds_per_call, partial(opened(path).run, ["output"], some)
        )
    spreads, _ = in_turns(calls, turns=turns, shortest=SHORTEST)
    each = {name: AT_ONCE if name.startswith("whole") else 1 for name in spreads}
    return {
        "megabytes": megabytes,
        "microseconds": {
            name: [round(s / each[name] * 1e6) for s in spread] for name, spread in spreads.items()
        },
    }


def _next(feed: Callable[[int], np.ndarray], tokens: Any) -> None:
    feed(next(tokens))


COLUMNS: dict[str, Any] = {
    "words": lambda r: f"{r['vocabulary']:,}",
    "n-grams": lambda r: f"{r['ngrams']:,}",
    "MB": lambda r: r["megabytes"]["with counts"],
    "MB, network alone": lambda r: r["megabytes"]["network alone"],
    "µs a token": lambda r: r["microseconds"]["step, with counts"][1],
    "µs, network alone": lambda r: r["microseconds"]["step, network alone"][1],
    "µs of `model.stream`": lambda r: r["microseconds"]["tidegate"][1],
    "µs a token of 100 at once": lambda r: r["microseconds"]["whole, with counts"][1],
    "µs of these, network alone": lambda r: r["microseconds"]["whole, network alone"][1],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path, help="folder with ptb/ and warpeace/")
    parser.add_argument("--turns", type=int, default=TURNS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    record = Record("onnx_counts", ("text",), {"onnxruntime": onnxruntime.__version__})
    for name, (train, validation, known) in texts(arguments.data).items():
        model: Any = tg.LanguageModel(
            level="word", vocabulary_size=known, max_steps=1, refit=False, verbose=0
        ).fit(train, validation=validation)
        with tempfile.TemporaryDirectory() as folder:
            tokens = model.encoder_.encode(validation)
            figures = measured(model, Path(folder), tokens, arguments.turns)
        sizes = {"vocabulary": model.encoder_.size, "ngrams": model.counts_.ngrams.ngrams}
        record.add({"text": name, **sizes, **figures})
    print("\n" + markdown(record.rows, COLUMNS))


if __name__ == "__main__":
    main()
