"""The models that are served, each by its name: a thread of its own, and what waits for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

from tidegate.data.times.grid import step_to_json
from tidegate.errors import InputError, shown
from tidegate.serving.answers import reads
from tidegate.serving.batcher import Batcher
from tidegate.serving.limits import Limits
from tidegate.serving.metrics import Metrics
from tidegate.serving.problems import unusable
from tidegate.serving.streams import OpenStreams
from tidegate.serving.verbs import VERBS, has
from tidegate.tasks import load


class Model:
    """One fitted model.  ``can``: what it may be asked, the names of verbs among them."""

    def __init__(self, name: str, fitted: Any, limits: Limits, metrics: Metrics) -> None:
        self.name, self.fitted = name, fitted
        self._executor = ThreadPoolExecutor(1, f"batches of {name}")
        verbs = [verb for verb in VERBS if verb.can(fitted)]
        self.batchers = {
            verb.name: Batcher(
                f"{name}/{verb.name}", partial(verb.answer, fitted), self._executor, limits, metrics
            )
            for verb in verbs
        }
        self.streams, self.no_streams = self._streams(limits, metrics)
        self.can = [verb.name for verb in verbs]
        self.can += ["generate"] * has("generate")(fitted) + ["stream"] * (self.streams is not None)

    def _streams(self, limits: Limits, metrics: Metrics) -> tuple[OpenStreams | None, str]:
        try:
            self.fitted.stream()
        except InputError as e:
            return None, str(e)
        return OpenStreams(self.name, self.fitted, self._executor, limits, metrics), ""

    def close(self) -> None:
        """Let go of the thread, which ends what it is at."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def told(self) -> dict[str, Any]:
        """What there is to know of it, in JSON's types."""
        held, network = vars(self.fitted), self.fitted.runtime_
        told = {
            "name": self.name,
            "task": self.fitted.TASK,
            "can": self.can,
            "reads": reads(self.fitted),
            "parameters": network.architecture.parameter_count(),
            "metrics": {n: v for n, v in self.fitted.metrics_.items() if v == v},
        }
        for attribute, (key, tell) in _TOLD.items():
            if held.get(attribute) is not None:
                told[key] = tell(held[attribute])
        if self.no_streams:
            told["no_streams"] = self.no_streams
        return told


def _windowing(w: Any) -> dict[str, Any]:
    return {
        "series": list(w.names),
        "covariates": list(w.covariate_names),
        "known": list(w.known_names),
        "calendar": list(w.calendar),
        "context": w.context,
        "horizon": w.horizon,
        "season": w.season,
        "step": step_to_json(w.step),
        "mean": w.scaler.mean.tolist(),
        "scale": w.scaler.scale.tolist(),
    }


# What is told of learned attributes, and under which key.
_TOLD: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "classes_": ("labels", lambda labels: labels.tolist()),
    "outputs_": ("outputs", list),
    "windowing_": ("rows", _windowing),
    "statics_": ("static", lambda statics: statics.told()),
    "error_quantiles_": ("quantiles", lambda known: [known.levels[0], known.levels[-1]]),
    "encoder_": ("level", lambda encoder: getattr(encoder, "level", "word")),
    "reverse": ("reverse", bool),
    "conditions_": ("conditions", lambda conditions: conditions.told()),
    "inputs_": ("channels", lambda inputs: inputs.channels),
}


def load_all(paths: Sequence[str | PathLike[str]]) -> dict[str, Any]:
    """The fitted models in these files, by the files' names without their endings.

    Raises InputError where two have one name, and as ``load``.
    """
    models: dict[str, Any] = {}
    for path in map(Path, paths):
        if path.stem in models:
            problem = f"expected models of different names, got two called {shown(path.stem)}"
            raise InputError(f"{problem}; rename one", file=path)
        models[path.stem] = load(path)
    return models


def chosen(models: dict[str, Model], name: str | None, verb: str) -> Model:
    """The model of this name, or the only one that can do what is asked.  Raises Problem."""
    able = [model for model in models.values() if verb in model.can]
    listed = ", ".join(model.name for model in able) or "none"
    if name is None:
        if len(able) != 1:
            raise unusable(f"model: expected one, got none; name one that can {verb}: {listed}")
        return able[0]
    if name not in models:
        raise unusable(f"model: expected one of {', '.join(models)}, got {shown(name)}; name one")
    if models[name] not in able:
        why = models[name].no_streams if verb == "stream" else f"a {models[name].fitted.TASK}"
        problem = f"model: expected one that can {verb}, got {name}, {why}"
        raise unusable(f"{problem}; those that can: {listed}")
    return models[name]
