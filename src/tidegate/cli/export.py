"""``tidegate export``: a trained model in the form of other runtimes."""

from __future__ import annotations

from pathlib import Path

from tidegate.cli.command import Option, command, flag
from tidegate.cli.parameters import FORCE, JSON, MODEL, output_option, written_beside
from tidegate.cli.show import print_json
from tidegate.terminal import printable, say


@command(
    MODEL,
    output_option("file to write (default: the model's name with .onnx, in this folder)"),
    written_beside("--step", "second file to write: one step of streams, with states in and out"),
    Option(
        "--opset",
        metavar="N",
        type=int,
        default=17,
        help="version of ONNX's operators, 17 to 22",
    ),
    flag(
        "--counts",
        default=True,
        help="write all of a language model that is mixed with counts; `--no-counts` writes its "
        "network alone, which is smaller and faster and predicts worse: the perplexities of both "
        "are told",
    ),
    FORCE,
    JSON,
)
def onnx(
    model: Path,
    output: Path | None,
    step: Path | None,
    opset: int,
    counts: bool,
    force: bool,
    json: bool,
) -> None:
    """Write a model as an ONNX file, for sequences and batches of any size.

    What is written is first run in ONNX Runtime, beside the model. Vocabulary, labels and scaling
    stand in the file's metadata. This needs no torch.

    Example: tidegate export onnx reviews-text-classifier.safetensors -o reviews.onnx
    """
    from tidegate.model.checkpoint import load_model
    from tidegate.tasks import task_class
    from tidegate.tasks.onnx_file import check_exporting, export

    check_exporting(opset)
    held = load_model(model)
    fitted = task_class(held.task).from_model_file(held, model)
    path = Path(f"{model.stem}.onnx") if output is None else output
    export(
        fitted,
        path,
        step=step,
        opset=opset,
        force=force,
        counts=counts,
        vector=held.test_vector,
        inputs=[model],
    )
    if json:
        print_json({"output": str(path), "step": step and str(step), "opset": opset})
        return
    for written in (path, step):
        if written is not None:
            say(f"wrote {printable(str(written))}: ONNX, opset {opset}, checked in ONNX Runtime")
    if not counts and "network_perplexity" in held.metrics:
        mixed, alone = (f"{held.metrics[n]:.4g}" for n in ("perplexity", "network_perplexity"))
        say(f"validation perplexity: {alone} of the network alone, {mixed} with counts")
