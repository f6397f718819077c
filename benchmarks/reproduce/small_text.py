"""Three minutes on a text of 1.1 MB: defaults, beside a bare torch loop given the same time.

    python benchmarks/reproduce/small_text.py DATA

The first 1.1 million characters of War and Peace, 90 % for training, the last 10 % held out.  Ours:

    tidegate train language-model TEXT --max-minutes 3

(with ``--counts``, that command's option of this name, it is mixed with counted n-grams)
and its opponent one torch.nn.GRU of 256: 32 streams, 100 steps of back-propagation with carried
state, AdamW 4e-3 falling on a cosine over the time.  Both are judged on the held-out part after
each pass over the text, and the best counts: for ours within its three minutes, for the other off
the clock.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path
from typing import Any

import torch
from language_models import parsed, trained
from record import Clock, Record, markdown
from torch import nn
from torch.nn import functional as F  # noqa: N812

import tidegate as tg
from tidegate.data.text.reading import read_text

CHARACTERS = 1_100_000
HELD_OUT = 0.1
STREAMS, STEPS, UNITS, RATE = 32, 100, 256, 4e-3


class BareModel(nn.Module):
    """Embedding, one GRU, softmax."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, 128)
        self.recurrent = nn.GRU(128, UNITS)
        self.output = nn.Linear(UNITS, vocabulary)

    def forward(self, tokens: torch.Tensor, state: Any) -> tuple[torch.Tensor, torch.Tensor]:
        features, state = self.recurrent(self.embedding(tokens), state)
        return self.output(features), state


def bare_loop(text: str, held_out: str, minutes: float, seed: int) -> dict[str, Any]:
    """Nats per character of ``held_out`` after each pass over ``text``, and how many there were."""
    torch.manual_seed(seed)
    known = sorted(set(text))
    number = {character: i for i, character in enumerate(known)}
    train = torch.tensor([number[c] for c in text])
    # a character that only the held-out part has would be beyond it: count it as the first
    unseen = torch.tensor([number.get(c, 0) for c in held_out])
    length = len(train) // STREAMS
    streams = train[: STREAMS * length].view(STREAMS, length).t()  # [T, B]
    model = BareModel(len(known))
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE)
    curve, spent, steps, began = [], 0.0, 0, time.perf_counter()

    def elapsed() -> float:
        return (spent + time.perf_counter() - began) / (60 * minutes)

    while elapsed() < 1:
        state = None
        for first in range(0, length - STEPS, STEPS):
            if (done := elapsed()) >= 1:
                break
            for group in optimizer.param_groups:
                group["lr"] = RATE * 0.5 * (1 + math.cos(math.pi * done))
            logits, state = model(streams[first : first + STEPS], state)
            state = state.detach()
            targets = streams[first + 1 : first + STEPS + 1]
            loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            steps += 1
        spent += time.perf_counter() - began
        curve.append(bare_score(model, unseen))
        began = time.perf_counter()
    return {
        "seed": seed,
        "cross_entropy": min(curve),
        "last_cross_entropy": curve[-1],
        "curve": curve,
        "steps": steps,
        "epochs": round(steps * STEPS / length, 2),
        "parameters": sum(p.numel() for p in model.parameters()),
        "seconds": round(spent, 1),
    }


@torch.no_grad()
def bare_score(model: BareModel, tokens: torch.Tensor) -> float:
    """Nats per character, each given all before it."""
    state, nats = None, 0.0
    for inputs, targets in zip(tokens[:-1].split(5000), tokens[1:].split(5000), strict=True):
        logits, state = model(inputs.unsqueeze(1), state)
        nats += F.cross_entropy(logits.squeeze(1), targets, reduction="sum").item()
    return nats / (len(tokens) - 1)


def ours(text: str, minutes: float, seed: int, counts: bool | None) -> dict[str, Any]:
    """The model that has no options but the time and ``counts``, judged on the text's last part."""
    clock = Clock()
    model = tg.LanguageModel(
        max_minutes=minutes, validation_fraction=HELD_OUT, seed=seed, counts=counts
    )
    model.fit(text)
    took = trained(model, clock)
    curve = [row["cross_entropy"] for row in took.pop("curve")]
    best = took.pop("validation")["cross_entropy"]
    return {**took, "cross_entropy": best, "last_cross_entropy": curve[-1], "curve": curve}


COLUMNS: dict[str, Any] = {
    "model": lambda row: row["name"],
    "seed": lambda row: row["seed"],
    "parameters": lambda row: f"{row['parameters']:,}",
    "epochs": lambda row: row["epochs"],
    "held-out nats per character": lambda row: f"{row['cross_entropy']:.3f}",
    "of the last weights": lambda row: f"{row['last_cross_entropy']:.3f}",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path, help="folder with warpeace/")
    parser.add_argument("--minutes", type=float, default=3.0, help="for each")
    parser.add_argument("--counts", action="store_true", help="ours mixed with counted n-grams")
    arguments = parsed(parser)
    text = read_text(arguments.data / "warpeace" / "warpeace_input.txt.gz")[:CHARACTERS]
    cut = round(len(text) * (1 - HELD_OUT))
    minutes, seed = arguments.minutes, arguments.seed
    if arguments.counts:
        found = {"tidegate, --counts": ours(text, minutes, seed, True)}
    else:
        found = {
            "tidegate, defaults": ours(text, minutes, seed, None),
            "bare torch loop, one GRU of 256": bare_loop(text[:cut], text[cut:], minutes, seed),
        }
    record = Record("small_text", ("name", "seed"))
    for name, row in found.items():
        record.add({"name": name, "minutes": minutes, **row})
    print(markdown(record.rows, COLUMNS))


if __name__ == "__main__":
    main()
