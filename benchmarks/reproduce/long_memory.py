"""Long memories: the adding problem over 1000 steps and the copy task over 500.

    python benchmarks/reproduce/long_memory.py
    python benchmarks/reproduce/long_memory.py --only adding --cell gru

A simple RNN, and LSTM and GRU with chrono initialisation (Tallec & Ollivier 2018,
arXiv:1804.11188).  Adding (Hochreiter & Schmidhuber 1997, as in Arjovsky et al. 2016,
arXiv:1511.06464): of a thousand numbers two are marked, one in each half; their sum is told after
the last.  Always telling the mean has an error of 1/6.  Copying (the same sources): ten symbols of
eight kinds, then blanks, and after the sign ten steps in which to write the symbols.  Guessing them
has a cross-entropy of 10 ln 8 / (T + 20) nats per step, T = 500.

Rows go to benchmarks/results/long_memory.json.  After all cells have added, how far back their
gradients reach is drawn in docs/gradient_reach.png.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from record import Clock, Record, Row, markdown
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

import tidegate as tg
from tidegate.cells import get_cell
from tidegate.comparison.report.drawing import Reach, as_png, faded, reaches
from tidegate.nn.init import initialise_chrono, initialise_recurrent
from tidegate.training.gradient_reach import gradient_reach

CELLS = ("rnn", "lstm", "gru")
SEEDS = (0, 1, 2)  # of adding; copying, which takes ten minutes and more, has the first alone
SOLVED = 0.01  # of the error of one who remembers nothing
PICTURE = Path(__file__).parents[2] / "docs" / "gradient_reach.png"

ADDED_STEPS = 1000
ADDED_TRAINING, ADDED_TEST = 10_000, 1000
ADDED_UNITS = 64

SYMBOLS, COPIED, BLANKS = 8, 10, 500
BLANK, SIGN = 0, SYMBOLS + 1  # beside the symbols 1 to 8
COPY_STEPS = BLANKS + 2 * COPIED
COPY_UNITS, COPY_EMBEDDING = 128, 64
COPY_BATCH, COPY_TEST = 32, 512
COPY_UPDATES, COPY_RATE = {"gru": 10_000, "lstm": 20_000}, 3e-3
COPY_FULL_RATE = 0.6  # of the updates; then the rate falls to zero in a straight line
# The first gradients are some forty times as long as those from which remembering is learned: with
# Adam's own 0.999 they would shorten its steps for thousands of updates.
COPY_BETAS = (0.9, 0.99)
COPY_GAIN = 3.0  # of the input weights, so that symbols open gates that chrono initialisation shuts
GUESSED = COPIED * math.log(SYMBOLS) / COPY_STEPS


def adding(rng: np.random.Generator, count: int, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Numbers from U(0, 1) and marks, [count, steps, 2], and the sums of the marked, [count]."""
    inputs = np.zeros((count, steps, 2))
    inputs[:, :, 0] = rng.random((count, steps))
    half, rows = steps // 2, np.arange(count)
    for begin, end in ((0, half), (half, steps)):
        inputs[rows, rng.integers(begin, end, count), 1] = 1
    return inputs, inputs.prod(axis=2).sum(axis=1)


def copying(generator: torch.Generator, count: int, blanks: int) -> tuple[Tensor, Tensor]:
    """What is read and what is to be written, tokens int64 [blanks + 20, count]."""
    symbols = torch.randint(1, SYMBOLS + 1, (COPIED, count), generator=generator)
    read = torch.full((blanks + 2 * COPIED, count), BLANK)
    written = read.clone()
    read[:COPIED], read[-COPIED - 1] = symbols, SIGN
    written[-COPIED:] = symbols
    return read, written


def adder(cell: str, seed: int) -> tuple[tg.SequenceRegressor, dict[str, float], Reach]:
    """An estimator that learned to add, its figures, and how far back its gradient reaches."""
    rng = np.random.default_rng(seed)
    learned, unseen = (adding(rng, n, ADDED_STEPS) for n in (ADDED_TRAINING, ADDED_TEST))
    model = tg.SequenceRegressor(
        cell=cell,
        chrono=ADDED_STEPS,
        hidden_sizes=(ADDED_UNITS,),
        segment=1,
        bidirectional=False,
        readout="last",
        dropout=0.0,
        batch_size=50,
        epochs=5,
        seed=seed,
        verbose=0,
    )
    model.fit(*learned)
    return model, model.evaluate(*unseen), _reach(model, unseen)


def add(cell: str) -> tuple[Row, Reach]:
    """Learn to add with every seed; the reach of the first."""
    clock = Clock()
    models, figures, reach = zip(*(adder(cell, seed) for seed in SEEDS), strict=True)
    test = [f["mse"] for f in figures]
    return {
        "task": "adding",
        "cell": cell,
        "steps": ADDED_STEPS,
        "units": ADDED_UNITS,
        "parameters": models[0].runtime_.architecture.parameter_count(),
        "updates": models[0].provenance_["steps"],
        "metric": "mse",
        "seeds": list(SEEDS),
        "tests": [round(mse, 6) for mse in test],
        "test": round(float(np.mean(test)), 6),
        "baseline": round(float(np.mean([f["mean_mse"] for f in figures])), 4),
        "solved": all(f["mse"] < SOLVED * f["mean_mse"] for f in figures),
        "gradient_below_a_thousandth_after": {
            "before training": [faded(r.before) for r in reach],
            "after training": [faded(r.after) for r in reach],
        },
        **clock.read(),
    }, reach[0]


def _reach(model: tg.SequenceRegressor, unseen: tuple[np.ndarray, np.ndarray]) -> Reach:
    inputs, sums = (part[:32] for part in unseen)
    read = np.stack([model.inputs_.segments(model.inputs_.scaled(s)) for s in inputs], axis=1)
    targets = model.target_.transform(sums[:, None])
    batch = torch.from_numpy(read), torch.full((len(sums),), len(read)), torch.from_numpy(targets)
    fresh = model.initial_network(model.runtime_.architecture)
    return Reach(gradient_reach(fresh, *batch), gradient_reach(model.network_, *batch))


class Copier(nn.Module):
    """Tokens [T, B] to logits of what is written at every step, [T, B, symbols + 2]."""

    def __init__(self, cell: str) -> None:
        super().__init__()
        layer = {"rnn": tg.RNN, "lstm": tg.LSTM, "gru": tg.GRU}[cell]
        self.embedding = nn.Embedding(SYMBOLS + 2, COPY_EMBEDDING, padding_idx=BLANK)
        self.recurrent = layer(COPY_EMBEDDING, COPY_UNITS)
        self.dense = nn.Linear(COPY_UNITS, SYMBOLS + 2)
        initialise_recurrent(self.recurrent)
        initialise_chrono(self.recurrent, BLANKS)
        with torch.no_grad():
            self.recurrent.weight_ih_l0.mul_(COPY_GAIN)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.dense(self.recurrent(self.embedding(tokens))[0])


def copy(cell: str, most: int) -> Row:
    """Learn to copy from ever new sequences with the layer; stop early once it is solved."""
    seed = SEEDS[0]
    torch.manual_seed(seed)
    torch.set_flush_denormal(True)  # gradients fade: see docs/design.md
    generator = torch.Generator().manual_seed(seed)
    network = Copier(cell)
    optimizer = torch.optim.Adam(network.parameters(), lr=COPY_RATE, betas=COPY_BETAS)
    falling = (1 - COPY_FULL_RATE) * most
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda done: min(1.0, (most - done) / falling)
    )
    clock, mean, updates = Clock(), GUESSED, 0
    while updates < most and mean > 0.5 * SOLVED * GUESSED:
        read, written = copying(generator, COPY_BATCH, BLANKS)
        loss = F.cross_entropy(network(read).flatten(0, 1), written.flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        updates += 1
        mean = 0.98 * mean + 0.02 * loss.item()
        if updates % 200 == 0:
            print(f"{cell}: {updates} updates, {mean / GUESSED:.3f} of guessing", flush=True)
    times = clock.read()
    read, written = copying(torch.Generator().manual_seed(seed + 1), COPY_TEST, BLANKS)
    with torch.no_grad():
        logits = network(read)
    entropy = float(F.cross_entropy(logits.flatten(0, 1), written.flatten()))
    right = logits[-COPIED:].argmax(2) == written[-COPIED:]
    return {
        "task": "copying",
        "cell": cell,
        "steps": BLANKS,
        "units": COPY_UNITS,
        "parameters": sum(p.numel() for p in network.parameters()),
        "updates": updates,
        "metric": "cross-entropy",
        "test": round(entropy, 6),
        "baseline": round(GUESSED, 4),
        "symbols_right": round(float(right.float().mean()), 4),
        "solved": entropy < SOLVED * GUESSED,
        "seeds": [seed],
        "tests": [round(entropy, 6)],
        **times,
    }


COLUMNS: dict[str, Any] = {
    "task": lambda r: r["task"],
    "cell": lambda r: r["cell"].upper(),
    "parameters": lambda r: f"{r['parameters']:,}",
    "updates": lambda r: r["updates"],
    "metric": lambda r: r["metric"],
    "test": lambda r: f"**{r['test']}**" if r["solved"] else r["test"],
    "without memory": lambda r: r["baseline"],
    "symbols right": lambda r: r.get("symbols_right", ""),
    "CPU seconds": lambda r: r["cpu_seconds"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", choices=("adding", "copying"), help="this task alone")
    parser.add_argument("--cell", choices=CELLS, help="this cell alone")
    chosen = parser.parse_args()
    cells = [cell for cell in CELLS if chosen.cell in (None, cell)]
    record = Record("long_memory", ("task", "cell"))
    drawn: dict[str, Reach] = {}
    for cell in cells if chosen.only != "copying" else ():
        row, drawn[get_cell(cell).name] = add(cell)
        record.add(row)
    if len(drawn) == len(CELLS):
        PICTURE.write_bytes(as_png(reaches(drawn)))
    # the simple RNN last: it is given as many updates as the slower of the gated cells took
    for cell in sorted(cells, key="rnn".__eq__) if chosen.only != "adding" else ():
        took = [r["updates"] for r in record.rows if r["task"] == "copying" and r["cell"] != "rnn"]
        record.add(copy(cell, COPY_UPDATES.get(cell) or max(took, default=10_000)))
    print("\n" + markdown(record.rows, COLUMNS))


if __name__ == "__main__":
    main()
