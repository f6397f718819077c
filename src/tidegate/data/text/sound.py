"""Sound as a text: a sample is one of 256 symbols, as telephones have them (ITU-T G.711)."""

from __future__ import annotations

import struct
from os import PathLike

import numpy as np

from tidegate.data.files.reading import Taken, name_of, read_bytes
from tidegate.errors import InputError, shown

__all__ = ["Sound", "is_sound_file", "read_wav", "wav_bytes"]

_FIRST = 0x2800  # 256 patterns of Braille: printable, and no two of them are forms of one another
_PCM, _MU_LAW, _EXTENSIBLE = 1, 7, 0xFFFE
_BIAS, _CLIP = 0x84, 32635
_KINDS = {(_PCM, 16), (_PCM, 8), (_MU_LAW, 8)}


class Sound(str):
    """A text of which each character is a sample; ``rate``: samples a second."""

    rate: int

    @classmethod
    def of(cls, codes: np.ndarray, rate: int) -> Sound:
        """The text of samples in mu-law, uint8 [T]."""
        sound = cls("".join(map(chr, (codes.astype(int) + _FIRST).tolist())))
        sound.rate = rate
        return sound


def is_sound_file(path: str | PathLike[str]) -> bool:
    """Whether a file is one of sound by its name, or by its content if that was taken."""
    if isinstance(path, Taken):
        return path.content.startswith(b"RIFF")
    return str(path).lower().removesuffix(".gz").endswith(".wav")


def read_wav(path: str | PathLike[str]) -> Sound:
    """The sound of a WAV file with one channel, of 16 or 8 bits or mu-law.

    Raises InputError for any other file.
    """
    data = read_bytes(path)
    try:
        form, samples = _parts(data)
        if len(form) < 16:
            raise ValueError("a format of too few bytes")
    except (ValueError, struct.error) as error:
        problem = f"expected a WAV file, got one that cannot be read ({error})"
        raise InputError(f"{problem}; save it again", file=name_of(path)) from None
    kind, channels, rate, _, _, bits = struct.unpack("<HHIIHH", form[:16])
    if kind == _EXTENSIBLE and len(form) >= 26:
        (kind,) = struct.unpack("<H", form[24:26])
    if (kind, bits) not in _KINDS or channels != 1 or not 1 <= rate <= 2**20:
        got = f"got {channels} of {bits} bits, kind {kind}, {rate} samples a second"
        problem = f"expected one channel of 16 bits, 8 bits or 8-bit mu-law, {got}"
        remedy = "convert it, such as with: sox FILE -r 8000 -c 1 -e mu-law out.wav"
        raise InputError(f"{problem}; {remedy}", file=name_of(path))
    size = bits // 8
    samples = samples[: len(samples) // size * size]
    if not samples:
        problem = "expected samples, got none"
        raise InputError(f"{problem}; give another file", file=name_of(path))
    if kind == _MU_LAW:
        return Sound.of(np.frombuffer(samples, np.uint8), rate)
    if bits == 16:
        return Sound.of(_compressed(np.frombuffer(samples, "<i2").astype(int)), rate)
    return Sound.of(_compressed((np.frombuffer(samples, np.uint8).astype(int) - 128) * 256), rate)


def wav_bytes(sound: str, rate: int) -> bytes:
    """A WAV file, 8-bit mu-law, of a text of samples.  Raises InputError for other characters."""
    codes = np.array([ord(character) for character in sound], int) - _FIRST
    if ((codes < 0) | (codes > 255)).any():
        other = sound[int(((codes < 0) | (codes > 255)).argmax())]
        problem = f"expected the symbols of sound, got {shown(other)}"
        raise InputError(f"{problem}; take a model that was trained on a .wav")
    samples = codes.astype(np.uint8).tobytes()
    form = struct.pack("<HHIIHHH", _MU_LAW, 1, rate, rate, 1, 8, 0)
    fact = struct.pack("<I", len(samples))
    chunks = [(b"fmt ", form), (b"fact", fact), (b"data", samples)]
    body = b"".join(n + struct.pack("<I", len(c)) + c + bytes(len(c) % 2) for n, c in chunks)
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WAVE" + body


def _parts(data: bytes) -> tuple[bytes, bytes]:
    """The chunks of a WAV file that say its format and hold its samples.  Raises ValueError."""
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise ValueError("it does not begin as one")
    found: dict[bytes, bytes] = {}
    at = 12
    while at + 8 <= len(data):
        name, (size,) = data[at : at + 4], struct.unpack("<I", data[at + 4 : at + 8])
        # programs that write to a pipe do not know the size: then all that is there
        found.setdefault(name, data[at + 8 : at + 8 + size])
        at += 8 + size + size % 2
    if b"fmt " not in found or b"data" not in found:
        raise ValueError("it lacks a format or samples")
    return found[b"fmt "], found[b"data"]


def _compressed(samples: np.ndarray) -> np.ndarray:
    """Samples of 16 bits in mu-law, uint8 [T]: sign, exponent and mantissa, all bits turned."""
    size = np.minimum(np.abs(samples), _CLIP) + _BIAS
    exponent = np.floor(np.log2(size)).astype(int) - 7
    mantissa = size >> (exponent + 3) & 15
    sign = np.where(samples < 0, 0x80, 0)
    return (~(sign | exponent << 4 | mantissa) & 0xFF).astype(np.uint8)
