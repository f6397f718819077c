"""Text becomes token numbers and comes back; bad files and bad descriptions are named."""

import gzip
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.data.text.encoders import CharEncoder, TextEncoder, WordEncoder
from tidegate.data.text.reading import encoder_from_json, read_text, train_encoder
from tidegate.errors import InputError

DATA = Path(__file__).parents[2] / "shared" / "data"
PROSE = (
    'He said: "Don\'t go, Anna (please)!"\n\n"Well-known films aren\'t cheap," she said... '
    "It costs $1,000.50 -- or 100%.\nThe workers' film's end; Mr. Smith's AT&T <unk> don’t.\n"
)
text_of = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)
BPE = train_encoder([PROSE, "naïve café, 日本語, हिन्दी 🙂"], "bpe", 300)


def data(name: str) -> Path:
    path = DATA / name
    if not path.exists():
        pytest.skip(f"{name} is not here")
    return path


@given(text_of.filter(str.strip))
def test_char_decodes_what_it_encoded(text: str):
    encoder = train_encoder([text], "char")
    assert encoder.decode(encoder.encode(text)) == text
    assert encoder.encode(text).dtype == np.int32


@given(text_of.filter(str.strip), text_of)
def test_char_gives_zero_exactly_for_characters_never_seen(known: str, text: str):
    ids = train_encoder([known], "char").encode(text)
    assert [i == 0 for i in ids] == [c not in known for c in text]


def test_char_vocabulary_is_sorted_and_bounded_by_frequency():
    assert train_encoder("abcb", "char").to_json()["characters"] == "abc"
    # size 3 = unknown and the two most frequent characters; ties go to the lower code point
    assert train_encoder("cbabc", "char", vocabulary_size=3).to_json()["characters"] == "bc"
    assert train_encoder("aabbc", "char", min_count=2).to_json()["characters"] == "ab"


@given(text_of)
def test_bpe_decodes_any_text_exactly(text: str):
    assert BPE.decode(BPE.encode(text)) == text


@given(st.lists(st.integers(0, 299), max_size=40))
def test_bpe_decodes_any_tokens_without_error_and_streaming_agrees(ids: list[int]):
    assert "".join(BPE.decode_stream(iter(ids))) == BPE.decode(ids)


def test_bpe_streams_a_character_only_when_its_last_byte_is_there():
    alone = train_encoder("aaa", "bpe", 256)  # bytes only
    assert list(alone.decode_stream(alone.encode("é日"))) == ["é", "日"]


def test_bpe_training_gives_the_same_merges_twice():
    assert train_encoder(PROSE, "bpe", 320).to_json() == train_encoder(PROSE, "bpe", 320).to_json()


def test_bpe_batches_equal_single_texts():
    texts = [PROSE, "", "naïve", "日本"] * 300
    for single, batched in zip(map(BPE.encode, texts), BPE.encode_batch(texts), strict=True):
        np.testing.assert_array_equal(single, batched)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("a quiet, lovely film.", "a quiet , lovely film ."),
        ("Don't! It's the film's end", "Do n't ! It 's the film 's end"),
        ("well-known AT&T o'clock l'homme", "well - known AT&T o'clock l'homme"),
        ("1,000.50 wait... no--yes", "1,000.50 wait ... no -- yes"),
        ('"Yes," (he) said<br />so', '" Yes , " ( he ) said <br /> so'),
        ("हिन्दी café, naïve", "हिन्दी café , naïve"),
        ("我喜欢iPhone手机，很好！", "我 喜 欢 iPhone 手 机 ， 很 好 ！"),
        ("これはコンピュータです。", "こ れ は コンピュータ で す 。"),
        ("ภาษาไทย ดี", "ภ า ษ า ไ ท ย ดี"),
        ("한국어 문장입니다.", "한국어 문장입니다 ."),
    ],
)
def test_prose_is_cut_at_the_edges_of_words(text: str, tokens: str):
    encoder = train_encoder(text, "word")
    assert [encoder.decode([i]) for i in encoder.encode(text)] == _spelt(tokens)


def test_compounds_stay_whole_where_sentences_are_written():
    encoder = train_encoder("a well-known film", "word", sentences=True)
    assert encoder.decode(encoder.encode("a well-known film")) == "a well-known film\n"
    assert len(encoder.encode("well-known")) == 3  # with its frame


def _spelt(tokens: str) -> list[str]:
    return tokens.replace("<br /", "<br\0/").replace(" ", "\n").replace("\0", " ").split("\n")


def test_words_read_like_prose_after_decoding():
    encoder = train_encoder(PROSE, "word", sentences=True)
    assert encoder.decode(encoder.encode(PROSE)) == (
        'He said: "Don\'t go, Anna (please)!"\n"Well-known films aren\'t cheap," she said... '
        "It costs $1,000.50 -- or 100%.\nThe workers' film's end; Mr. Smith's AT&T <unk> don’t.\n"
    )


@given(st.lists(st.sampled_from(PROSE.split() + ["\n", '"', "'", "``", "("]), max_size=30))
def test_words_stream_as_they_decode_and_encode_again_to_the_same_words(parts: list[str]):
    encoder = train_encoder(PROSE, "word")
    ids = encoder.encode(" ".join(parts))
    text = encoder.decode(ids)
    assert "".join(encoder.decode_stream(iter(ids.tolist()))) == text
    assert "  " not in text


def test_sentences_are_framed_and_a_prompt_is_left_open():
    encoder = train_encoder("the film, the end\n\nthe end\n", "word", sentences=True)
    start, end = encoder.start_id, encoder.end_id
    the, film = encoder.encode("the film")[1:-1]
    assert encoder.encode("the\r\n \nthe").tolist() == [start, the, end, start, the, end]
    assert encoder.encode_prompt("the film").tolist() == [start, the, film]
    assert encoder.encode_prompt("").tolist() == [start]
    assert encoder.encode("").tolist() == []


def test_text_cannot_forge_the_frame_of_a_sentence():
    for tokenised in (True, False):
        encoder = WordEncoder(["a", "<unk"], sentences=True, tokenised=tokenised)
        ids = encoder.encode("a <s> a </s> <unk>").tolist()
        assert ids.count(encoder.start_id) == ids.count(encoder.end_id) == 1


def test_literal_unknown_word_is_the_unknown_token():
    encoder = train_encoder("the <unk> end", "word")
    assert encoder.encode("the <unk>")[1] == encoder.encode("zebra")[0] == encoder.unknown_id
    assert encoder.size == 3


def test_word_vocabulary_keeps_the_most_frequent_within_its_size():
    encoder = train_encoder("b b b a a c", "word", vocabulary_size=3)
    assert encoder.to_json()["words"] == ["b", "a"]
    assert train_encoder("b b a a c", "word", min_count=2).to_json()["words"] == ["a", "b"]


def test_lowercase_applies_to_training_and_encoding():
    for level in ("char", "word", "bpe"):
        encoder = train_encoder("The END the", level, lowercase=True)
        np.testing.assert_array_equal(encoder.encode("THE end"), encoder.encode("the end"))
        assert encoder.decode(encoder.encode("THE END")) == "the end"


def test_tokenised_text_keeps_its_words_and_prose_does_not():
    tokenised = "mr. smith of u.s. corp. did n't pay $ N million\nthe company 's workers ' pay\n"
    encoder = train_encoder(tokenised, "word", sentences=True)
    assert encoder.to_json()["tokenised"] is True
    assert len(encoder.encode(tokenised)) == len(tokenised.split()) + 2 * 2
    assert encoder.decode(encoder.encode(tokenised)) == (
        "mr. smith of u.s. corp. didn't pay $N million\nthe company's workers' pay\n"
    )
    # a prompt typed as prose still finds its words
    assert 0 not in encoder.encode_prompt("the company's, mr. smith"[:11])
    assert train_encoder(PROSE, "word", sentences=True).to_json()["tokenised"] is False


def test_penn_treebank_has_its_published_number_of_targets():
    names = ("train", "valid", "test")
    texts = {name: read_text(data(f"ptb/ptb.{name}.txt.gz")) for name in names}
    encoder = train_encoder(texts["train"], "word", sentences=True)
    counts = {}
    for name, text in texts.items():
        ids = encoder.encode(text)
        counts[name] = int((ids != encoder.start_id).sum())
    assert counts == {"train": 929_589, "valid": 73_760, "test": 82_430}
    assert encoder.size == 10_000 + 1  # the published vocabulary counts </s> but not <s>


def test_war_and_peace_encodes_by_characters_in_well_under_a_second():
    text = read_text(data("warpeace/warpeace_input.txt.gz"))
    assert text.startswith('"Well, Prince')
    assert text.count("\r\n") == text.count("\n") > 60_000
    started = time.perf_counter()
    encoder = train_encoder(text, "char")
    ids = encoder.encode(text)
    assert time.perf_counter() - started < 1
    assert encoder.decode(ids) == text
    assert len(ids) == len(text)


ENCODERS = [
    train_encoder(PROSE, "char", lowercase=True),
    train_encoder(PROSE, "word"),
    train_encoder(PROSE, "word", sentences=True, vocabulary_size=20),
    BPE,
]


@pytest.mark.parametrize("encoder", ENCODERS, ids=lambda e: e.level)
def test_json_round_trip_gives_the_same_encoder(encoder: TextEncoder):
    description = json.loads(json.dumps(encoder.to_json()))
    again = encoder_from_json(description)
    assert again.to_json() == encoder.to_json() == description
    assert (again.level, again.size, again.unknown_id) == (
        encoder.level,
        encoder.size,
        encoder.unknown_id,
    )
    assert (again.start_id, again.end_id) == (encoder.start_id, encoder.end_id)
    text = PROSE + "unseen ЖЖ"
    np.testing.assert_array_equal(again.encode(text), encoder.encode(text))


@pytest.mark.parametrize("encoder", ENCODERS, ids=lambda e: e.level)
def test_unknown_missing_and_badly_typed_keys_are_refused_by_name(encoder: TextEncoder):
    description = encoder.to_json()
    with pytest.raises(ValueError, match="surprise"):
        encoder_from_json(description | {"surprise": 1})
    for key in description:
        rest = {k: v for k, v in description.items() if k != key}
        with pytest.raises(ValueError, match=key):
            encoder_from_json(rest)
        with pytest.raises(ValueError, match=key):
            encoder_from_json(description | {key: 1})


@pytest.mark.parametrize(
    "description",
    [
        None,
        [],
        {"level": []},
        {"level": "char", "characters": "ba", "lowercase": False},
        {"level": "char", "characters": "aa", "lowercase": False},
        {"level": "char", "characters": "a\ud800", "lowercase": False},
        {"level": "bpe", "merges": ["a b", "x"], "lowercase": False},
        {"level": "bpe", "merges": ["ab c"], "lowercase": False},
        {"level": "bpe", "merges": [1], "lowercase": False},
        ENCODERS[1].to_json() | {"words": ["a", "a"]},
        ENCODERS[1].to_json() | {"words": ["a", "<unk>"]},
        ENCODERS[1].to_json() | {"words": ["a", "x" * 201]},
        ENCODERS[1].to_json() | {"words": ["\udc80"]},
    ],
)
def test_contradictory_descriptions_are_value_errors(description: object):
    with pytest.raises(ValueError, match="."):
        encoder_from_json(description)


def test_token_numbers_outside_the_vocabulary_are_refused():
    for encoder in ENCODERS:
        for wrong in (-1, encoder.size):
            with pytest.raises(ValueError, match=r"token numbers must lie in \[0, "):
                encoder.decode([wrong])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("", "char"), "expected text"),
        ((["", " \n"], "word"), "expected text"),
        (([], "bpe"), "expected text"),
        (("abc", "letters"), "level: expected char, word or bpe"),
        (("abc", "bpe", 255), "vocabulary_size: expected 256"),
        (("abc", "word", 1), "vocabulary_size: expected 2 to"),
        (("abc", "char", None, 2), "seen 2 times"),
        (("abc", "word", None, 2), "seen 2 times"),
        (("abc", "word", None, 0), "min_count"),
        (("abc", "char", None, 1, False, True), "expected level word, .*got level char"),
        (("a\ud800", "word"), "lone surrogate at character 1"),
    ],
)
def test_unusable_training_arguments_are_input_errors(arguments: tuple, message: str):
    with pytest.raises(InputError, match=message):
        train_encoder(*arguments)


def test_lone_surrogates_are_refused_at_every_level():
    for encoder in ENCODERS:
        with pytest.raises(InputError, match="lone surrogate at character 2"):
            encoder.encode("ab\udc80")


@pytest.mark.parametrize("level", ["char", "word", "bpe"])
@pytest.mark.parametrize("piece", ["x", " ", "1.", "<a"])
def test_a_million_characters_without_a_break_are_fine(level: str, piece: str):
    text = piece * (1_000_000 // len(piece)) + "\n"
    encoder = train_encoder(text + " a", level, 300)
    started = time.perf_counter()
    encoder.encode(text)
    assert time.perf_counter() - started < 10  # quadratic work would take an hour


def test_read_text_drops_the_byte_order_mark_and_keeps_line_ends(tmp_path: Path):
    plain, packed = tmp_path / "a.txt", tmp_path / "a.txt.gz"
    content = "\ufeffone\r\ntwo\nthrée".encode()
    plain.write_bytes(content)
    packed.write_bytes(gzip.compress(content))
    assert read_text(plain) == read_text(str(packed)) == "one\r\ntwo\nthrée"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty file"),
        (b" \n\t", "white space only"),
        (b"fine\nfine\ncaf\xe9\n", r"line 3: expected UTF-8, got byte 0xE9; .*encoding='cp1252'"),
        (b"\xef\xbb\xbfcaf\xe9\n", r"line 1: expected UTF-8, got byte 0xE9"),
        (b"fine\nno\0pe", "line 2: expected text, got a NUL"),
        ("text".encode("utf-16-le"), "NUL byte; it looks like utf-16-le: .*encoding='utf-16-le'"),
        (
            gzip.compress(b"some text here" * 99, mtime=0)[:-12],
            "whole gzip file, got a damaged one",
        ),
        (gzip.compress(b"abc", mtime=0) + b"junk", "damaged"),
        (gzip.compress(b"", mtime=0), "empty file"),
    ],
)
def test_unreadable_text_files_give_one_line(tmp_path: Path, content: bytes, message: str):
    path = tmp_path / "book.txt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read_text(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_missing_file_folder_and_false_gzip_are_named(tmp_path: Path):
    with pytest.raises(InputError, match="nothing of that name"):
        read_text(tmp_path / "none.txt")
    with pytest.raises(InputError, match="got a folder"):
        read_text(tmp_path)
    (tmp_path / "a.gz").write_bytes(b"plain")
    with pytest.raises(InputError, match="expected gzip data"):
        read_text(tmp_path / "a.gz")


def _fresh_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout + done.stderr


def test_characters_and_words_work_without_tokenizers_and_import_nothing_heavy():
    assert not _fresh_python(
        "import sys; sys.modules['tokenizers'] = None\n"
        "from tidegate.data.text.reading import train_encoder\n"
        "for level in ('char', 'word'): train_encoder('a b', level).encode('a')\n"
        "assert not {'torch', 'polars', 'matplotlib'} & set(sys.modules)\n"
        "try: train_encoder('a b', 'bpe')\n"
        "except ValueError as error: assert 'pip install tokenizers' in str(error), error\n"
        "else: raise AssertionError"
    )


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="needs fork")
def test_tokenising_before_and_after_a_fork_prints_nothing():
    assert not _fresh_python(
        "import os\n"
        "os.environ.pop('TOKENIZERS_PARALLELISM', None)\n"
        "from tidegate.data.text.reading import train_encoder\n"
        "encoder = train_encoder('some text ' * 50, 'bpe', 260)\n"
        "encoder.encode_batch(['some text'] * 99)\n"
        "child = os.fork()\n"
        "encoder.encode_batch(['some text'] * 99)\n"
        "if child: assert os.waitpid(child, 0)[1] == 0\n"
        "else: os._exit(0)"
    )


def test_char_encoder_refuses_unsorted_characters():
    with pytest.raises(ValueError, match="sorted and distinct"):
        CharEncoder("ba")


def test_a_vocabulary_too_long_for_a_model_file_is_refused_before_training(monkeypatch):
    monkeypatch.setattr("tidegate.data.text.reading.MAX_VOCABULARY_BYTES", 400)
    prose = " ".join(f"word{i}" for i in range(100)) + " word1 word2"
    with pytest.raises(InputError, match="lower vocabulary_size or raise min_count"):
        train_encoder(prose, "word")
    # either remedy helps
    assert train_encoder(prose, "word", vocabulary_size=9).size == 9
    assert train_encoder(prose, "word", min_count=2).size == 3


@pytest.mark.parametrize(
    "text",
    ["他说：“这部电影很好”，就走了。", "これは本です。「はい」と言う。", "ฉันรักภาษาไทยมาก"],
)
def test_scripts_without_spaces_are_cut_into_characters_and_set_again_without(text: str):
    encoder = train_encoder(text * 3, "word")
    assert encoder.decode(encoder.encode(text)) == text


def test_a_text_cut_into_words_beforehand_keeps_them_in_any_script():
    text = "我 觉得 这 部 电影 很 好 ， 音乐 也 好 。"
    encoder = train_encoder(text, "word", sentences=True)
    assert len(encoder.encode("觉得 电影")) == 4  # with its frame
    assert encoder.decode(encoder.encode(text)) == text.replace(" ", "") + "\n"


def test_a_text_without_spaces_is_learned_by_characters():
    text = "acgtgatacagcta" * 20
    with pytest.raises(InputError, match="280 characters; .* level='char' or level='bpe'"):
        train_encoder(text, "word")
    assert train_encoder(text, "char").size == 5
    assert train_encoder(text, "bpe", 300).size > 256
    with pytest.raises(InputError, match="words seen 9 times or more, got none; lower min_count"):
        train_encoder("each word is here once", "word", min_count=9)
