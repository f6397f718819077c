"""Small models of every task with random weights, of any cell: nothing is trained."""

from __future__ import annotations

from typing import Any

import numpy as np

import tidegate as tg
from tidegate.data.sequences.convolutions import Convolutions
from tidegate.data.sequences.evidence import SHORTEST, SequenceEvidence, points_of
from tidegate.data.sequences.inputs import SequenceInputs
from tidegate.data.series.scaling import Scaler
from tidegate.data.series.windowing import Windowing
from tidegate.data.text.conditions import Conditions
from tidegate.data.text.encoders import BpeEncoder, CharEncoder, WordEncoder
from tidegate.data.text.evidence import answers_of_labels, learn_evidence
from tidegate.data.text.ngrams import KneserNey
from tidegate.model.architecture import Architecture
from tidegate.runtime.mixture import Mixture
from tidegate.runtime.network import Network
from tidegate.tasks.kinds.one_label import OneLabel

WORDS = ["a", "bad", "film", "good", "not", ",", "the", "so"]
TEXT = "the good film, not so bad\nso bad a film\n\nnot the good\n"


def network(seed: int = 0, **of_task: Any) -> Network:
    """Asymmetric random weights; two layers, of which the projected have half their width."""
    values: dict[str, Any] = {
        "cell": "gru", "vocabulary_size": None, "input_size": None, "embedding_size": None,
        "hidden_sizes": (6, 4), "bidirectional": False, "readout": "last", "output_size": 3,
        "batch_norm": False, "embedding_dropout": 0.5, "dropout": 0.5, "recurrent_dropout": 0.2,
    }  # fmt: skip
    architecture = Architecture(**values | of_task)
    rng = np.random.default_rng(seed)
    tensors = {
        name: (rng.random(shape) + 0.2 if "running" in name else 0.7 * rng.standard_normal(shape))
        for name, shape in architecture.tensor_shapes().items()
    }
    return Network(architecture, {n: t.astype(np.float32) for n, t in tensors.items()})


def text_classifier(level: str = "word", *, evidence: bool = False, **of_network: Any) -> Any:
    model = tg.TextClassifier(level=level, bidirectional=False, evidence=evidence)
    model.encoder_ = WordEncoder(WORDS, lowercase=True) if level == "word" else _characters()
    model.classes_ = np.array(["bad", "good", "so so"])
    model.kind_ = OneLabel(model.classes_)
    model.evidence_ = model.conditions_ = None
    if evidence:
        texts = [["good", "film"], ["bad", "film"], ["not", "good"], ["so", "so"]] * 2
        model.evidence_, _ = learn_evidence(texts, answers_of_labels(np.array([1, 0, 0, 2] * 2), 3))
        of_network["evidence_size"] = model.evidence_.width
    sizes = {"vocabulary_size": model.encoder_.size, "embedding_size": 5}
    model.runtime_ = network(**sizes | of_network)
    return model


def language_model(level: str = "char", **of_network: Any) -> Any:
    """Words and BPE tokens are mixed with counts, in random shares; characters are not."""
    model = tg.LanguageModel(level=level)
    encoders: dict[str, Any] = {
        "char": _characters,
        "word": lambda: WordEncoder(WORDS, sentences=True),
        "bpe": lambda: BpeEncoder([("t", "h"), ("th", "e"), ("o", "o")]),
    }
    model.encoder_ = encoder = encoders[level]()
    sizes = {"vocabulary_size": encoder.size, "embedding_size": 5, "output_size": encoder.size}
    model.runtime_ = network(readout="every", **sizes | of_network)
    model.counts_, model.conditions_ = None, None
    if level != "char":
        tokens = encoder.encode(TEXT * 2)
        counted = KneserNey.fit(tokens, tokens, encoder.size, encoder.start_id, 3).pruned(1000)
        shares = np.random.default_rng(1).standard_normal((3, counted.width + 1))
        model.counts_ = Mixture(counted, shares.astype(np.float32))
    return model


def sequence_model(
    kind: type[Any],
    channels: int = 2,
    segment: int = 1,
    *,
    own_scale: bool = False,
    evidence: int | None = None,
    **more: Any,
) -> Any:
    """``evidence``: the median length of the sequences that it was learned from."""
    model = kind(bidirectional=False, own_scale=own_scale)
    scaler = Scaler(np.linspace(-1, 3, channels), np.linspace(0.5, 2, channels))
    model.inputs_ = SequenceInputs(scaler=scaler, segment=segment, own_scale=own_scale)
    size: dict[str, Any] = {"output_size": 1}
    if kind is tg.SequenceClassifier:
        model.classes_ = np.array([4, 7, 9])
        size["output_size"] = 3
    else:
        model.target_ = Scaler(np.array([40.0]), np.array([3.0]))
    model.evidence_ = None
    if evidence is not None:
        model.evidence_ = sequence_evidence(evidence, channels, size["output_size"])
        size["linear_steps"] = 1
    size["input_size"] = model._reading.input_size
    model.runtime_ = network(**size | more)
    return model


def sequence_evidence(length: int, channels: int, outputs: int) -> SequenceEvidence:
    """Kernels as they are fitted to noise, and random weights of 0.05 on what they find."""
    rng = np.random.default_rng(2)
    noise = list(rng.standard_normal((9, max(length, SHORTEST), 2 * channels), np.float32))
    kernels = Convolutions.fit(noise, 1000, groups=2)
    features = kernels.size + 2 * channels * points_of(length) + channels + 1
    weights = rng.standard_normal((features, outputs), np.float32) / 20
    return SequenceEvidence(kernels, length, weights, rng.standard_normal(outputs, np.float32))


def music_model(*, repeats: bool = True, conditions: bool = False, **of_network: Any) -> Any:
    """Of seven notes, untrained."""
    model = tg.MusicModel(repeats=repeats)
    model.outputs_ = ("C4", "D4", "E4", "F4", "G4", "A4", "B4")
    model.provenance_ = {"steps_per_beat": 4}
    model.conditions_ = None
    if conditions:
        model.conditions_ = Conditions.learn({"style": ["slow", "quick"], "year": [1700.0, 1750.0]})
    sizes = {"input_size": model._reading(7).width, "output_size": 7}
    model.runtime_ = network(readout="every", **sizes | of_network)
    return model


def rolls(count: int, steps: int, outputs: int = 7) -> list[np.ndarray]:
    """Random ones, the second a step longer than the first, and so on."""
    rng = np.random.default_rng(3)
    return [(rng.random((steps + k, outputs)) < 0.3).astype(np.uint8) for k in range(count)]


def forecaster(*, joint: bool = False, covariates: int = 0, **of_network: Any) -> Any:
    names = ("x", "y")
    model = tg.Forecaster(joint=joint, horizon=3)
    extra = Scaler(np.full(covariates, 2.0), np.full(covariates, 0.5)) if covariates else None
    model.provenance_, model.statics_ = {}, None
    model.windowing_ = w = Windowing(
        names=names, covariate_names=tuple(f"z{k}" for k in range(covariates)),
        step=np.timedelta64(3600, "s"), context=8, horizon=3, season=4, segment=2, joint=joint,
        anchored=True, scaler=Scaler(np.array([10.0, -5.0]), np.array([2.0, 0.1])),
        covariate_scaler=extra,
    )  # fmt: skip
    model.runtime_ = network(input_size=w.input_size, output_size=w.output_size, **of_network)
    return model


def _characters() -> CharEncoder:
    return CharEncoder("".join(sorted(set(TEXT))))
