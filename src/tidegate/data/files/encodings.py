"""Text out of bytes: UTF-8 unless told otherwise, UTF-16 where its mark says so, a guess in errors.

A guess only names an option to try: text is never decoded by one, since every code page of one
byte a character decodes any file.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from os import PathLike
from typing import Final

from tidegate.errors import InputError, shown, spelled

__all__ = ["check_encoding", "decode", "encoding_of", "lines_of", "looks_like"]

# The longer mark first: that of UTF-32 begins with the one of UTF-16.
_MARKS: Final = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_SAMPLE: Final = 100_000  # bytes that a guess looks at
# Of ties the first wins: Hangul is all common Chinese characters, Hebrew all lower-case Cyrillic.
_MULTIBYTE: Final = {  # first bytes of what texts are made of
    "euc_kr": (0xB0, 0xC8),  # syllables of Hangul
    "gb18030": (0xA1, 0xD7),  # punctuation, and the 3,755 characters in frequent use
    "big5": (0xA1, 0xC6),
    "shift_jis": (0x81, 0x97),
    "euc_jp": (0xA1, 0xCF),
}
_SCRIPTS: Final = {
    "cp1252": "LATIN",
    "cp1250": "LATIN",
    "cp1255": "HEBREW",
    "cp1251": "CYRILLIC",
    "koi8-r": "CYRILLIC",
    "cp1253": "GREEK",
    "cp1256": "ARABIC",
}
_PUNCTUATION: Final = "–—‘’“”„…«»°€£©®½·"  # of Western texts, beside letters


def check_encoding(name: str) -> None:
    """Raise InputError unless ``name`` is an encoding of text."""
    try:
        usable = "a".encode(name).decode(name) == "a"
    except (LookupError, ValueError, TypeError):
        usable = False
    if not usable:
        expected = "expected the name of an encoding, such as cp1252, cp1251, gb18030 or utf-16-le"
        raise InputError(f"{expected}, got {shown(name)}; name one", option="encoding")


def decode(data: bytes, path: str | PathLike[str], encoding: str | None = None) -> str:
    """The text of bytes without their byte order mark, line ends as they are.

    They are UTF-8, or UTF-16 or UTF-32 if they begin with its byte order mark, unless an
    ``encoding`` is named.  Raises InputError with the line of the first byte that cannot be text,
    and the encoding that the file looks like.
    """
    marked = next((name for mark, name in _MARKS.items() if data.startswith(mark)), None)
    expected = encoding or marked or "utf-8"
    if encoding is not None:
        check_encoding(encoding)
    try:
        text = data.decode(expected)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        problem = f"expected {expected.upper()}, got byte 0x{data[error.start]:02X}"
        raise InputError(f"{problem}; {_remedy(data)}", file=path, line=line) from None
    text = text.removeprefix("\ufeff")
    if (position := text.find("\0")) >= 0:
        problem = f"expected text, got a NUL byte; {_remedy(data)}"
        raise InputError(problem, file=path, line=text.count("\n", 0, position) + 1)
    return text


def encoding_of(data: bytes, encoding: str | None = None) -> str:
    """The encoding in which text is written as in ``data``, with its byte order mark."""
    marked = next((name for mark, name in _MARKS.items() if data.startswith(mark)), None)
    own = "utf-8-sig" if data.startswith(codecs.BOM_UTF8) else "utf-8"
    return encoding or marked or own


def lines_of(text: str) -> list[str]:
    r"""Lines, which end with \n, \r\n or \r; an end after the last begins no other."""
    lines = re.split(r"\r\n|\r|\n", text)
    return lines if lines[-1] else lines[:-1]


def _remedy(data: bytes) -> str:
    sample = data[:_SAMPLE].decode("utf-8", "replace")
    if sum(c > "\x7f" for c in sample) > 2 * sample.count("\ufffd") and "\0" not in sample:
        return "it is UTF-8 elsewhere: correct this place"
    guess = looks_like(data)
    if guess is None:
        return "this is no text in an encoding known here; write the file as text in UTF-8"
    return f"it looks like {guess}: read it with {spelled('encoding', guess)}"


def looks_like(data: bytes) -> str | None:
    """The likeliest encoding of bytes that are not UTF-8; None where none is likely.

    Of bytes that are mostly ASCII, cp1252.  Else the encoding in which most of the other
    characters are lower-case letters of one script, or common characters of Chinese, Japanese and
    Korean.
    """
    data = data[:_SAMPLE]
    controls = len(re.findall(rb"[\x01-\x08\x0e-\x1a]", data))
    if b"\0" in data:
        return _utf16(data) if controls or 4 * data.count(0) > len(data) else None
    if controls > len(data) // 100:
        return None  # a binary file
    scores = {name: _score(data, name) for name in (*_MULTIBYTE, *_SCRIPTS)}
    best = max(scores, key=scores.__getitem__)
    return best if scores[best] > 0.4 else None


def _utf16(data: bytes) -> str | None:
    """The byte order in which data is text of few alphabets, if it is in one."""
    halves = {"utf-16-le": data[1::2], "utf-16-be": data[::2]}
    name = min(halves, key=lambda name: len(set(halves[name])))
    text = data[: len(data) // 2 * 2].decode(name, "replace")
    strange = sum(unicodedata.category(c) in ("Cc", "Cn", "Co") and c not in "\t\r\n" for c in text)
    return name if text and strange + text.count("\ufffd") <= len(text) // 100 else None


def _score(data: bytes, name: str) -> float:
    """How plausible the characters beyond ASCII are, from 0; above 1 where kana say so."""
    try:
        text = data.decode(name)
    except UnicodeDecodeError as error:
        if error.start < len(data) - 4:  # else the sample may end within a character
            return 0.0
        text = data[: error.start].decode(name)
    others = [c for c in text if c > "\x7f"]
    if not others:
        return 0.0
    kinds = [unicodedata.name(c, "").split(" ")[0] for c in others]
    if name in _MULTIBYTE:
        good = sum(_is_common(c, name) for c in others)
        if name in ("shift_jis", "euc_jp"):
            good += sum(kind in ("HIRAGANA", "KATAKANA") for kind in kinds)
        return good / len(others)
    script = _SCRIPTS[name]
    # in a wrong code page small letters become capitals, and stand within words
    inner = re.findall(r"(?<=[^\W\d_])[^\W\d_]", text)
    capitals = 0 if script == "LATIN" else sum(c.isupper() and c > "\x7f" for c in inner)
    good = sum(kind == script and c.isalpha() for c, kind in zip(others, kinds, strict=True))
    good = max(0, good - capitals)
    if script == "LATIN":  # letters with accents stand among plain ones
        plain = sum(c.isalpha() for c in text) - good
        good = (good + sum(c in _PUNCTUATION for c in others)) * min(1, plain / (2 * len(others)))
    return good / len(others)


def _is_common(character: str, encoding: str) -> bool:
    """Whether a character is of the part of a multibyte encoding that texts are made of."""
    try:
        code = character.encode("gb2312" if encoding == "gb18030" else encoding)
    except UnicodeEncodeError:
        return False
    low, high = _MULTIBYTE[encoding]
    return len(code) > 1 and low <= code[0] <= high
