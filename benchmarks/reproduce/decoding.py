"""Characters a second that a language model of one GRU of 384 units writes, without torch.

    python benchmarks/reproduce/decoding.py

``LanguageModel.generate`` on one thread, from 84 characters, with random weights: a step takes as
long whatever was learned.  Drawn from the whole softmax, from the ten likeliest, or the likeliest.
The figure is the median of the turns, with the least and the greatest beside it.
"""

from __future__ import annotations

import string
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
    made.counts_, made.conditions_ = None, None
    return made


def main() -> None:
    record = Record("decoding", key=("choice",))
    writer, began = model(), time.perf_counter
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
