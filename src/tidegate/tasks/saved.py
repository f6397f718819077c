"""An estimator as a file: saved, read again, and exported for others to run."""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING, Any, ClassVar, Self

from tidegate.model.narrow import Weights, checked_weights
from tidegate.output.places import check_output
from tidegate.tasks.model_file import (
    network_of,
    new_test_vector,
    rounded_network,
    run_test,
    thinned,
)
from tidegate.tasks.sklearn_options import SklearnOptions
from tidegate.tasks.streamed import Streamed

if TYPE_CHECKING:
    from tidegate.model.checkpoint import ModelFile


class Saved(SklearnOptions, Streamed):
    """An estimator with options, a ``runtime_`` and what it learned, which a file may hold."""

    TASK: ClassVar[str]  # its name in a file
    metrics_: dict[str, float]
    history_: dict[str, list[float]]
    provenance_: dict[str, Any]

    def save(
        self,
        path: str | PathLike[str],
        *,
        force: bool = False,
        weights: Weights | None = None,
    ) -> None:
        """Write the model file (format: tidegate.model.checkpoint), atomically onto an older model.

        ``weights``: ``float32``, or ``bfloat16`` or ``int8`` for a file of a half or a quarter of
        the size, whose recurrent layers run faster where the processor has instructions for it,
        with rounded weights; None: as the model was loaded.  A model in 8 bits does not become more
        exact when it is saved as float32.

        Raises InputError if the file cannot be written, or if ``path`` is a file that is not a
        model; ``force`` replaces such a file.
        """
        from tidegate.model.checkpoint import ModelFile, is_model_file, save_model
        from tidegate.model.metadata import MAX_EVALUATIONS

        check_output(path, force=force, ours=is_model_file)
        kept = checked_weights(self.runtime_.weights if weights is None else weights)
        network = rounded_network(self.runtime_, kept)
        options = {
            name: list(v) if isinstance(v, tuple) else v for name, v in self.to_json().items()
        }
        save_model(
            path,
            ModelFile(
                task=self.TASK,
                architecture=network.architecture,
                tensors=network.tensors,
                options=options,
                metrics=self.metrics_,
                history=thinned(self.history_, MAX_EVALUATIONS),
                provenance=self.provenance_,
                test_vector=new_test_vector(network),
                weights=kept,
                **self._learned(),
            ),
        )

    def export_onnx(
        self,
        path: str | PathLike[str],
        *,
        step: str | PathLike[str] | None = None,
        opset: int = 17,
        counts: bool = True,
        force: bool = False,
    ) -> None:
        """Write the model as an ONNX file (docs/onnx.md), for sequences and batches of any size.

        ``step``: a second file, of one step of streams, with states in and out.  ``opset``: 17 to
        22.  ``counts=False``: of a language model that is mixed with counts the network alone, a
        smaller and faster graph that predicts worse: ``metrics_`` has the perplexities of both.
        All is first run in ONNX Runtime beside the model.  Raises InputError where answers differ,
        for a ``step`` of a network that needs a sequence's end before its beginning, for
        ``counts=False`` of a model without counts, and as ``save`` does; then nothing is written.
        """
        from tidegate.tasks.onnx_file import export

        export(self, path, step=step, opset=opset, counts=counts, force=force)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Self:
        """Read the fitted model from a file.  Raises ModelFileError, also for another task."""
        from tidegate.model.checkpoint import ModelFileError, load_model

        model = load_model(path)
        if model.task != cls.TASK:
            raise ModelFileError(
                f"expected a {cls.TASK}, got a {model.task}; load it with tidegate.load",
                file=path,
            )
        return cls.from_model_file(model, path)

    @classmethod
    def from_model_file(cls, model: ModelFile, path: str | PathLike[str]) -> Self:
        """The fitted model that ``model``, read from ``path``, holds; its test vector is run."""
        from tidegate.model.checkpoint import ModelFileError, verify

        try:
            options = cls.options_from_json(model.options)
            # where a run was kept belongs to that run
            estimator = cls(**options | {"run_folder": None, "resume": False, "force": False})
            estimator.check()
            estimator._restore(model)
        except (KeyError, TypeError, ValueError) as e:
            raise ModelFileError(
                f"options or parts out of schema: {e}; a newer tidegate may read it, or train "
                "the model again",
                file=path,
            ) from e
        network = network_of(model.architecture, model.tensors)
        verify(path, model, run_test(network, model.test_vector))
        if model.weights != "float32":
            network = network_of(model.architecture, model.tensors, model.weights)
        estimator.runtime_ = network
        estimator.metrics_, estimator.provenance_ = model.metrics, model.provenance
        estimator.history_ = model.history
        return estimator

    @classmethod
    def options_from_json(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Arguments of the constructor, of what ``to_json`` gave and a file keeps."""
        return {n: tuple(v) if isinstance(v, list) else v for n, v in values.items()}

    def _learned(self) -> dict[str, Any]:
        """The task's own parts of the model file: encoder, labels, scaling."""
        raise NotImplementedError

    def _restore(self, model: ModelFile) -> None:
        """Take the task's own parts back from the file."""
        raise NotImplementedError
