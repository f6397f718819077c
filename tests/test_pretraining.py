"""Text tasks that start from trained models: what is taken over, what may not be contradicted."""

import json
import shlex

import numpy as np
import pytest
import torch

import tidegate as tg
from tidegate.cli import main
from tidegate.errors import InputError
from tidegate.tasks import load
from tidegate.training.objective import TrainingResult

TEXTS = [
    f"the {adjective} {noun} was {verdict}"
    for adjective in ("old", "new", "long", "short")
    for noun in ("film", "book", "song", "play", "story")
    for verdict in ("good", "well-made", "bad", "dull")
]
LABELS = ["good" if text.endswith(("good", "made")) else "bad" for text in TEXTS]
LM = {
    "level": "word",
    "counts": False,
    "lowercase": True,
    "bptt": 8,
    "batch_size": 8,
    "sample_steps": (),
}
QUIET = {"verbose": 0, "max_steps": 1, "baseline": False}


def language_model(**options):
    sizes = {"embedding_size": 6, "hidden_sizes": (9,), "max_steps": 30}
    return tg.LanguageModel(**{**QUIET, **LM, **sizes, **options}).fit(TEXTS)


def classifier(**options):
    return tg.TextClassifier(**{**QUIET, **options})


@pytest.fixture
def untrained(monkeypatch):
    """What is fitted keeps the weights it starts with."""
    result = TrainingResult(
        [], {}, best_step=0, steps=0, epochs=0.0, seconds=0.0, stopped="", judged={}
    )
    monkeypatch.setattr("tidegate.training.loop.fit", lambda *_, **__: result)


@pytest.fixture(scope="module")
def forward():
    torch.set_num_threads(1)
    return language_model()


@pytest.fixture(scope="module")
def backward():
    return language_model(reverse=True, embedding_size=4, max_steps=150)


def states(network, tokens):
    """Outputs [T, 1, D*H] of every recurrent layer, in evaluation mode."""
    x = network.embedding(torch.from_numpy(tokens.astype(np.int64)).unsqueeze(1))
    outputs = []
    with torch.no_grad():
        for k, layer in enumerate(network.recurrent):
            if k > 0 and network.norms:
                x = network.norms[k - 1](x)
            x, _ = layer(x)
            outputs.append(x)
    return outputs


TWO_LAYERS = {"cell": "lstm", "hidden_sizes": (9, 5), "batch_norm": True}
TIED = {"embedding_size": 9, "tie_embeddings": True}


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("options", [{}, TWO_LAYERS, TIED, {"level": "char"}], ids=str)
def test_a_classifiers_states_are_at_first_those_of_its_language_model(
    options, bidirectional, request
):
    model = language_model(**options)
    request.getfixturevalue("untrained")
    fitted = classifier(init_from=model, bidirectional=bidirectional).fit(TEXTS, LABELS)
    assert fitted.encoder_.to_json() == model.encoder_.to_json()
    tokens = fitted.encoder_.encode(TEXTS[7])
    before, after = states(model.network_, tokens), states(fitted.network_, tokens)
    assert len(before) == len(after) == len(model.hidden_sizes)
    for old, new in zip(before, after, strict=True):
        width = old.shape[-1]
        assert new.shape[-1] == width * (1 + bidirectional)
        torch.testing.assert_close(new[..., :width], old, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("options", [{}, TWO_LAYERS], ids=str)
def test_each_direction_starts_as_its_own_language_model(options, request):
    models = [
        language_model(**options),
        language_model(**options, reverse=True, embedding_size=4),
    ]
    request.getfixturevalue("untrained")
    fitted = classifier(init_from=models).fit(TEXTS, LABELS)
    assert fitted.runtime_.architecture.embedding_size == 6 + 4
    tokens = fitted.encoder_.encode(TEXTS[3])
    both = states(fitted.network_, tokens)
    ahead = states(models[0].network_, tokens)
    back = states(models[1].network_, tokens[::-1].copy())
    for two, one, other in zip(both, ahead, back, strict=True):
        torch.testing.assert_close(two, torch.cat([one, other.flip(0)], -1), rtol=1e-6, atol=1e-6)


def test_a_language_model_goes_on_where_it_stopped(forward, request):
    options = {**QUIET, "init_from": forward, "bptt": 8, "counts": False}
    longer = tg.LanguageModel(**{**options, "max_steps": 60}).fit(TEXTS)
    assert longer.metrics_["cross_entropy"] < forward.metrics_["cross_entropy"]
    request.getfixturevalue("untrained")
    again = tg.LanguageModel(**options).fit(TEXTS)
    assert again.evaluate(TEXTS) == forward.evaluate(TEXTS)
    assert again.provenance_["taken_over"] == "all weights of LanguageModel"


def test_a_classifier_goes_on_where_it_stopped(tmp_path, request):
    held = {"validation_fraction": 0.1}  # without folds, whose temperature would be found again
    options = {**held, "learning_rate": 1e-2, "max_steps": 40, "readout": "last+max"}
    first = classifier(**options).fit(TEXTS, LABELS)
    path = tmp_path / "first.safetensors"
    first.save(path)
    request.getfixturevalue("untrained")
    same = classifier(**held, init_from=path).fit(TEXTS, LABELS)
    np.testing.assert_array_equal(same.predict_proba(TEXTS), first.predict_proba(TEXTS))
    assert same.provenance_["taken_over"] == f"all weights of {path}"

    lengths = [len(text) % 3 for text in TEXTS]
    other = classifier(init_from=str(path)).fit(TEXTS, lengths)
    assert other.runtime_.architecture.output_size == 3
    assert other.provenance_["started_fresh"] == "evidence, dense layer"
    weights, before = other.network_.state_dict(), first.network_.state_dict()
    for name in set(weights) - {"dense.weight", "dense.bias", "evidence.weight"}:
        assert torch.equal(weights[name], before[name]), name
    pooled = classifier(init_from=path, readout="mean").fit(TEXTS, LABELS)
    assert pooled.runtime_.architecture.readout == "mean"


def test_what_was_taken_over_is_said_and_kept(forward, backward, tmp_path, capsys):
    paths = [tmp_path / "forward.safetensors", tmp_path / "backward.safetensors"]
    for model, path in zip((forward, backward), paths, strict=True):
        model.save(path)
    fitted = classifier(init_from=paths[0], verbose=1).fit(TEXTS, LABELS)
    assert f"taken over: embedding and recurrent layers of {paths[0]}" in capsys.readouterr().out
    assert fitted.provenance_["started_fresh"] == "reverse direction, evidence, dense layer"

    fitted = classifier(init_from=tuple(paths)).fit(TEXTS, LABELS)
    assert fitted.provenance_["started_fresh"] == "evidence, dense layer"
    fitted.save(tmp_path / "classifier.safetensors")
    again = load(tmp_path / "classifier.safetensors")
    assert again.get_params()["init_from"] == tuple(map(str, paths))
    assert again.provenance_["taken_over"] == fitted.provenance_["taken_over"]
    np.testing.assert_array_equal(again.predict_proba(TEXTS), fitted.predict_proba(TEXTS))


def test_a_frozen_embedding_stays_and_the_rest_learns(forward):
    options = {"learning_rate": 1e-2, "max_steps": 5, "weight_decay": 0.1, "average": 0.9}
    fitted = classifier(init_from=forward, freeze_embeddings=True, **options).fit(TEXTS, LABELS)
    weights, before = fitted.network_.state_dict(), forward.network_.state_dict()
    assert torch.equal(weights["embedding.weight"], before["embedding.weight"])
    assert not torch.equal(weights["recurrent.0.weight_hh_l0"], before["recurrent.0.weight_hh_l0"])


def test_a_run_that_started_from_a_model_resumes_bit_for_bit(forward, tmp_path):
    path = tmp_path / "forward.safetensors"
    forward.save(path)

    def run(folder, init_from=path, **more):
        options = {"batch_size": 16, "schedule": "constant", "checkpoint_seconds": 0, **more}
        model = classifier(run_folder=tmp_path / folder, init_from=init_from, **options)
        return model.fit(TEXTS, LABELS).network_.state_dict()

    run("stopped", max_steps=3)
    resumed = run("stopped", max_steps=9, resume=True)
    whole = run("whole", max_steps=9)
    assert all(torch.equal(resumed[name], whole[name]) for name in whole)
    with pytest.raises(InputError, match="option init_from: expected .*forward.safetensors"):
        run("stopped", init_from=None, max_steps=9, resume=True)


# a language model's own


def test_a_reversed_model_is_the_forward_one_of_the_mirrored_text():
    text = "abcab cabca bcabc " * 40
    kind = {**QUIET, **LM, "level": "char", "max_steps": 20, "hidden_sizes": (8,)}
    mirrored = tg.LanguageModel(**kind).fit(text[::-1], validation=text[:100])
    backward = tg.LanguageModel(**kind, reverse=True).fit(text, validation=text[:100][::-1])
    for name, weight in mirrored.network_.state_dict().items():
        assert torch.equal(backward.network_.state_dict()[name], weight), name
    assert backward.evaluate(text) == mirrored.evaluate(text[::-1])
    written = "".join(backward.generate("abc", 20, greedy=True))
    assert written == "".join(mirrored.generate("cba", 20, greedy=True))[::-1]


def test_a_reversed_model_of_words_is_given_sentence_ends_and_predicts_starts(backward, capsys):
    text = "the old film\nthe new book\n"
    assert backward.evaluate(text)["tokens"] == 6 + 2
    leading = "".join(backward.generate("was good", 60, seed=1))
    assert "\n" in leading
    assert not {"<unk>", "<s>", "</s>"} & set(leading.split())
    language_model(reverse=True, sample_steps=(2,), max_steps=2, verbose=2)
    assert "step 2, held-out perplexity" in capsys.readouterr().out


def test_texts_follow_one_another_and_some_are_held_out():
    model = language_model(validation_fraction=0.2, test_fraction=0.1, max_steps=2)
    assert model.metrics_["test_tokens"] == sum(len(t.split()) + 1 for t in TEXTS[:8])
    assert model.provenance_["validation_tokens"] == 16 * 7  # <s>, five words, </s>
    assert model.evaluate(TEXTS[:3]) == model.evaluate("\n".join(TEXTS[:3]) + "\n")
    given = tg.LanguageModel(**QUIET, **LM).fit(TEXTS, validation=TEXTS[:5])
    assert given.provenance_["validation_tokens"] == 5 * 7
    assert given.provenance_["training_tokens"] == len(TEXTS) * 7


def test_penn_treebanks_tokens_and_words_are_counted_as_is_usual(shared_data):
    """82,430 tokens of the test part with the ends of sentences; 10,000 words (Mikolov 2010)."""
    from tidegate.data.text.reading import read_text, train_encoder

    train, test = (read_text(shared_data / f"ptb/ptb.{part}.txt.gz") for part in ("train", "test"))
    encoder = train_encoder(train, "word", sentences=True)
    assert encoder.size == 10_000 + 1  # the start of a sentence is given, never predicted
    tokens = encoder.encode(test)
    assert np.count_nonzero(tokens != encoder.start_id) == 82_430
    assert np.count_nonzero(tokens == encoder.unknown_id) == test.split().count("<unk>")
    lines = test.splitlines(keepends=True)[:100]
    model = tg.LanguageModel(**QUIET, **LM, hidden_sizes=(4,)).fit(test[:20_000])
    assert model.evaluate("".join(lines))["tokens"] == len("".join(lines).split()) + 100


@pytest.mark.parametrize("options", [
    {"embedding_dropout": 0.4, "dropout": 0.4, "recurrent_dropout": 0.3},
    {"weight_decay": 0.1, "average": 0.95, "schedule": "exponential"},
    {"tie_embeddings": True, "embedding_size": 9},
    {"optimizer": "sgd", "learning_rate": 0.5, "schedule": "linear", "clip_norm": 0.25},
], ids=str)  # fmt: skip
def test_every_regulariser_works_on_words(options):
    model = language_model(max_steps=60, **options)
    assert model.metrics_["perplexity"] < model.encoder_.size


# what is refused


WRONG = {
    "embedding_size": ({"embedding_size": 7}, "embedding_size: expected 6, as in LanguageModel"),
    "hidden_sizes": ({"hidden_sizes": (8,)}, r"hidden_sizes: expected \(9,\), .* got \(8,\)"),
    "cell": ({"cell": "lstm"}, "cell: expected 'gru', as in LanguageModel, got 'lstm'"),
    "level": ({"level": "char"}, "level: expected 'word'"),
    "lowercase": ({"lowercase": False}, "lowercase: expected True"),
    "vocabulary_size": ({"vocabulary_size": 99}, "vocabulary_size: expected 18"),
    "min_count": ({"min_count": 2}, "min_count: expected 1"),
    "batch_norm": ({"batch_norm": True}, "batch_norm: expected False"),
    "chrono": ({"chrono": 50}, "chrono: expected None, as in LanguageModel, got 50"),
    "embeddings": ({"embeddings": "glove.txt"}, "embeddings: expected none beside init_from"),
}


@pytest.mark.parametrize("case", WRONG)
def test_an_option_that_contradicts_the_model_is_named(forward, case):
    options, message = WRONG[case]
    with pytest.raises(InputError, match=f"option {message}"):
        classifier(init_from=forward, **options).fit(TEXTS, LABELS)


def test_options_left_at_their_defaults_follow_the_model():
    model = language_model(level="char", lowercase=False, cell="lstm", max_steps=1)
    fitted = classifier(init_from=model).fit(TEXTS, LABELS)
    assert (fitted.level, fitted.encoder_.level, fitted.encoder_.lowercase) == ("word", "char", 0)
    assert fitted.runtime_.architecture.cell == "lstm"
    agreeing = classifier(init_from=model, cell="lstm", hidden_sizes=[9]).fit(TEXTS, LABELS)
    assert agreeing.runtime_.architecture == fitted.runtime_.architecture


def test_models_that_are_of_no_use_are_named(forward, backward, tmp_path):
    other = tg.LanguageModel(**{**QUIET, **LM}, reverse=True, hidden_sizes=(9,)).fit(TEXTS[:40])
    trained = classifier(hidden_sizes=(4,)).fit(TEXTS, LABELS)
    wrong = {
        "one that reads forward and one trained with reverse": [
            backward, (backward, forward), (forward, trained), (forward, forward),
        ],
        "models of one vocabulary, cell and size": [(forward, other)],
        "expected a fitted LanguageModel": [tg.LanguageModel()],
        "nothing.safetensors: expected a file": [tmp_path / "nothing.safetensors"],
        "expected a path or a fitted model or several, got": [3, (forward, 3)],
        "expected one trained model or more, got none": [()],
    }  # fmt: skip
    for message, cases in wrong.items():
        for init_from in cases:
            with pytest.raises(InputError, match=message):
                classifier(init_from=init_from).fit(TEXTS, LABELS)
    path = tmp_path / "gestures.safetensors"
    series = [np.arange(6.0), -np.arange(6.0)] * 4
    tg.SequenceClassifier(**QUIET).fit(series, ["up", "down"] * 4).save(path)
    for model, kinds in ((classifier(), "text-classifier or language-model"),
                         (tg.LanguageModel(**QUIET), "language-model")):  # fmt: skip
        message = f"{path}, option init_from: expected a model of {kinds}, got one of series-class"
        with pytest.raises(InputError, match=message):
            model.set_params(init_from=path).fit(TEXTS, LABELS)
    for init_from, reverse in [(backward, False), (forward, True), (trained, False)]:
        with pytest.raises(InputError, match="init_from: expected one language model"):
            tg.LanguageModel(init_from=init_from, reverse=reverse, **QUIET).fit(TEXTS)
    with pytest.raises(InputError, match="tie_embeddings: expected False, as in LanguageModel"):
        tg.LanguageModel(init_from=forward, tie_embeddings=True, **QUIET).fit(TEXTS)
    with pytest.raises(
        InputError, match="option embedding_size: expected 9, the last of hidden_sizes"
    ):
        language_model(tie_embeddings=True)
    with pytest.raises(InputError, match="freeze_embeddings: expected embeddings or init_from"):
        classifier(freeze_embeddings=True).fit(TEXTS, LABELS)


# the command line


@pytest.fixture
def tidegate(tmp_path, monkeypatch, capsys):
    """Run a command line in a folder with a table, a text and word vectors; its JSON or text."""
    monkeypatch.chdir(tmp_path)
    table = "".join(f"{text}\t{label}\n" for text, label in zip(TEXTS, LABELS, strict=True))
    (tmp_path / "reviews.tsv").write_text("text\tlabel\n" + table)
    (tmp_path / "book.txt").write_text("\n".join(TEXTS) + "\n")
    (tmp_path / "vectors.txt").write_text("the 1 2\nfilm 3 4\ngood 5 6\n")

    def run(line):
        assert main(shlex.split(line)) == 0, capsys.readouterr().err
        printed = capsys.readouterr().out
        return json.loads(printed) if "--json" in line else printed

    return run


WORDS = "--level word --hidden-sizes 5 --max-steps 3 --bptt 8 --embedding-size 4"
LABELLED = "train classifier reviews.tsv --text text --label label --max-steps 2"


def test_from_a_table_to_a_classifier_that_starts_from_it(tidegate):
    trained = tidegate(f"train language-model reviews.tsv --text text {WORDS} -o f.safetensors")
    assert trained.splitlines()[-1] == "next:  tidegate generate f.safetensors --length 500"
    tidegate(f"train language-model reviews.tsv --text text {WORDS} --reverse -o b.safetensors")
    told = tidegate(f"{LABELLED} --init-from f.safetensors,b.safetensors -o c.safetensors")
    assert "taken over: embedding and recurrent layers of f.safetensors and b.safetensors" in told

    held = tidegate("info c.safetensors --json")
    assert held["architecture"]["embedding_size"] == 8
    assert held["architecture"]["hidden_sizes"] == [5]
    assert held["options"]["init_from"] == ["f.safetensors", "b.safetensors"]
    assert held["provenance"]["started_fresh"] == "evidence, dense layer"
    assert "init from" in tidegate("info c.safetensors")

    by_table = tidegate("evaluate f.safetensors reviews.tsv --json")
    assert by_table == tidegate("evaluate f.safetensors book.txt --json")
    leading = tidegate("generate b.safetensors --prompt good --length 5 --seed 1")
    assert leading.endswith("good\n")

    tidegate(f"{LABELLED} --init-from c.safetensors -o again.safetensors")
    longer = tidegate(
        "train language-model book.txt --init-from f.safetensors --max-steps 2 --json"
    )
    assert longer["parameters"] == tidegate("info f.safetensors --json")["parameters"]


def test_word_vectors_from_the_command_line(tidegate):
    told = tidegate(f"{LABELLED} --embeddings vectors.txt --freeze-embeddings -o c.safetensors")
    assert "embedding coverage: " in told
    held = tidegate("info c.safetensors --json")
    assert held["architecture"]["embedding_size"] == 2
    assert 0 < held["provenance"]["embedding_coverage"] < 1
    tidegate(f"{LABELLED} --embeddings none -o d.safetensors")


def test_a_contradiction_is_one_line_that_names_the_option(tidegate, capsys):
    tidegate(f"train language-model book.txt {WORDS} -o f.safetensors")
    assert main(shlex.split(f"{LABELLED} --init-from f.safetensors --hidden-sizes 6")) == 2
    assert capsys.readouterr().err == (
        "error: option --hidden-sizes: expected 5, as in f.safetensors, got 6; leave it out\n"
    )
