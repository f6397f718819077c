"""``tidegate generate``: text by a language model."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import typer

from tidegate.cli.reading import Json, Model, load_one_of
from tidegate.cli.show import print_json, print_text
from tidegate.errors import InputError


def generate(
    model: Model,
    prompt: Annotated[str, typer.Option(metavar="TEXT", help="text to begin with")] = "",
    length: Annotated[
        int,
        typer.Option(
            metavar="N", help="number of tokens to write: characters, words or BPE tokens"
        ),
    ] = 500,
    temperature: Annotated[
        float,
        typer.Option(
            metavar="X",
            help="how freely to choose: below 1 gives likelier, duller text; above 1 gives more "
            "varied text with more errors",
        ),
    ] = 0.8,
    top_k: Annotated[
        int | None, typer.Option(metavar="N", help="choose among the N likeliest tokens only")
    ] = None,
    top_p: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            help="choose among the fewest likeliest tokens whose probabilities add up to X",
        ),
    ] = None,
    greedy: Annotated[
        bool, typer.Option(metavar="", show_default=False, help="always choose the likeliest token")
    ] = False,
    seed: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="seed of the random choices; one seed gives one text (default: a new seed)",
        ),
    ] = None,
    vocabulary: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="the tokens of a model that another library wrote, one a line, the first is "
            "token 0; without it, such a model reads and writes token numbers",
        ),
    ] = None,
    json: Json = False,
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
    fitted = load_one_of(["language-model"], model)
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
