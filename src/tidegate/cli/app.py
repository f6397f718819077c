"""The tree of commands.  What a command needs is imported when it runs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import click

import tidegate
from tidegate.cli.bench import bench
from tidegate.cli.cells import cells
from tidegate.cli.command import Command, Group, Option
from tidegate.cli.compare import compare_command
from tidegate.cli.convert import convert
from tidegate.cli.detect import detect
from tidegate.cli.evaluate import evaluate
from tidegate.cli.explain import explain
from tidegate.cli.export import onnx
from tidegate.cli.forecast import forecast
from tidegate.cli.generate import generate
from tidegate.cli.info import info
from tidegate.cli.inspect import inspect
from tidegate.cli.invocation import Invocation
from tidegate.cli.predict import predict
from tidegate.cli.sample import sample
from tidegate.cli.serve import serve
from tidegate.tasks import TASKS

_HELP = """Train recurrent networks on a file of text or numbers, evaluate them and use them.

Try: tidegate train language-model book.txt --max-minutes 5"""


def tree(arguments: Sequence[str]) -> Group:
    """Every command; of ``arguments``, what was typed, compare has the options of the --task."""
    tasks = {about.command: partial(_train, task) for task, about in TASKS.items()}
    tuned = {about.command: partial(_tune, task, arguments) for task, about in TASKS.items()}
    return Group(
        _HELP,
        {
            "train": Group(f"Train a network on a file: {', '.join(tasks)}.", tasks),
            "compare": partial(compare_command, arguments),
            "tune": Group(f"Search the options of a network on a file: {', '.join(tasks)}.", tuned),
            "evaluate": evaluate,
            "predict": predict,
            "generate": generate,
            "forecast": forecast,
            "detect": detect,
            "serve": serve,
            "info": info,
            "inspect": inspect,
            "explain": explain,
            "convert": convert,
            "cells": cells,
            "bench": bench,
            "sample": sample,
            "export": Group("Write a model in the form of other runtimes: onnx.", {"onnx": onnx}),
        },
        run=_begin,
        options=(
            Option("--traceback", is_flag=True, help="show where in the code an error arose"),
            Option(
                "--version",
                is_flag=True,
                is_eager=True,
                expose_value=False,
                callback=_version,
                help="show the version and exit",
            ),
        ),
    )


def _train(task: str) -> Command:
    from tidegate.cli.train import train_command  # with numpy, which no other help needs

    return train_command(task)


def _tune(task: str, arguments: Sequence[str]) -> Command:
    from tidegate.cli.tune import tune_command  # with numpy, which no other help needs

    return tune_command(task, arguments)


@click.pass_obj
def _begin(invocation: Invocation, *, traceback: bool) -> None:
    invocation.traceback |= traceback


def _version(ctx: click.Context, option: Any, wanted: bool) -> None:  # noqa: ARG001
    if wanted:
        print(tidegate.__version__)
        ctx.exit()
