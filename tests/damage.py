"""What damages a file: its bytes, or what it says of itself."""

from __future__ import annotations

import copy
import io
import json
import random
import zipfile
from collections.abc import Callable
from typing import Any

JUNK: list[Any] = [
    None, True, False, -1, 0, 1, 2, 3, 2**31, 2**63, -0.5, 1e300, float("nan"), "", "GRU", "LSTM",
    "softmax", "tanh", "x" * 300, "\x1b[31m", [], [[]], [0], {}, {"a": 1}, "Bidirectional", "é̂",
]  # fmt: skip
ODD = [
    b"\0" * 8,
    b"\xff" * 8,
    b"\xff\xff\xff\x7f",
    b"\x80" * 10 + b"\x01",
    b"{" * 9,
    b'"',
    b"9" * 30,
]


def damaged_bytes(data: bytes, draw: random.Random) -> bytes:
    """A few places overwritten, cut out, doubled, or the file cut short."""
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        at = draw.randrange(len(data) + 1)
        if draw.random() < 0.5:  # where something is
            at = next((k for k in range(at, len(data)) if data[k]), at)
        what, stop = draw.random(), min(len(data), at + draw.randrange(9))
        if what < 0.4:
            data = data[:at] + bytes([draw.randrange(256)]) + data[at + 1 :]
        elif what < 0.6:
            data = data[:at] + draw.choice(ODD) + data[stop:]
        elif what < 0.75:
            data = data[:at] + draw.randbytes(draw.randrange(5)) + data[stop:]
        elif what < 0.9:
            other = draw.randrange(len(data) + 1)
            data = data[:at] + data[other : other + 16] + data[stop:]
        else:
            data = data[:at] or data
    return data


def damaged_onnx(data: bytes, draw: random.Random) -> bytes:
    """Bytes, or what a node or an array says of itself."""
    import onnx

    if draw.random() < 0.5:
        return damaged_bytes(data, draw)
    model = onnx.ModelProto.FromString(data)
    for _ in range(draw.choice((1, 1, 2, 3))):
        if not model.graph.node or not model.graph.initializer:
            break
        node = draw.choice(model.graph.node)
        array = draw.choice(model.graph.initializer)
        number = draw.choice((-1, 0, 1, 2, 3, 7, 2**31, 2**62))
        attribute = draw.choice(node.attribute) if node.attribute else None
        names = [*node.input, *node.output, "", "nothing", "x", "y"]
        changes: list[Callable[[], Any]] = [
            lambda node=node, names=names: node.input.__setitem__(
                draw.randrange(len(node.input)), draw.choice(names)
            ),
            lambda node=node, names=names: node.output.__setitem__(0, draw.choice(names)),
            lambda node=node: node.input.pop(),
            lambda node=node: setattr(node, "op_type", draw.choice(("GRU", "LSTM", "RNN", "Add"))),
            lambda model=model: model.graph.node.pop(draw.randrange(len(model.graph.node))),
            lambda model=model, node=node: model.graph.node.append(node),
            lambda array=array, number=number: array.dims.append(number),
            lambda array=array: array.dims.pop(),
            lambda array=array, number=number: array.dims.__setitem__(0, number),
            lambda array=array: array.ClearField("raw_data"),
            lambda array=array: setattr(array, "data_type", draw.randrange(24)),
            lambda array=array: setattr(array, "data_location", 1),
        ]
        if attribute is not None:
            changes += [
                lambda a=attribute, number=number: setattr(a, "i", max(-1, number)),
                lambda a=attribute: setattr(a, "type", draw.randrange(15)),
                lambda a=attribute: setattr(a, "s", draw.choice((b"reverse", b"\xff", b""))),
                lambda a=attribute: a.strings.append(draw.choice((b"Elu", b"\xff", b"relu"))),
                lambda a=attribute: a.floats.append(draw.choice((1e38, float("nan"), -1.0, 0.5))),
                lambda a=attribute: a.ints.append(draw.choice((-1, 0, 1, 2, 9))),
                lambda a=attribute: setattr(a, "f", draw.choice((1e38, float("nan"), 0.0, 0.5))),
                lambda node=node: node.attribute.pop(),
            ]
        try:
            draw.choice(changes)()
        except (IndexError, ValueError):  # nothing to change there
            continue
    return model.SerializeToString()


def damaged_archive(data: bytes, draw: random.Random) -> bytes:
    """The archive itself, or what is in it, packed again so that its checksums are right."""
    if draw.random() < 0.2:
        return damaged_bytes(data, draw)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = draw.choice(sorted(members))
    if name.endswith(".json") and draw.random() < 0.8:
        values = json.loads(members[name])
        for _ in range(draw.choice((1, 1, 2, 3))):
            _damage_value(values, draw)
        members[name] = json.dumps(values).encode()
    elif draw.random() < 0.05:
        del members[name]
    else:
        members[name] = damaged_bytes(members[name], draw)
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        for one, content in members.items():
            archive.writestr(one, content)
    return held.getvalue()


def damaged_h5(data: bytes, draw: random.Random) -> bytes:
    """Bytes, or the configuration with as many characters as before."""
    if draw.random() < 0.6:
        return damaged_bytes(data, draw)
    at = data.index(b'{"class_name"')
    values, size = json.JSONDecoder().raw_decode(data[at:].decode("latin-1"))
    end = at + size
    _damage_value(values, draw)
    text = json.dumps(values).encode()[: end - at]
    return data[:at] + text.ljust(end - at) + data[end:]


def _damage_value(values: Any, draw: random.Random) -> None:
    """Change what stands at a random place of nested lists and objects."""
    at = values
    while True:
        keys = list(at) if isinstance(at, dict) else list(range(len(at)))
        if not keys:
            return
        key = draw.choice(keys)
        if isinstance(at[key], dict | list) and at[key] and draw.random() < 0.9:
            at = at[key]
            continue
        what, junk = draw.random(), copy.deepcopy(draw.choice(JUNK))
        if what < 0.15:
            del at[key]
        elif what < 0.3 and isinstance(at, list):
            at.insert(key, at[key] if draw.random() < 0.5 else junk)
        else:
            at[key] = junk
        return
