"""Text cut into words and punctuation, and words set as text again.

Ordinary prose is cut as in the Penn Treebank (Marcus et al. 1993): "film," is two words, "don't"
is "do" and "n't", inner hyphens and points stay.  A text in which punctuation already stands apart
keeps its own words; only , ; : ! ? " ( ) are still cut off, so that a user's prompt is understood.
Scripts that set no spaces between words, such as Chinese, are cut into characters, as their readers
do without a dictionary; a text that was cut into words beforehand keeps these.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Final

from tidegate.data.text.portable import as_ranges, of_any_case, portable

__all__ = ["count", "is_tokenised", "join", "letters_pattern", "portable_pattern", "split"]

_CLITIC: Final = r"(?:n['’]t|['’](?:s|re|ve|ll|m|d))(?!\w)"
_ATTACHED_CLITIC: Final = re.compile(rf"(?<=\w){_CLITIC}", re.IGNORECASE)
_TAG: Final = r"</?\w{1,20} ?/?>"  # <unk>, <br />
_APART: Final = r"['’](?:s|re|ve|ll|m|d)"
_MARKS: Final = r"-{2,}|\.{2,}|[^\w\s]"
_TOKENISED: Final = re.compile(r'[^\s,;:!?"()]+(?:[,;:!?"()]+[^\s,;:!?"()]+)*|[,;:!?"()]')
_STANDING_ALONE: Final = re.compile(rf"(?<!\S)(?:[,;:!?，。；：！？、]|{_CLITIC})(?!\S)")
_ATTACHED: Final = re.compile(rf"(?<=\w)(?:[,;:!?]|{_CLITIC})(?!\S)")
_FULL_WIDTH: Final = (  # 。「」，！（）and the like, no letters and digits
    r"[\u3000-\u3004\u3008-\u3020\u3030\u303d\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65]"
)
_HYPHEN: Final = re.compile(r"(?<=\w)-(?=\w)")
_SAMPLE_CHARACTERS: Final = 4_000_000  # enough to tell; bounds the time on a large corpus

# not after a single letter, as in J. Smith
_SENTENCE_END: Final = re.compile(
    r"""(?<!\b\w)(?P<stop>[.!?…]+["'”’)\]]*\s+)|[。！？]\s*|(?:<br ?/?>\s*)+|\s*\n\s*"""
)
_JOINS_LEFT: Final = re.compile(rf"[,.;:!?)\]}}%…”»।॥،؛؟۔]|''|\.\.+|{_CLITIC}", re.IGNORECASE)
# of Han with its signs, Hiragana, Thai, Lao, Myanmar, Khmer: from each first to its last letter
_UNSPACED_BLOCKS: Final = (
    (0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x2E80, 0x2FDF), (0x3005, 0x309F),
    (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xA9E0, 0xA9FF), (0xAA60, 0xAA7F), (0xF900, 0xFAFF),
    (0x20000, 0x323AF),
)  # fmt: skip
_JOINS_RIGHT: Final = frozenset(["(", "[", "{", "$", "#", "``", "`", "“", "«", "¿", "¡"])


@cache
def _unspaced() -> str:
    """The inside of a class: letters of scripts that set no spaces between words."""
    members = [False] * (_UNSPACED_BLOCKS[-1][1] + 1)
    for first, last in _UNSPACED_BLOCKS:
        for code in range(first, last + 1):
            members[code] = unicodedata.category(chr(code))[0] == "L" or chr(code) == "〇"
    return as_ranges(members)


@cache
def _marks() -> str:
    r"""The same of what \w leaves out: vowels of Hindi, Thai, pointed Hebrew ..., and joiners."""
    marks = [unicodedata.category(chr(code))[0] == "M" for code in range(0x10000)]
    return rf"\u200c\u200d{as_ranges(marks)}"


@cache
def _prose() -> re.Pattern[str]:
    unspaced, marks = _unspaced(), _marks()
    letter = rf"[^\W{unspaced}]"
    letters = rf"(?:{letter}+|[{marks}])(?:[{marks}]++{letter}*)*"
    return re.compile(
        rf"{_TAG}|{_APART}(?!\w)|{letters}(?:[-'’&]{letters}|(?<=\d)[.,](?=\d){letters})*"
        rf"|[{unspaced}][{marks}]*|{_MARKS}"
    )


def letters_pattern() -> str:
    """What finds words of letters and digits alone, one character each where scripts set no spaces.

    For methods that count words and know nothing of punctuation.
    """
    return rf"[^\W{_unspaced()}]+|[{_unspaced()}]"


@cache
def _unspaced_pair() -> re.Pattern[str]:
    """Two characters between which scripts without spaces set none."""
    unspaced, beside = _unspaced(), "“”‘’…—"
    either = rf"[{unspaced}{_marks()}]"
    return re.compile(
        rf".{_FULL_WIDTH}|{_FULL_WIDTH}.|{either}[{unspaced}{beside}]|[{beside}][{unspaced}]"
    )


def spans(text: str) -> list[tuple[int, int]]:
    """Where each word or punctuation mark of a text begins and ends, as a reader parts them."""
    return [match.span() for match in _prose().finditer(text)]


def sentences(text: str) -> list[str]:
    """A text's sentences in order, which together are the text; a line ends one, too."""
    found = _SENTENCE_END.finditer(text)
    # a small letter goes on with what an abbreviation ends
    ends = [e.end() for e in found if not (e["stop"] and text[e.end() : e.end() + 1].islower())]
    parts = zip([0, *ends], [*ends, len(text)], strict=True)
    return [text[start:end] for start, end in parts if text[start:end].strip()]


def split(text: str, *, tokenised: bool = False, compounds: bool = True) -> list[str]:
    """The words and punctuation marks of a text, in order; white space is dropped.

    Without ``compounds`` a hyphen inside a word cuts it: "well-made" is three words.
    """
    if not compounds:
        text = _HYPHEN.sub(" - ", text)
    if tokenised:
        return _TOKENISED.findall(text)
    return _prose().findall(_ATTACHED_CLITIC.sub(r" \g<0>", text))


def portable_pattern(*, tokenised: bool, compounds: bool) -> str:
    """``split`` for any engine: every find of this pattern is a word.

    Where ``split`` sets a space before a clitic or around a hyphen, a word ends here.
    """
    cut = "" if compounds else rf"(?!{_HYPHEN.pattern})"
    if tokenised:
        hyphen = "" if compounds else rf"{_HYPHEN.pattern}|"
        run = rf'(?:{cut}[^\s,;:!?"()])+'
        return portable(rf'{hyphen}{run}(?:[,;:!?"()]+{run})*|[,;:!?"()]')
    clitic = re.sub(r"(?<!\\)[a-z]", lambda found: of_any_case(found[0]), _CLITIC)
    unspaced, marks = _unspaced(), _marks()
    letter = rf"(?:(?![{unspaced}])[\w{marks}])"
    more = rf"{letter}|[-'’&](?={letter})|(?<=\d)[.,](?=\d)"
    word = rf"{letter}(?:(?!(?<=\w){clitic}){cut}(?:{more}))*"
    apart = rf"{_APART}(?:(?!\w)|(?={clitic}))"
    return portable(f"{_TAG}|{apart}|{word}|[{unspaced}][{marks}]*|{_MARKS}")


def count(
    texts: Iterable[str], *, tokenised: bool = False, compounds: bool = True
) -> list[tuple[str, int]]:
    """Every word with its number of occurrences, most frequent first, then by spelling."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(split(text, tokenised=tokenised, compounds=compounds))
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def is_tokenised(texts: Iterable[str]) -> bool:
    """Whether commas, question marks, "'s" and "n't" stand apart more often than attached."""
    apart = attached = characters = 0
    for text in texts:
        sample = text[: _SAMPLE_CHARACTERS - characters]
        apart += len(_STANDING_ALONE.findall(sample))
        attached += len(_ATTACHED.findall(sample))
        characters += len(sample)
        if characters >= _SAMPLE_CHARACTERS:
            break
    return apart > attached


def join(words: Iterable[str], after: str = "") -> Iterator[str]:
    """Readable text of a stream of words, one piece per word, spaces where a writer puts them.

    ``after`` is the text that they follow.  A line break resets the open quotation marks; an empty
    word leaves nothing.
    """
    quotes_open: set[str] = set()
    before = (after.split() or ["\n"])[-1]
    # whether nothing goes between the text so far and the next word
    glued = not after or after[-1].isspace() or before in _JOINS_RIGHT
    for word in words:
        if not word:
            continue
        if word == "\n":
            quotes_open.clear()
            before, glued = word, True
            yield word
            continue
        if word in ('"', "'"):
            possessive = word == "'" and word not in quotes_open and before.endswith("s")
            closes = word in quotes_open or possessive
            if not possessive:
                quotes_open ^= {word}
            joins_left, joins_right = closes, not closes
        else:
            joins_left = _JOINS_LEFT.fullmatch(word) is not None
            joins_right = word in _JOINS_RIGHT
        unspaced = _unspaced_pair().match(before[-1] + word[0]) is not None
        yield word if glued or joins_left or unspaced else " " + word
        before, glued = word, joins_right
