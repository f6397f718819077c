"""What the words cost: forward and backward of embedding, GRU and softmax, by vocabulary.

    python benchmarks/reproduce/large_vocabulary.py

A word model of 128 units reads 64 streams of 50 words, drawn at random (which ones does not change
the time).  In turns: tidegate's softmax, with products of float32 and of bfloat16 factors, beside
the same network with all logits at once under torch's cross_entropy.  The losses must agree first.
"""

from __future__ import annotations

import argparse
from typing import Any

import torch
from record import Record, markdown
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from tidegate.bench.timing import in_turns, seconds_per_call
from tidegate.model.architecture import Architecture
from tidegate.nn.chunked_softmax import summed_cross_entropy
from tidegate.nn.network import SequenceNetwork
from tidegate.training.randomness import denormals_flushed, products_of

WORDS = (10_000, 20_000, 50_000)
STEPS, STREAMS, UNITS = 50, 64, 128
AGREE = 0.01  # of the loss: bfloat16 keeps 8 bits of each factor


def network_of(words: int) -> SequenceNetwork:
    torch.manual_seed(0)
    return SequenceNetwork(
        Architecture(
            cell="gru",
            vocabulary_size=words,
            input_size=None,
            embedding_size=UNITS,
            hidden_sizes=(UNITS,),
            bidirectional=False,
            readout="every",
            output_size=words,
            batch_norm=False,
            embedding_dropout=0.0,
            dropout=0.0,
            recurrent_dropout=0.0,
            tie_embeddings=True,
        )
    )


def contestants(words: int) -> dict[str, Any]:
    """Name -> a call that returns the loss and leaves gradients."""
    network = network_of(words)
    tokens = torch.randint(words, (STEPS + 1, STREAMS))
    targets = tokens[1:].flatten()

    def ours() -> Tensor:
        features, _ = network.features(tokens[:-1])
        return summed_cross_entropy(
            features.flatten(0, 1), network.output_weight, network.dense.bias, targets
        )

    def whole() -> Tensor:
        logits, _ = network(tokens[:-1])
        return F.cross_entropy(logits.flatten(0, 1), targets, reduction="sum")

    def step(loss_of: Any, precision: str) -> Any:
        def run() -> float:
            network.zero_grad()
            with products_of(precision):
                loss = loss_of()
                loss.backward()
            return loss.item()

        return run

    return {
        "all logits at once": step(whole, "float32"),
        "tidegate": step(ours, "float32"),
        "all logits at once, bfloat16": step(whole, "bfloat16"),
        "tidegate, bfloat16": step(ours, "bfloat16"),
    }


COLUMNS: dict[str, Any] = {
    "words": lambda row: f"{row['words']:,}",
    **{
        name: lambda row, name=name: f"{row['us_per_token'][name][0]:.0f}"
        for name in (
            "all logits at once",
            "tidegate",
            "all logits at once, bfloat16",
            "tidegate, bfloat16",
        )
    },
}


def main() -> None:
    argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0]).parse_args()
    record = Record("large_vocabulary", ("words",))
    for words in WORDS:
        calls = contestants(words)
        losses = {name: call() for name, call in calls.items()}
        first = next(iter(losses.values()))
        assert all(abs(loss - first) <= AGREE * first for loss in losses.values()), losses
        timed = {
            name: lambda count, call=call: seconds_per_call(call, count)
            for name, call in calls.items()
        }
        with denormals_flushed():
            seconds, turns = in_turns(timed)
        tokens = STEPS * STREAMS
        micro = {n: [round(1e6 * s / tokens, 1) for s in spread] for n, spread in seconds.items()}
        record.add({"words": words, "turns": turns, "us_per_token": micro})
    print("\nmicroseconds per token\n\n" + markdown(record.rows, COLUMNS))


if __name__ == "__main__":
    main()
