"""``tidegate generate``: text by a language model."""

from __future__ import annotations

from itertools import chain
from typing import Annotated

import typer

from tidegate.cli.reading import Json, Model, load_one_of
from tidegate.cli.show import print_json, print_text


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
    json: Json = False,
) -> None:
    """Continue a text, token by token.

    A model that was trained with --reverse writes the text before the prompt instead.

    Example: tidegate generate book-language-model.safetensors --prompt 'The ' --seed 1
    """
    fitted = load_one_of(["language-model"], model)
    pieces = fitted.generate(
        prompt,
        length,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        greedy=greedy,
        seed=seed,
    )
    if json:
        print_json({"prompt": prompt, "text": "".join(pieces), "seed": seed})
        return
    for piece in [*pieces, prompt] if fitted.reverse else chain([prompt], pieces):
        print_text(piece, end="")
    print()
