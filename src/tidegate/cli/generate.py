"""``tidegate generate``: text by a language model."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from tidegate.cli.command import Option, command, flag
from tidegate.cli.parameters import JSON, MODEL
from tidegate.cli.reading import load_for
from tidegate.cli.show import print_json, print_text
from tidegate.errors import InputError


@command(
    MODEL,
    Option("--prompt", metavar="TEXT", default="", help="text to begin with"),
    Option(
        "--length",
        metavar="N",
        type=int,
        default=500,
        help="number of tokens to write: characters, words or BPE tokens",
    ),
    Option(
        "--temperature",
        metavar="X",
        type=float,
        default=0.8,
        help="how freely to choose: below 1 gives likelier, duller text; above 1 gives more varied "
        "text with more errors",
    ),
    Option(
        "--top-k",
        metavar="N",
        type=int,
        help="choose among the N likeliest tokens only",
    ),
    Option(
        "--top-p",
        metavar="X",
        type=float,
        help="choose among the fewest likeliest tokens whose probabilities add up to X",
    ),
    flag("--greedy", help="always choose the likeliest token"),
    Option(
        "--seed",
        metavar="N",
        type=int,
        help="seed of the random choices; one seed gives one text (default: a new seed)",
    ),
    Option(
        "--vocabulary",
        metavar="PATH",
        type=Path,
        help="the tokens of a model that another library wrote, one a line, the first is token 0; "
        "without it, such a model reads and writes token numbers",
    ),
    JSON,
)
def generate(
    model: Path,
    prompt: str,
    length: int,
    temperature: float,
    top_k: int | None,
    top_p: float | None,
    greedy: bool,
    seed: int | None,
    vocabulary: Path | None,
    json: bool,
) -> None:
    """Continue a text, token by token.

    A model that was trained with --reverse writes the text before the prompt instead.  A file of
    another library's, as tidegate convert reads it, writes, too, if it gives a number for each
    token at every step; its tokens are set apart by spaces.

    Example: tidegate generate book-language-model.safetensors --prompt 'The ' --seed 1
    """
    choice = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "greedy": greedy}
    if _is_foreign(model):
        tokens = _foreign(model, vocabulary, prompt, length, {**choice, "seed": seed})
        if json:
            print_json({"prompt": prompt, "text": " ".join(tokens), "seed": seed})
            return
        for text in chain([prompt], (f" {token}" for token in tokens)):
            print_text(text, end="")
        print()
        return
    if vocabulary is not None:
        raise InputError(
            "expected none beside a tidegate model, which has its own, got one; leave it out",
            option="vocabulary",
        )
    fitted = load_for("generate", model)
    pieces = fitted.generate(prompt, length, **choice, seed=seed)
    if json:
        print_json({"prompt": prompt, "text": "".join(pieces), "seed": seed})
        return
    for piece in [*pieces, prompt] if fitted.reverse else chain([prompt], pieces):
        print_text(piece, end="")
    print()


def _is_foreign(model: Path) -> bool:
    """Whether a file is one that tidegate convert reads and tidegate did not train."""
    return model.suffix.lower() in (".npz", ".keras", ".h5", ".hdf5", ".onnx")


def _foreign(
    model: Path, vocabulary: Path | None, prompt: str, length: int, choice: dict[str, Any]
) -> Iterator[str]:
    """The tokens that follow those of the prompt, as text."""
    from tidegate.interchange import read
    from tidegate.interchange.text import continued

    return continued(read(model), vocabulary, prompt, length, **choice)
