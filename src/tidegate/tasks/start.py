"""How a text task starts: with which encoder and weights, and which options follow from these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np

from tidegate.data.text.encoders import TextEncoder, WordEncoder
from tidegate.data.text.vectors import read_vectors
from tidegate.errors import InputError, spelled
from tidegate.model.checkpoint import load_model
from tidegate.tasks.estimator import Estimator
from tidegate.terminal import path_text

if TYPE_CHECKING:
    from tidegate.nn.network import SequenceNetwork

Model = str | PathLike[str] | Estimator
Models = Model | Sequence[Model]
# What models for two directions must have in common.
_SIZES = (
    *("cell", "hidden_sizes", "projection_size", "num_heads"),
    *("batch_norm", "layer_norm", "residual"),
)


@dataclass(frozen=True, kw_only=True)
class Start:
    """A fresh start, and what the others share.

    ``decides``: values of the options that follow from the weights; ``origin``: where these are
    from, in words.
    """

    encoder: TextEncoder
    decides: dict[str, Any] = field(default_factory=dict)
    origin: str = ""

    def initialise(self, network: SequenceNetwork, seed: int) -> dict[str, Any]:  # noqa: ARG002
        """Set the weights; what the model file's provenance is to say of them."""
        return {}


@dataclass(frozen=True, kw_only=True)
class VectorStart(Start):
    """Word vectors: rows ``positions`` [K] of the embedding are ``vectors`` [K, D]."""

    positions: np.ndarray
    vectors: np.ndarray

    def initialise(self, network: SequenceNetwork, seed: int) -> dict[str, Any]:
        """The other rows are drawn from a normal distribution with the vectors' mean and std."""
        import torch

        assert isinstance(self.encoder, WordEncoder)
        assert network.embedding is not None
        weight = network.embedding.weight
        rng = np.random.default_rng(seed)
        normal = rng.standard_normal(tuple(weight.shape), dtype=np.float32)
        rows = self.vectors.mean(0) + self.vectors.std(0) * normal
        rows[self.positions] = self.vectors
        with torch.no_grad():
            weight.copy_(torch.from_numpy(rows))
        words = len(self.encoder.vocabulary)  # without <unk> and the frame of a sentence
        found = int(np.count_nonzero(self.positions >= self.encoder.size - words))
        return {"embedding_coverage": round(found / words, 4)}


def start_from_vectors(path: str | PathLike[str], encoder: TextEncoder, title: str | None) -> Start:
    """The start from a file of word vectors; ``title`` is that of ``read_vectors``."""
    assert isinstance(encoder, WordEncoder)  # held by TextTask.check
    positions, vectors = read_vectors(path, encoder.words, lowercase=encoder.lowercase, title=title)
    return VectorStart(
        encoder=encoder,
        decides={"embedding_size": vectors.shape[1]},
        origin=path_text(path),
        positions=positions,
        vectors=vectors,
    )


@dataclass(frozen=True, kw_only=True)
class ModelStart(Start):
    """Trained networks, one or one for each direction; ``whole``: with the dense layer."""

    models: Sequence[Estimator]
    whole: bool

    def initialise(self, network: SequenceNetwork, seed: int) -> dict[str, Any]:  # noqa: ARG002
        """What the models do not have is left as it is."""
        from tidegate.nn.transfer import transfer

        sources = [model.network_ for model in self.models]
        a = network.architecture
        if a.layer_norm and sources[0].architecture.directions < a.directions:
            raise InputError(
                f"expected models that know no {spelled('layer_norm')}, which is over both "
                f"directions here, got {self.origin}; train it without, or read in one direction "
                f"with {spelled('bidirectional', False)}",
                option="init_from",
            )
        transfer(network, sources, dense=self.whole)
        directions = sum(source.architecture.directions for source in sources)
        fresh = ["reverse direction"] if directions < network.architecture.directions else []
        if network.evidence is not None and not (self.whole and sources[0].evidence is not None):
            fresh.append("evidence")
        if not self.whole:
            fresh.append("dense layer")
        what = "all weights" if self.whole else "embedding and recurrent layers"
        told = {"taken_over": f"{what} of {self.origin}"}
        return told | ({"started_fresh": ", ".join(fresh)} if fresh else {})


def load_models(given: Models, kinds: Sequence[type[Estimator]]) -> list[Any]:
    """The fitted models among paths and estimators; a path is to one of ``kinds``.

    Raises InputError.
    """
    if not _several(given):
        problem = "expected one trained model or more, got none; leave it out"
        raise InputError(problem, option="init_from")
    for one in _several(given):
        if not isinstance(one, str | PathLike | Estimator):
            raise InputError(
                f"expected model files or fitted models, got {type(one).__name__}; give such",
                option="init_from",
            )
    return [one if isinstance(one, Estimator) else _read(one, kinds) for one in _several(given)]


def _read(path: str | PathLike[str], kinds: Sequence[type[Estimator]]) -> Estimator:
    model = load_model(path)
    for kind in kinds:
        if model.task == kind.TASK:
            return kind.from_model_file(model, path)
    expected = " or ".join(kind.TASK for kind in kinds)
    raise InputError(
        f"expected a model of {expected}, got one of {model.task}; name one",
        file=path,
        option="init_from",
    )


def model_names(given: Models) -> list[str]:
    """The path of each model, or its class if it came without one."""
    return [
        type(one).__name__ if isinstance(one, Estimator) else path_text(one)
        for one in _several(given)
    ]


def _several(given: Models) -> Sequence[Model]:
    return given if isinstance(given, tuple | list) else [given]  # pyright: ignore


def start_from_models(
    models: Sequence[Any], origin: str, *, whole: bool, **decides: Any
) -> ModelStart:
    """The start from models of one vocabulary and one size; further options that they decide.

    Raises InputError where they are not.
    """
    first = models[0].runtime_.architecture
    if any(getattr(model.runtime_.architecture, "condition_size", 0) for model in models):
        raise InputError(
            "expected models that read text alone, got one that was trained with conditions, "
            f"{origin}; name one trained without",
            option="init_from",
        )
    encoder = models[0].encoder_
    for model in models[1:]:
        a = model.runtime_.architecture
        same = [getattr(a, name) == getattr(first, name) for name in _SIZES]
        if not all(same) or model.encoder_.to_json() != encoder.to_json():
            raise InputError(
                "expected models of one vocabulary, cell and size, got others in "
                f"{origin}; train both on the same text with the same options",
                option="init_from",
            )
    return ModelStart(
        encoder=encoder,
        decides={
            "level": encoder.level,
            "lowercase": encoder.lowercase,
            "min_count": models[0].min_count,
            "vocabulary_size": encoder.size,
            "embedding_size": sum(m.runtime_.architecture.embedding_size for m in models),
            **{name: getattr(first, name) for name in _SIZES},
            "chrono": None,  # gates have learned how long to remember
            **decides,
        },
        origin=origin,
        models=models,
        whole=whole,
    )
