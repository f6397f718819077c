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
    length: Annotated[int, typer.Option(metavar="N", help="how many tokens to write")] = 500,
    temperature: Annotated[
        float,
        typer.Option(
            metavar="X",
            help="below 1: likelier, duller text; above 1: more varied, with more errors",
        ),
    ] = 0.8,
    top_k: Annotated[
        int | None, typer.Option(metavar="N", help="choose among the N likeliest tokens only")
    ] = None,
    top_p: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            help="choose among the likeliest tokens only, whose probabilities add up to X",
        ),
    ] = None,
    greedy: Annotated[bool, typer.Option(help="always choose the likeliest token")] = False,
    seed: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="seed of the random choices; one seed gives one text (default: a new seed)",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Continue a text, token by token.  A model trained with --reverse writes what leads up to it.

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
