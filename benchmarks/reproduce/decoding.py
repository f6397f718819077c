"""Characters a second that a language model of one GRU of 384 units writes, without torch.

    python benchmarks/reproduce/decoding.py

``LanguageModel.generate`` on one thread, from 84 characters, with random weights: a step takes as
long whatever was learned.  Drawn from the whole softmax, from the ten likeliest, or the likeliest.
The figure is the median of the turns, with the least and the greatest beside it.  The physical
limit is the time in which one core reads the recurrent weights, which every character needs.
"""

from __future__ import annotations

import string
import sys
import time
from typing import Any

import numpy as np
from record import Record, markdown

import tidegate as tg
from tidegate.data.text.encoders import CharEncoder
from tidegate.model.architecture import Architecture
from tidegate.runtime.network import Network

UNITS, EMBEDDING, LENGTH, TURNS = 384, 128, 4000, 15
CHOICES: dict[str, dict[str, Any]] = {
    "drawn": {},
    "drawn from the ten likeliest": {"top_k": 10},
    "the likeliest": {"greedy": True},
}


def model() -> tg.LanguageModel:
    encoder = CharEncoder("".join(sorted(string.printable[:84])))
    architecture = Architecture(
        cell="gru", vocabulary_size=encoder.size, input_size=None, embedding_size=EMBEDDING,
        hidden_sizes=(UNITS,), bidirectional=False, readout="every", output_size=encoder.size,
        batch_norm=False, embedding_dropout=0.0, dropout=0.0, recurrent_dropout=0.0,
    )  # fmt: skip
    rng = np.random.default_rng(0)
    shapes = architecture.tensor_shapes().items()
    tensors = {n: (rng.standard_normal(s) / UNITS**0.5).astype(np.float32) for n, s in shapes}
    made = tg.LanguageModel(hidden_sizes=(UNITS,))
    made.encoder_, made.runtime_ = encoder, Network(architecture, tensors)
    return made


def seconds_to_read(megabytes: float) -> float:
    """The least time in which one core sums so many megabytes of float32, read again and again."""
    weights = np.ones(int(megabytes * 2**18), np.float32)
    times = []
    for _ in range(200):
        began = time.perf_counter()
        weights.sum()
        times.append(time.perf_counter() - began)
    return min(times)


def main() -> None:
    record = Record("decoding", key=("choice",))
    writer, began = model(), time.perf_counter
    recurrent = 3 * UNITS * UNITS * 4 / 2**20
    limit = 1 / seconds_to_read(recurrent)
    for choice, options in CHOICES.items():
        rates = []
        for turn in range(TURNS + 1):
            start = began()
            for _ in writer.generate("a", LENGTH, seed=turn, **options):
                pass
            rates.append(LENGTH / (began() - start))
        rates = sorted(rates[1:])  # the first turn makes what later ones use
        record.add(
            {
                "choice": choice,
                "characters_per_second": round(rates[TURNS // 2]),
                "least": round(rates[0]),
                "greatest": round(rates[-1]),
                "reads_of_recurrent_weights_per_second": round(limit),
                "torch_imported": "torch" in sys.modules,
            }
        )
    columns = {
        "choice": lambda row: row["choice"],
        "characters a second": lambda row: row["characters_per_second"],
        "least to greatest": lambda row: f"{row['least']} to {row['greatest']}",
    }
    print(markdown(record.rows, columns))


if __name__ == "__main__":
    main()
