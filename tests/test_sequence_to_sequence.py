"""The task of texts that answer texts: learning, answers, figures, the file, the command line."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command_line import Tidegate
from test_encoder_decoder import TWO

import tidegate as tg
from tidegate.baselines.baseline import Answered
from tidegate.baselines.pairs import NearestAnswer
from tidegate.data.text.edit_distance import character_errors, edit_distance
from tidegate.data.text.encoders import BpeEncoder, CharEncoder, WordEncoder
from tidegate.data.text.pairs import Pairs, Side
from tidegate.errors import InputError
from tidegate.model.checkpoint import ModelFile, ModelFileError, save_model
from tidegate.training.transduction import Transduction, seen_once

QUIET = {"verbose": 0, "embedding_size": 8, "hidden_sizes": (16,), "max_steps": 3}
SOURCES = ["".join(t) for t in itertools.product("abc", repeat=3)] * 4
TARGETS = [source[::-1].upper() for source in SOURCES]


def model(**options):
    return tg.SequenceToSequence(**{**QUIET, "baseline": False, **options})


@pytest.fixture(scope="module")
def reverser():
    """A model that has learned to write three letters backwards in capitals."""
    options = {"hidden_sizes": (32,), "max_steps": 160, "learning_rate": 2e-2, "beam": 2}
    return model(**options).fit(SOURCES, TARGETS)


# what it learns and answers


def test_it_learns_to_write_backwards(reverser):
    assert reverser.predict(SOURCES[:27]) == TARGETS[:27]
    assert reverser.score(SOURCES[:27], TARGETS[:27]) == 1
    assert reverser.metrics_["exact_match"] == 1
    assert reverser.predict([]) == []


@pytest.mark.parametrize(
    ("attention", "cell"), [("dot", "rnn"), ("general", "lstm"), ("additive", "mgu")]
)
def test_every_attention_learns_with_other_cells_too(attention, cell):
    options = {"attention": attention, "cell": cell, "hidden_sizes": (24,), "max_steps": 100}
    fitted = model(**options, learning_rate=1e-2).fit(SOURCES, TARGETS)
    assert fitted.metrics_["token_accuracy"] > 0.8


def test_scheduled_sampling_learns_too_and_is_not_the_same():
    options = {"max_steps": 60, "learning_rate": 1e-2}
    plain = model(**options).fit(SOURCES, TARGETS)
    sampled = model(**options, scheduled_sampling=0.5).fit(SOURCES, TARGETS)
    assert plain.history_["train_loss"][0] != sampled.history_["train_loss"][0]
    assert sampled.metrics_["cross_entropy"] < 1.5


def test_the_same_seed_gives_the_same_weights():
    one, same = (model(seed=3).fit(SOURCES, TARGETS) for _ in range(2))
    other = model(seed=4).fit(SOURCES, TARGETS)
    assert one.runtime_.digest == same.runtime_.digest != other.runtime_.digest


def test_a_word_that_is_not_known_is_copied_from_the_source():
    names = [f"name{i}" for i in range(60)]  # each is read but once
    sources = [f"my name is {name} today" for name in names]
    targets = [f"hello {name} !" for name in names]
    options = {"level": "word", "max_steps": 200, "hidden_sizes": (32,), "learning_rate": 1e-2}
    fitted = model(**options).fit(sources, targets)
    assert fitted.predict(["my name is Zaphod today"]) == ["hello Zaphod!"]
    known = fitted.set_params(copy_unknown=False).predict(["my name is Zaphod today"])
    assert known[0].startswith("hello")
    assert "Zaphod" not in known[0]
    assert "\N{REPLACEMENT CHARACTER}" not in known[0]


def test_it_reads_and_writes_bpe():
    fitted = model(level="bpe", vocabulary_size=270).fit(SOURCES, TARGETS)
    assert fitted.target_encoder_.size <= 270
    assert isinstance(fitted.predict(["abc", "né 🎉"])[1], str)


def test_what_was_attended_to_is_of_the_answers_and_the_sources_tokens(reverser):
    attended = reverser.attend("cab")
    assert attended.answer == "BAC"
    assert (attended.written, attended.read) == (list("BAC"), list("cab"))
    assert attended.weights.shape == (3, 3)
    assert (attended.weights >= 0).all()
    assert reverser.attend("").weights.shape[1] == 0


def test_gates_of_the_encoder_can_be_looked_at(reverser):
    found = reverser.inspect("ab")
    assert list(found.steps) == ["a", "b", "end"]
    assert all(values.shape == (3, 32) for values in found.gates.values())


# figures


def test_exact_match_in_training_is_that_of_greedy_answers():
    fitted = model(max_steps=40, learning_rate=1e-2, refit=False).fit(
        SOURCES, TARGETS, validation=(SOURCES[:50], TARGETS[:50])
    )
    answered = fitted.evaluate(SOURCES[:50], TARGETS[:50])
    training = fitted.history_["exact_match"][-1]
    assert 0 < answered["exact_match"] < 1
    assert training == pytest.approx(answered["exact_match"])
    assert fitted.metrics_["cross_entropy"] == pytest.approx(answered["cross_entropy"], rel=1e-4)
    assert fitted.metrics_["chrf"] == pytest.approx(answered["chrf"])


def test_figures_are_those_of_their_definitions(reverser):
    figures = reverser.evaluate(["abc", "cab"], ["CBA", "BACK"])
    assert figures["exact_match"] == 0.5
    assert figures["character_error_rate"] == pytest.approx(1 / 7)
    assert figures["perplexity"] == pytest.approx(np.exp(figures["cross_entropy"]))
    assert figures["n"] == 2


@pytest.mark.parametrize(
    ("a", "b", "edits"),
    [("", "", 0), ("", "abc", 3), ("abc", "", 3), ("kitten", "sitting", 3), ("ab", "ba", 2),
     ("intention", "execution", 5), ("é🎉", "e🎉", 1)],
)  # fmt: skip
def test_the_edit_distance_is_the_fewest_edits(a, b, edits):
    assert edit_distance(a, b) == edit_distance(b, a) == edits


def test_edit_distances_are_those_of_the_recursion():
    rng = np.random.default_rng(0)
    for _ in range(50):
        a, b = ("".join(rng.choice(list("ab"), rng.integers(0, 9))) for _ in "ab")
        table = np.zeros((len(a) + 1, len(b) + 1), int)
        table[:, 0], table[0] = np.arange(len(a) + 1), np.arange(len(b) + 1)
        for i, j in itertools.product(range(len(a)), range(len(b))):
            cheapest = min(table[i, j + 1], table[i + 1, j]) + 1
            table[i + 1, j + 1] = min(cheapest, table[i, j] + (a[i] != b[j]))
        assert edit_distance(a, b) == table[-1, -1]


def test_the_mean_of_character_errors_is_all_edits_over_all_characters():
    errors = character_errors(["ab", "", "xyz"], ["abc", "d", "xyz"])
    assert errors.mean() == pytest.approx(2 / 7)
    assert errors.tolist() == pytest.approx([3 / 7, 3 / 7, 0])


# the two sides


def test_an_end_stands_behind_every_text_and_is_no_text():
    for encoder in (
        CharEncoder("ab"),
        WordEncoder(["a", "b"], sentences=True),
        BpeEncoder([("a", "b")]),
    ):
        side = Side(encoder)
        empty, text = side.encode(["", "b a"])
        assert empty.tolist() == [side.end] == [encoder.size]
        assert text[-1] == side.end
        assert (text[:-1] < side.end).all()
        assert len(side.pieces("b a")) == len(text) - 1


def test_words_keep_their_hyphens_and_are_put_together_again():
    side = Side(WordEncoder(["well-known", "fact", "!"], sentences=True))
    (tokens,) = side.encode(["well-known\nfact!"])
    assert side.decode(tokens[:-1].tolist()) == "well-known fact!"
    assert side.decode([0], ["x"]) == "x"
    assert side.decode([0]) == "\N{REPLACEMENT CHARACTER}"
    assert not set(side.never_written) & set(tokens.tolist())


def test_what_stands_once_is_learned_as_unknown_on_both_sides_of_a_pair():
    tokens = [np.array(t, np.int32) for t in ([1, 2, 1, 5], [1, 3, 5])]
    train = Pairs(tokens, tokens)
    rare = seen_once(train, (6, 6), 0)
    assert rare is not None
    assert rare.share == 1  # nothing stands twice
    assert np.flatnonzero(rare.sources).tolist() == [2, 3]
    network = model()
    network.source_encoder_ = network.target_encoder_ = CharEncoder("abcd")
    made = network.initial_network(network._two_networks(3))
    objective = Transduction(made, train, train, batch_size=2, seed=0, sampling=0.0, rare=rare)
    ((sources, _, _, targets, *_),) = objective.batches(0, 0, 0, 1)
    assert sorted(sources.T.tolist()) == [[1, 0, 1, 5], [1, 0, 5, 0]]
    assert sorted(targets.T.tolist()) == [[1, 0, 1, 5], [1, 0, 5, -100]]
    assert seen_once(train, (6, 6), None) is None


# the baseline


def test_the_baseline_is_the_answer_of_the_most_similar_source():
    train = Answered(
        ["the red house", "a blue car", "one green tree"], np.array(list("ABC"), object)
    )
    nearest = NearestAnswer.fit(train, train)
    assert nearest.predict(["red houses", "cars are blue"]) == ["A", "B"]
    assert nearest.figures(train) == {"character_error_rate": 0, "exact_match": 1}


def test_every_run_stands_beside_the_baseline():
    fitted = model(baseline=True).fit(SOURCES, TARGETS)
    assert fitted.metrics_["baseline_exact_match"] == 1
    assert fitted.provenance_["baseline"].startswith("nearest neighbour")


# the file


def test_a_saved_model_answers_as_before(reverser, tmp_path):
    reverser.save(tmp_path / "model.safetensors")
    again = tg.load(tmp_path / "model.safetensors")
    assert isinstance(again, tg.SequenceToSequence)
    assert again.predict(SOURCES[:5]) == TARGETS[:5]
    assert again.beam == 2
    assert again.runtime_.digest == reverser.runtime_.digest


@pytest.mark.parametrize("weights", ["bfloat16", "int8"])
def test_a_model_of_narrow_weights_still_answers(reverser, tmp_path, weights):
    reverser.save(tmp_path / "model.safetensors", weights=weights)
    assert tg.load(tmp_path / "model.safetensors").predict(["cab"]) == ["BAC"]


def test_a_saved_model_answers_without_torch(reverser, tmp_path):
    reverser.save(tmp_path / "model.safetensors")
    code = (
        "import sys; sys.modules['torch'] = None; import tidegate as tg\n"
        f"print(tg.load({str(tmp_path / 'model.safetensors')!r}).predict(['cab'], beam=3))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "['BAC']\n"


def test_a_run_that_was_stopped_ends_with_the_bits_of_one_that_was_not(tmp_path):
    options = {"checkpoint_seconds": 0, "refit": False, "scheduled_sampling": 0.3}
    whole = model(max_steps=None, epochs=4, **options).fit(SOURCES, TARGETS)
    half = model(max_steps=None, epochs=2, run_folder=tmp_path, schedule="constant", **options)
    half.fit(SOURCES, TARGETS)
    whole = model(max_steps=None, epochs=4, schedule="constant", **options).fit(SOURCES, TARGETS)
    rest = model(max_steps=None, epochs=4, run_folder=tmp_path, schedule="constant", **options)
    rest.set_params(resume=True).fit(SOURCES, TARGETS)
    assert rest.runtime_.digest == whole.runtime_.digest


def held() -> ModelFile:
    """A model file of random weights."""
    rng = np.random.default_rng(0)
    shapes = TWO.tensor_shapes().items()
    return ModelFile(
        task="sequence-to-sequence",
        architecture=TWO,
        tensors={name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes},
        encoder={
            "source": CharEncoder("abcd").to_json(),
            "target": CharEncoder("xy").to_json(),
        },
        options={},
        metrics={},
        history={},
        provenance={},
        test_vector={
            "input": np.array([[1, 2], [4, 0]]),
            "lengths": np.array([2, 1]),
            "target": np.array([[3, 0], [1, 2], [0, 0]]),
            "output": np.zeros((3, 2, 4), np.float32),
        },
    )


def test_a_file_whose_answers_are_others_is_refused(tmp_path):
    save_model(tmp_path / "m.safetensors", held())
    with pytest.raises(ModelFileError, match="expected the stored output within"):
        tg.load(tmp_path / "m.safetensors")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"target": np.array([[4, 0]] * 3)}, "tensor 'test.target': expected tokens from 0 to 3"),
        ({"target": np.array([[3], [0], [0]])}, "tensor 'test.target': expected I64 [3, 2]"),
        ({"target": np.zeros((0, 2), np.int64)}, "tensor 'test.output': expected F32 [0, 2, 4]"),
        ({"lengths": np.array([2, 0])}, "tensor 'test.lengths': expected lengths from 1 to 2"),
        ({"output": np.zeros((2, 2, 4), np.float32)}, "tensor 'test.output': expected F32 [3,"),
    ],
)
def test_a_test_vector_that_cannot_be_run_is_refused(tmp_path, change, said):
    model_file = held()
    model_file.test_vector |= change
    with pytest.raises(ValueError, match="expected") as refused:
        save_model(tmp_path / "m.safetensors", model_file)
    assert str(refused.value).startswith(said)


def test_two_encoders_that_fit_are_needed(tmp_path):
    for encoder in ({}, CharEncoder("abcd").to_json(), {**held().encoder, "target": "x"}):
        model_file = held()
        model_file.encoder = encoder
        save_model(tmp_path / "m.safetensors", model_file)
        with pytest.raises(ModelFileError, match="options or parts out of schema"):
            tg.load(tmp_path / "m.safetensors")


# what is refused


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ((["a", "b"], ["x"]), "targets: expected one per source, 2, got 1; give one for each"),
        (("ab", ["x"]), "texts: expected a list of texts, got one str; pass [text]"),
        ((["a", "b"], ["x", 3]), "targets: expected str, got int at index 1; make it a str, or"),
        (([], []), "sources: expected one text or more, got none; give some"),
    ],
)
def test_what_is_no_pairs_of_texts_is_refused(given, said):
    with pytest.raises(InputError) as refused:
        model().fit(*given)
    assert str(refused.value).startswith(said)


def test_pairs_too_long_to_be_looked_at_everywhere_are_refused():
    long = ["a" * 3000, "b"] * 10
    with pytest.raises(InputError, match="product is at most") as refused:
        model().fit(long, long)
    assert "got 3001 and 3001" in str(refused.value)


def test_streams_are_refused_with_a_way_out(reverser):
    with pytest.raises(InputError, match="give whole sources to predict"):
        reverser.stream()


@pytest.mark.parametrize(
    ("choice", "said"),
    [({"beam": 0}, "option beam: expected a whole number at least 1"),
     ({"beam": 1.5}, "option beam: expected a whole number"),
     ({"length_penalty": -1}, "option length_penalty: expected a number at least 0")],
)  # fmt: skip
def test_a_beam_that_cannot_be_is_refused(reverser, choice, said):
    with pytest.raises(InputError) as refused:
        reverser.predict(["abc"], **choice)
    assert str(refused.value).startswith(said)


# the command line


def trained(tidegate: Tidegate, *more: str) -> str:
    line = "train seq2seq pairs.tsv --source question --target answer --hidden-sizes 8 --epochs 1"
    outcome = tidegate(line, *more)
    assert outcome.code == 0, outcome.err
    return "pairs-sequence-to-sequence.safetensors"


def test_a_table_of_pairs_is_learned_and_its_lines_are_answered(
    tidegate: Tidegate,
) -> None:
    path = trained(tidegate)
    Path("asked.txt").write_text("is lovely 3 good?\n\nis it?\n")
    answered = tidegate(f"predict {path} asked.txt --beam 2 --json").json["predictions"]
    assert [one["input"] for one in answered] == ["is lovely 3 good?", "", "is it?"]
    assert all(isinstance(one["answer"], str) for one in answered)
    of_table = tidegate(f"predict {path} pairs.tsv")
    assert len(of_table.out.splitlines()) == 20
    assert of_table.out.splitlines()[0].endswith("\tis lovely 0 good?")
    figures = tidegate(f"evaluate {path} pairs.tsv --json").json
    assert {"exact_match", "character_error_rate", "chrf", "bleu", "cross_entropy", "n"} <= {
        *figures
    }


def test_attention_is_drawn_for_the_first_answers(tidegate: Tidegate) -> None:
    path = trained(tidegate)
    outcome = tidegate(f"predict {path} pairs.tsv --plot attention.svg")
    assert outcome.code == 0, outcome.err
    drawn = Path("attention.svg").read_text()
    assert drawn.count("<image") == 6
    refused = tidegate(f"predict {path} pairs.tsv --plot attention.txt")
    assert refused.code == 2
    assert "expected the ending of a picture" in refused.err


def test_options_of_answers_are_refused_for_labels(tidegate: Tidegate) -> None:
    line = "train classifier reviews.csv --text review --label sentiment --max-steps 1"
    assert tidegate(f"{line} --hidden-sizes 4").code == 0
    for option in ("--beam 2", "--length-penalty 1", "--plot a.png"):
        outcome = tidegate(f"predict reviews-text-classifier.safetensors test.csv {option}")
        assert outcome.code == 2
        assert "expected none for a text-classifier" in outcome.err


def test_a_column_for_both_sides_and_an_empty_cell_are_named(tidegate: Tidegate) -> None:
    outcome = tidegate("train seq2seq pairs.tsv --source answer --target answer")
    assert outcome.err == (
        "error: pairs.tsv: expected two columns, got 'answer' for both source and target; name "
        "another\n"
    )
    Path("gap.tsv").write_text("question\tanswer\na\tb\nc\t\n")
    outcome = tidegate("train seq2seq gap.tsv --source question --target answer")
    assert outcome.code == 2
    assert "line 3" in outcome.err
    assert "expected a target, got an empty cell" in outcome.err


def test_cells_are_compared_beside_the_nearest_neighbour(tidegate: Tidegate) -> None:
    line = "compare pairs.tsv --task seq2seq --source question --target answer --cells gru,rnn"
    outcome = tidegate(f"{line} --seeds 1 --hidden-sizes 6 --max-steps 4 --json")
    assert outcome.code == 0, outcome.err
    told = outcome.json
    assert told["metric"] == "character_error_rate"
    assert [b["name"] for b in told["baselines"]] == ["nearest neighbour"]
    assert {row["cell"] for row in told["runs"]} == {"gru", "rnn_tanh"}


def test_a_model_says_what_it_holds(tidegate: Tidegate) -> None:
    path = trained(tidegate)
    shown = tidegate(f"info {path}").out
    assert "target.dense" in shown
    told = json.loads(tidegate(f"info {path} --json").out)
    assert told["parameters"] == sum(layer["parameters"] for layer in told["layers"])
