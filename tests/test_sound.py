"""Sound: a language model of samples, and WAV files read and written."""

from __future__ import annotations

import io
import struct
import wave
from pathlib import Path

import numpy as np
import pytest
from command_line import TINY, Tidegate

import tidegate as tg
from tidegate.data.text.sound import Sound, read_wav, wav_bytes
from tidegate.errors import InputError

CODES = np.arange(256, dtype=np.uint8)


def pcm(samples: np.ndarray, rate: int = 8000, channels: int = 1) -> bytes:
    held = io.BytesIO()
    with wave.open(held, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(samples.dtype.itemsize)
        file.setframerate(rate)
        file.writeframes(samples.tobytes())
    return held.getvalue()


def expanded(sound: str) -> np.ndarray:
    """Samples of 16 bits, as ITU-T G.711 decodes mu-law."""
    codes = ~np.array([ord(c) & 0xFF for c in sound]) & 0xFF
    size = (((codes & 15) << 3) + 0x84 << (codes >> 4 & 7)) - 0x84
    return np.where(codes & 0x80, -size, size)


def tone(count: int = 4000) -> np.ndarray:
    return (9000 * np.sin(np.arange(count) * 2 * np.pi / 40)).astype("<i2")


def test_mu_law_is_written_and_read_as_it_is(tmp_path: Path) -> None:
    sound = Sound.of(CODES[:255], 11025)  # an odd number of bytes
    (tmp_path / "a.wav").write_bytes(wav_bytes(sound, 11025))
    again = read_wav(tmp_path / "a.wav")
    assert again == sound
    assert again.rate == 11025
    assert len(set(again)) == 255
    assert again.isprintable()


def test_samples_of_sixteen_and_eight_bits_become_the_nearest_of_mu_law(tmp_path: Path) -> None:
    samples = np.arange(-32768, 32768, 7).astype("<i2")
    (tmp_path / "a.wav").write_bytes(pcm(samples))
    error = np.abs(expanded(read_wav(tmp_path / "a.wav")) - samples.astype(int))
    # half a step: a step doubles with every doubling of the sample
    assert (error <= np.maximum(4, (np.abs(samples.astype(int)) + 132) / 32 + 4))[1:-1].all()
    values = expanded(Sound.of(CODES, 8000))
    levels = np.unique(values[np.abs(values) < 32000])
    (tmp_path / "b.wav").write_bytes(pcm(levels.astype("<i2")))
    np.testing.assert_array_equal(expanded(read_wav(tmp_path / "b.wav")), levels)
    (tmp_path / "c.wav").write_bytes(pcm(np.array([0, 128, 255], np.uint8)))
    low, middle, high = expanded(read_wav(tmp_path / "c.wav"))
    assert (low < -30000, middle, high > 30000) == (True, 0, True)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"no sound", "it does not begin as one"),
        (b"RIFF\0\0\0\0WAVEfmt ", "lacks a format or samples"),
        (pcm(np.zeros((9, 2), "<i2"), channels=2), "convert it, such as with"),
        (pcm(np.zeros(9, "<i4")), "got 1 of 32 bits"),
        (pcm(np.zeros(0, "<i2")), "expected samples, got none"),
        (pcm(tone())[:20], "lacks a format or samples"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(InputError, match=told):
        read_wav(tmp_path / "a.wav")


def test_damaged_files_are_read_or_refused(tmp_path: Path) -> None:
    rng, whole = np.random.default_rng(0), bytearray(pcm(tone(200)))
    for _ in range(300):
        content = whole.copy()
        for place in rng.integers(0, 60, 3):
            content[place] = rng.integers(256)
        (tmp_path / "a.wav").write_bytes(content[: rng.integers(1, len(content))])
        try:
            assert len(read_wav(tmp_path / "a.wav")) > 0
        except InputError:
            continue


def test_a_size_that_a_pipe_left_open_means_all_there_is(tmp_path: Path) -> None:
    content = pcm(tone(50))
    at = content.index(b"data") + 4
    (tmp_path / "a.wav").write_bytes(
        content[:at] + struct.pack("<I", 2**32 - 1) + content[at + 4 :]
    )
    assert len(read_wav(tmp_path / "a.wav")) == 50


def test_sound_is_learned_and_gone_on_with_in_a_file(tidegate: Tidegate) -> None:
    Path("tone.wav").write_bytes(pcm(tone(), 16000))
    options = f"{TINY['language-model']} -o m.safetensors"
    trained = tidegate(f"train language-model tone.wav {options}")
    assert trained.code == 0, trained.err
    assert "perplexity" in trained.out
    assert "--- step" not in trained.out  # a sample of sound says nothing to a reader
    assert tidegate("evaluate m.safetensors tone.wav --json").json["tokens"] == 3999
    line = "generate m.safetensors --length 300 --seed 1"
    made = tidegate(f"{line} -o new.wav --json")
    assert made.json["samples"] == 300
    sound = read_wav("new.wav")
    assert (len(sound), sound.rate) == (300, 16000)
    assert tidegate(f"{line} --prompt tone.wav -o longer.wav").code == 0
    assert read_wav("longer.wav").startswith(read_wav("tone.wav"))
    for option, told in (
        ("-o new.mp3", "expected a name that ends in .wav"),
        ("-o tone.wav", "that tidegate did not write"),
        ("--prompt tone.wav -o tone.wav --force", "none of the files that are read"),
        ("--prompt no.wav", "no.wav: expected a file"),
    ):
        assert told in tidegate(f"{line} {option}").err
    assert tidegate(f"train language-model book.txt {options} --force").code == 0
    assert "expected none for a language-model" in tidegate(f"{line} -o new.wav --force").err


def test_a_text_is_no_sound() -> None:
    with pytest.raises(InputError, match="expected the symbols of sound, got 'a'"):
        wav_bytes("a", 8000)


def test_a_model_of_sound_learns_a_tone_better_than_chance(tmp_path: Path) -> None:
    (tmp_path / "tone.wav").write_bytes(pcm(tone()))
    model = tg.LanguageModel(hidden_sizes=(16,), bptt=20, max_steps=150, verbose=0)
    model.fit(read_wav(tmp_path / "tone.wav"))
    assert model.provenance_["sample_rate"] == 8000
    assert model.metrics_["perplexity"] < 20
