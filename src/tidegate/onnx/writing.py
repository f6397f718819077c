"""The bytes of an ONNX file: a network's graph, what is told of it, checked in ONNX Runtime."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from tidegate.onnx.checking import check_rows, check_step, check_whole
from tidegate.onnx.network import step_model, whole_model
from tidegate.onnx.rows import Reading
from tidegate.runtime.mixture import Mixture
from tidegate.runtime.network import Network

METADATA_KEY = "tidegate"


def whole_bytes(
    network: Network,
    opset: int,
    version: str,
    told: Mapping[str, Any],
    vector: Mapping[str, np.ndarray],
    reading: Reading | None,
    mixture: Mixture | None,
) -> bytes:
    """The model over whole sequences.  Raises InputError unless its answers are the network's, or
    those of the ``mixture`` that it is part of.

    With ``reading``, it reads rows as they were measured; the network within it is checked alone,
    too, since the test vector is what a network reads.
    """
    about = {**told, "graph": "whole", "states": []}
    data = _told(whole_model(network, opset, version, mixture=mixture), about)
    check_whole(data, network, vector, mixture)
    if reading is None:
        return data
    data = _told(whole_model(network, opset, version, reading), about)
    check_rows(data, network, reading)
    return data


def step_bytes(
    network: Network, opset: int, version: str, told: Mapping[str, Any], mixture: Mixture | None
) -> bytes:
    """The model of one step of streams.  Raises InputError as `whole_bytes`, and for a network
    that reads in both directions.
    """
    model, pairs = step_model(network, opset, version, mixture)
    states = [{"input": p.input, "output": p.output, "width": p.width} for p in pairs]
    data = _told(model, {**told, "graph": "step", "states": states})
    check_step(data, network, pairs, mixture)
    return data


def _told(model: Any, values: Mapping[str, Any]) -> bytes:
    from onnx import helper

    text = json.dumps(values, ensure_ascii=False, allow_nan=False, sort_keys=True)
    helper.set_model_props(model, {METADATA_KEY: text})
    return model.SerializeToString(deterministic=True)
