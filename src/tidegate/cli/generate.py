"""``tidegate generate``: text by a language model, pieces by a model of music."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from tidegate.cli.command import Option, command, flag
from tidegate.cli.generate_roll import Wanted, write_piece
from tidegate.cli.options import later_options
from tidegate.cli.parameters import FORCE, JSON, MODEL, output_option, text_to_write, written_beside
from tidegate.cli.reading import load_for, refuse
from tidegate.cli.show import print_json, print_text
from tidegate.data.roll_source import Rolls
from tidegate.data.source import split_list
from tidegate.errors import InputError, shown


@command(
    MODEL,
    Option(
        "--prompt",
        metavar="TEXT|FILE",
        default="",
        help="text to begin with; of music or sound, a file like the one in training",
    ),
    Option(
        "--length",
        metavar="N",
        type=int,
        default=500,
        help="number of tokens to write: characters, words or BPE tokens; of music, steps",
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
        "--given",
        metavar="NAME=VALUE,...",
        help="what the text or the piece of music is to be, of a model that was trained with "
        "--condition, such as nation=Russian; what is left out is unknown",
    ),
    Option(
        "--vocabulary",
        metavar="PATH",
        type=Path,
        help="the tokens of a model that another library wrote, one a line, the first is token 0; "
        "without it, such a model reads and writes token numbers",
    ),
    output_option(
        "file to write, with the prompt before what is new: of music .mid, .npz, or a table .csv, "
        ".tsv or .jsonl (default: print what is on, a line for each step); of sound .wav",
        type=text_to_write,
    ),
    written_beside("--plot", "music: picture of the piece to draw, .png or .svg"),
    Option(
        "--tempo",
        metavar="X",
        type=float,
        help="music: quarter notes a minute of a .mid (default: 120)",
    ),
    FORCE,
    JSON,
    told=later_options(Rolls),
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
    given: str | None,
    vocabulary: Path | None,
    output: Path | None,
    plot: Path | None,
    tempo: float | None,
    force: bool,
    told: dict[str, Any],
    json: bool,
) -> None:
    """Continue a text, token by token, or a piece of music, step by step.

    A model that was trained with --reverse writes the text before the prompt instead.  A file of
    another library's, as tidegate convert reads it, writes, too, if it gives a number for each
    token at every step; its tokens are set apart by spaces.

    Example: tidegate generate book-language-model.safetensors --prompt 'The ' --seed 1

    tidegate generate names-language-model.safetensors --given nation=Russian

    tidegate generate songs-music.safetensors --prompt begun.mid -o song.mid --plot song.png

    tidegate generate songs-music.safetensors --given folder=bach -o song.mid

    tidegate generate voice-language-model.safetensors --length 16000 -o voice.wav
    """
    choice = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "greedy": greedy}
    conditions = None if given is None else _conditions(given)
    from tidegate.interchange.formats import is_of_another_library

    if is_of_another_library(model):
        if given is not None:
            problem = "expected none beside a file of another library's, which knows no conditions"
            raise InputError(f"{problem}, got one; leave it out", option="given")
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
    if fitted.TASK == "music":
        refuse(fitted, {"top_k": top_k, "top_p": top_p})
        how = {"temperature": temperature, "greedy": greedy, "seed": seed, "given": conditions}
        wanted = Wanted(model, prompt, length, how, output, plot, tempo, force, json)
        write_piece(fitted, wanted, told)
        return
    refuse(fitted, {"plot": plot, "tempo": tempo, **told})
    from tidegate.tasks.sound_files import check_sound_path, prompt_of, write_sound

    if output is not None:
        check_sound_path(
            output, fitted, inputs=(model, prompt) if prompt else (model,), force=force
        )
    prompt = prompt_of(fitted, prompt)
    pieces = fitted.generate(prompt, length, **choice, seed=seed, given=conditions)
    if output is not None:
        text = "".join([*pieces, prompt] if fitted.reverse else chain([prompt], pieces))
        write_sound(output, text, fitted)
        if json:
            print_json({"output": str(output), "samples": len(text), "seed": seed})
        return
    if json:
        print_json({"prompt": prompt, "text": "".join(pieces), "seed": seed})
        return
    for piece in [*pieces, prompt] if fitted.reverse else chain([prompt], pieces):
        print_text(piece, end="")
    print()


def _conditions(given: str) -> dict[str, str]:
    """What ``NAME=VALUE,...`` says.  Raises InputError."""
    pairs = [one.partition("=") for one in split_list(given)]
    for name, equals, value in pairs:
        if not equals:
            problem = f"expected NAME=VALUE, got {shown(name)}"
            raise InputError(f"{problem}; write it so, such as nation=Russian", option="given")
        if [other for other, _, _ in pairs].count(name) > 1:
            problem = f"expected each name once, got {shown(name)} twice"
            raise InputError(f"{problem}; leave out {name}={value}", option="given")
    return {name.strip(): value.strip() for name, _, value in pairs}


def _foreign(
    model: Path, vocabulary: Path | None, prompt: str, length: int, choice: dict[str, Any]
) -> Iterator[str]:
    """The tokens that follow those of the prompt, as text."""
    from tidegate.interchange import read
    from tidegate.interchange.text import continued

    return continued(read(model), vocabulary, prompt, length, **choice)
