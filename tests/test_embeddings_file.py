"""Files of word vectors: every format's details, and one line for each that is malformed."""

import gzip

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tidegate as tg
from tidegate.data.text.vectors import read_vectors
from tidegate.errors import InputError

GLOVE = b"the 0.5 -1 2e-1\ncat 1 2 3\nThe 9 9 9\ndog 4 5 6\n"
WORDS = ["dog", "the", "bird"]


def read(tmp_path, content, words=WORDS, **options):
    path = tmp_path / "vectors.txt"
    path.write_bytes(content)
    positions, vectors = read_vectors(path, words, **options)
    return {words[i]: vector.tolist() for i, vector in zip(positions, vectors, strict=True)}


FORMS = {
    "glove": GLOVE,
    "word2vec, with a header and spaces at the ends": b"4 3\n" + GLOVE.replace(b"\n", b" \n"),
    "windows line ends": GLOVE.replace(b"\n", b"\r\n"),
    "no last line end": GLOVE.rstrip(),
    "a blank last line": GLOVE + b"\n",
    "a word that is no UTF-8": b"\xff\xfe 7 7 7\n" + GLOVE,
    "a word with spaces": b"name at x.org 7 7 7\n. . . 7 7 7\n" + GLOVE,
    "packed": gzip.compress(GLOVE),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_wanted_words_and_no_others(tmp_path, form):
    content = FORMS[form]
    if form == "a word with spaces":  # the first line says how many numbers there are
        content = GLOVE + content
    found = read(tmp_path, content)
    assert found == {"the": [0.5, -1, pytest.approx(0.2)], "dog": [4, 5, 6]}


def test_of_a_word_that_comes_twice_the_first_line_counts(tmp_path):
    assert read(tmp_path, b"dog 1 2\ndog 3 4\n") == {"dog": [1, 2]}


def test_capitals_serve_a_lower_case_vocabulary_where_nothing_fits_better(tmp_path):
    content = b"The 1 1\nDog 2 2\nDOG 3 3\nthe 4 4\n"
    assert read(tmp_path, content, lowercase=True) == {"the": [4, 4], "dog": [2, 2]}
    assert read(tmp_path, content) == {"the": [4, 4]}


@given(
    vectors=st.dictionaries(
        st.text("aàЯ世.'0-9", min_size=1, max_size=5),
        st.lists(
            st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=2, max_size=2
        ),
        min_size=1,
        max_size=6,
    ),
    header=st.booleans(),
)
def test_what_is_written_is_read(tmp_path_factory, vectors, header):
    lines = [f"{len(vectors)} 2"] * header
    lines += [f"{word} {a!r} {b!r}" for word, (a, b) in vectors.items()]
    content = "\n".join(lines).encode()
    assert read(tmp_path_factory.mktemp("v"), content, list(vectors)) == vectors


WRONG = {
    "too few numbers": (GLOVE + b"dog 4 5\n", "line 5: expected a word and 3 numbers"),
    "too many numbers": (GLOVE + b"emu 1 2 3 4\n", "line 5: expected a word and 3 numbers"),
    "none": (GLOVE + b"emu\n", "line 5: expected a word and 3 numbers"),
    "no number": (b"the 1 2\ndog 4 five\n", "line 2: expected finite numbers, got 'five'"),
    "not finite": (b"dog 1 nan\n", "line 1: expected finite numbers, got 'nan'"),
    "beyond float32": (b"dog 1 1e39\n", "line 1: expected finite numbers, got '1e39'"),
    "tabs": (b"dog\t1\t2\n", "line 1: expected a word and its numbers, one space between"),
    "binary": (b"3 2\nthe \x00\x01\x7f\n", "line 2: expected a word and 2 numbers"),
    "another language": (b"le 1 2\nchien 3 4\n", "vocabulary's 3 words, got one of none"),
    "a header alone": (b"400000 300\n", "got one of none"),
    "damaged": (gzip.compress(GLOVE * 99)[:-9], "expected a whole gzip file"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_malformed_file_is_named_with_its_line(tmp_path, case):
    content, message = WRONG[case]
    with pytest.raises(InputError, match=message) as failure:
        read(tmp_path, content)
    assert failure.value.file == tmp_path / "vectors.txt"


def test_only_the_wanted_words_are_kept_in_memory(tmp_path):
    import tracemalloc

    path = tmp_path / "vectors.txt"
    with path.open("wb") as file:
        for i in range(20_000):
            file.write(b"w%d" % i + b" 0.125" * 50 + b"\n")
    tracemalloc.start()
    positions, vectors = read_vectors(path, ["w19999", "w5"])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert positions.tolist() == [1, 0]
    assert np.array_equal(vectors, np.full((2, 50), 0.125))
    assert peak < path.stat().st_size / 10


# networks that start with them

TEXTS = ["The film was good", "the film was bad", "a bad book", "A good book"] * 10
LABELS = ["good", "bad", "bad", "good"] * 10
VECTORS = b"the 1 2 3\nfilm 4 5 6\nGood 7 8 9\nbad -1 -2 -3\nunused 0 0 0\n"


@pytest.fixture
def vectors(tmp_path):
    path = tmp_path / "vectors.txt.gz"
    path.write_bytes(gzip.compress(VECTORS))
    return path


def classifier(**options):
    quiet = {"verbose": 0, "max_steps": 2, "hidden_sizes": (4,)}
    return tg.TextClassifier(**{**quiet, **options})


def rows(model):
    weights = model.network_.embedding.weight.detach().numpy()
    return dict(zip(model.encoder_.words, weights, strict=True))


def test_known_words_start_with_their_vectors_and_others_like_them(vectors, capsys):
    model = classifier(embeddings=vectors, freeze_embeddings=True, verbose=1)
    model.fit(TEXTS, LABELS)
    assert model.runtime_.architecture.embedding_size == 3
    found = rows(model)
    for word, vector in {"the": [1, 2, 3], "good": [7, 8, 9], "bad": [-1, -2, -3]}.items():
        assert found[word].tolist() == vector
    assert "unused" not in found
    known = set(model.encoder_.vocabulary)  # the film was good bad a book
    assert model.provenance_["embedding_coverage"] == round(4 / len(known), 4)
    assert f"embedding coverage: {round(4 / 7, 4)}" in capsys.readouterr().out
    again = classifier(embeddings=vectors, freeze_embeddings=True).fit(TEXTS, LABELS)
    other = classifier(embeddings=vectors, freeze_embeddings=True, seed=1).fit(TEXTS, LABELS)
    assert np.array_equal(rows(again)["book"], found["book"])
    assert not np.array_equal(rows(other)["book"], found["book"])


def test_absent_words_have_the_mean_and_deviation_of_those_found(tmp_path):
    rng = np.random.default_rng(0)
    content = "".join(f"w{i} {a:.4f} 5\n" for i, a in enumerate(rng.normal(3, 0.5, 300)))
    (tmp_path / "v.txt").write_text(content)
    texts = [f"w{i} x{i} y{i}" for i in range(300)]
    model = classifier(embeddings=tmp_path / "v.txt", freeze_embeddings=True, max_length=None)
    model.fit(texts, [i % 2 for i in range(300)], validation=(texts[:2], [0, 1]))
    absent = np.stack([row for word, row in rows(model).items() if word[0] in "xy"])
    assert len(absent) == 600
    assert absent[:, 0].mean() == pytest.approx(3, abs=0.1)  # 0.5 / sqrt(300), four times
    assert absent[:, 0].std() == pytest.approx(0.5, abs=0.1)
    assert np.array_equal(absent[:, 1], np.full(600, 5, np.float32))
    assert model.provenance_["embedding_coverage"] == pytest.approx(1 / 3, abs=1e-4)


def test_vectors_are_trained_further_unless_frozen(vectors):
    options = {"embeddings": vectors, "learning_rate": 0.1, "max_steps": 20}
    assert rows(classifier(**options).fit(TEXTS, LABELS))["bad"].tolist() != [-1, -2, -3]


def test_a_language_model_starts_with_vectors_and_may_tie_them(tmp_path, vectors):
    options = {"level": "word", "lowercase": True, "sample_steps": (), "bptt": 8, "max_steps": 1}
    options |= {"verbose": 0, "embeddings": vectors, "hidden_sizes": (3,)}
    model = tg.LanguageModel(**options, freeze_embeddings=True).fit("\n".join(TEXTS))
    assert rows(model)["film"].tolist() == [4, 5, 6]
    tied = tg.LanguageModel(**options, tie_embeddings=True, learning_rate=1e-30, weight_decay=0.0)
    tied.fit("\n".join(TEXTS)).save(tmp_path / "tied.safetensors")
    assert rows(tied)["film"].tolist() == [4, 5, 6]
    again = tg.LanguageModel.load(tmp_path / "tied.safetensors")
    assert again.evaluate("the film was good") == tied.evaluate("the film was good")
    assert again.provenance_["embedding_coverage"] == pytest.approx(4 / 7, abs=1e-4)
    assert again.embeddings == str(vectors)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"embedding_size": 7}, "embedding_size: expected 3, as in .*vectors.txt.gz, got 7"),
        ({"level": "char"}, "embeddings: expected none at level char"),
    ],
)
def test_options_that_contradict_the_file_are_named(vectors, options, message):
    with pytest.raises(InputError, match=f"option {message}"):
        classifier(embeddings=vectors, **options).fit(TEXTS, LABELS)
