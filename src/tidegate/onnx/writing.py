"""The bytes of an ONNX file: a network's graph, what is told of it, checked in ONNX Runtime."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from tidegate.errors import InputError
from tidegate.onnx.checking import check_step, check_whole
from tidegate.onnx.network import step_model, whole_model
from tidegate.runtime.network import Network

METADATA_KEY = "tidegate"
_LARGEST = 2**31 - 2**20  # bytes of a protobuf message, less what is not weights


def whole_bytes(
    network: Network,
    opset: int,
    version: str,
    told: Mapping[str, Any],
    vector: Mapping[str, np.ndarray],
) -> bytes:
    """The model over whole sequences.  Raises InputError unless its answers are the network's."""
    _need_room(network)
    data = _told(whole_model(network, opset, version), {**told, "graph": "whole", "states": []})
    check_whole(data, network, vector)
    return data


def step_bytes(network: Network, opset: int, version: str, told: Mapping[str, Any]) -> bytes:
    """The model of one step of streams.  Raises InputError as `whole_bytes`, and for a network
    that reads in both directions.
    """
    _need_room(network)
    model, pairs = step_model(network, opset, version)
    states = [{"input": p.input, "output": p.output, "width": p.width} for p in pairs]
    data = _told(model, {**told, "graph": "step", "states": states})
    check_step(data, network, pairs)
    return data


def _told(model: Any, values: Mapping[str, Any]) -> bytes:
    from onnx import helper

    text = json.dumps(values, ensure_ascii=False, allow_nan=False, sort_keys=True)
    helper.set_model_props(model, {METADATA_KEY: text})
    return model.SerializeToString(deterministic=True)


def _need_room(network: Network) -> None:
    size = sum(tensor.nbytes for tensor in network.tensors.values())
    if size > _LARGEST:
        raise InputError(
            f"expected weights of less than 2 GiB, which one ONNX file can hold, got {size:,} "
            "bytes; train with a smaller vocabulary or smaller layers"
        )
