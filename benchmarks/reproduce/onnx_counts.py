"""A language model with counts as ONNX files: their sizes, and the time that a token takes.

    python benchmarks/reproduce/onnx_counts.py DATA

Models of words of the default sizes: Penn Treebank, of 10,000 words, and War and Peace in Russian,
of which the 33,000 most frequent are known.  N-grams are counted as a training counts them; weights
and shares are random, since size and time do not depend on them.  One stream reads the validation
text token by token, on one thread: by tidegate's stream, and by ONNX Runtime with the file of one
step, with counts and without.  ONNX Runtime also reads 100 tokens at once by the file of whole
texts.  They take turns of some calls each.  Microseconds are processor time a token, in which the
time that others had the processor is left out: the median, the least and the greatest are kept, and
the least is shown, since busy neighbours make it no better.
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
from two_engines import processor_seconds

import tidegate as tg
from tidegate.bench.timing import in_turns
from tidegate.data.text.ngrams import KneserNey
from tidegate.data.text.reading import read_text, train_encoder
from tidegate.model.architecture import Architecture
from tidegate.runtime.mixture import Mixture
from tidegate.runtime.network import Network
from tidegate.tasks.splitting import split_text

KNOWN = 33_000
UNITS, MOST_NGRAMS, LONGEST = 200, 1 << 20, 5  # as a training of words has them
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


def language_model(train: str, validation: str, known: int | None) -> Any:
    model: Any = tg.LanguageModel(level="word")
    model.encoder_ = encoder = train_encoder(train, "word", known, sentences=True)
    tokens = [encoder.encode(text) for text in (train, validation)]
    counted = KneserNey.fit(tokens[0], tokens[1], encoder.size, encoder.start_id, LONGEST)
    counted = counted.pruned(MOST_NGRAMS)
    rng = np.random.default_rng(0)
    shares = 0.1 * rng.standard_normal((3, counted.width + 1))
    model.counts_ = Mixture(counted, shares.astype(np.float32))
    architecture = Architecture(
        cell="gru", vocabulary_size=encoder.size, input_size=None, embedding_size=UNITS,
        hidden_sizes=(UNITS,), bidirectional=False, readout="every", output_size=encoder.size,
        batch_norm=False, embedding_dropout=0.0, dropout=0.0, recurrent_dropout=0.0,
        tie_embeddings=True,
    )  # fmt: skip
    shapes = architecture.tensor_shapes().items()
    tensors = {n: (rng.standard_normal(s) / UNITS**0.5).astype(np.float32) for n, s in shapes}
    model.runtime_ = Network(architecture, tensors)
    return model


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
        name: partial(processor_seconds, partial(_next, feed, iter(np.tile(tokens, 100).tolist())))
        for name, feed in feeds.items()
    }
    some = {
        "tokens": tokens[None, :AT_ONCE].astype(np.int32),
        "sequence_lens": np.array([AT_ONCE], np.int32),
    }
    for name, path in paths.items():
        calls[f"whole, {name}"] = partial(
            processor_seconds, partial(opened(path).run, ["output"], some)
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
    parser.add_argument("--only", help="this text alone")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    record = Record("onnx_counts", ("text",), {"onnxruntime": onnxruntime.__version__})
    for name, (train, validation, known) in texts(arguments.data).items():
        if arguments.only not in (None, name):
            continue
        model = language_model(train, validation, known)
        with tempfile.TemporaryDirectory() as folder:
            tokens = model.encoder_.encode(validation)
            figures = measured(model, Path(folder), tokens, arguments.turns)
        sizes = {"vocabulary": model.encoder_.size, "ngrams": model.counts_.ngrams.ngrams}
        record.add({"text": name, **sizes, **figures})
    print("\n" + markdown(record.rows, COLUMNS))


if __name__ == "__main__":
    main()
