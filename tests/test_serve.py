"""``tidegate serve``: what it answers, together and alone, and what it refuses, and how."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from served import Client, models, served  # noqa: E402
from streamed_models import sequence_model  # noqa: E402

import tidegate as tg  # noqa: E402
from tidegate.serving import routes  # noqa: E402
from tidegate.serving.limits import Limits  # noqa: E402
from tidegate.serving.verbs import VERBS  # noqa: E402

SEQUENCES = [[[1.0, 2.0], [None, 3.0], [2.5, -1.0]], [[0.5, 0.25]]]
ROWS = [[10.0 + k % 4, -5.0 + 0.1 * (k % 3)] for k in range(11)]
LIMITS = Limits(body_bytes=20_000, steps=2000, streams=3, idle_s=0.6)


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with served(models(), LIMITS) as one:
        yield one


def fitted(client: Client, name: str) -> Any:
    return client.service.models[name].fitted


# what is answered


def test_predicted_labels_are_those_of_the_model(client):
    texts = ["a good film", "", "so bad, so bad"]
    found = client.post("/v1/predict", {"model": "reviews", "inputs": texts}).json["predictions"]
    model = fitted(client, "reviews")
    assert [one["label"] for one in found] == model.predict(texts).tolist()
    rows = [list(one["probabilities"].values()) for one in found]
    np.testing.assert_array_equal(rows, model.predict_proba(texts))
    assert list(found[0]["probabilities"]) == ["bad", "good", "so so"]


@pytest.mark.parametrize("name", ["gestures", "scores"])
def test_a_missing_value_of_a_sequence_is_null(client, name):
    found = client.post("/v1/predict", {"model": name, "inputs": SEQUENCES}).json["predictions"]
    sequences = [np.array(one, np.float64) for one in SEQUENCES]
    key = "label" if name == "gestures" else "value"
    assert [one[key] for one in found] == fitted(client, name).predict(sequences).tolist()


@pytest.mark.parametrize("times", [None, [f"2020-01-01T{k:02}:00:00" for k in range(len(ROWS))]])
def test_a_forecast_is_that_of_the_model(client, times):
    found = client.post("/v1/forecast", {"rows": ROWS, "times": times}).json
    values = fitted(client, "load").forecast(np.array(ROWS)).values
    assert found["forecast"] == {"x": values[:, 0].tolist(), "y": values[:, 1].tolist()}
    ahead = [1, 2, 3] if times is None else [f"2020-01-01T{k}:00:00" for k in (11, 12, 13)]
    assert found["times"] == ahead


def test_a_text_goes_on_as_the_model_writes_it_and_each_place_tells_what_was_likely(client):
    asked = {"prompt": "the ", "length": 30, "seed": 5, "temperature": 0.7, "top_k": 4}
    events = client.post("/v1/generate", {"model": "book", "alternatives": 3, **asked}).events
    *tokens, (last, done) = events
    assert (last, done) == ("done", {"pieces": 30})
    pieces = [data["text"] for _, data in tokens]
    assert pieces == list(fitted(client, "book").generate(**asked))
    stream = fitted(client, "book").stream()
    answer = stream.feed("the ")
    for _, data in tokens:
        (place,) = data["alternatives"]
        for told, (text, probability) in zip(place, answer.top(3), strict=True):
            assert told["text"] == text
            assert told["probability"] == pytest.approx(probability, abs=2e-6)  # told to 6 digits
        answer = stream.feed(data["text"])


def test_music_goes_on_in_names_from_a_prompt_of_names(client):
    asked = {"model": "songs", "prompt": [["C4", "E4"], []], "length": 4, "seed": 2}
    *steps, _ = client.post("/v1/generate", asked).events
    prompt = np.zeros((2, 7), np.uint8)
    prompt[0, [0, 2]] = 1
    model = fitted(client, "songs")
    roll = model.generate([prompt], 4, seed=2)
    assert [data["on"] for _, data in steps] == model.names_of(roll)


PIECES = {
    "book": ["the g", "ood"],
    "verses": ["the good ", "film"],
    "reviews": ["a good ", "film"],
    "gestures": [SEQUENCES[0][:2], SEQUENCES[0][2]],
    "scores": [SEQUENCES[0][:1], SEQUENCES[0][1:]],
    "songs": [[["C4"], ["D4", "E4"]], [["A4"], []]],
    "load": [ROWS[:5], ROWS[5:]],
}


@pytest.mark.parametrize("name", PIECES)
def test_a_stream_answers_as_that_of_the_model(client, name):
    opened = client.post("/v1/streams", {"model": name})
    assert opened.status == 201
    path = f"/v1/streams/{opened.json['id']}"
    stream = fitted(client, name).stream()
    for piece in PIECES[name]:
        found = client.post(f"{path}/feed", {"piece": piece}).json["answer"]
        own = stream.feed(np.array(piece, np.float64) if name in ("gestures", "scores") else piece)
        match found:
            case {"next": tokens}:
                assert [(one["text"], one["probability"]) for one in tokens] == own.top(10)
            case {"probabilities": by_name}:
                np.testing.assert_array_equal(list(by_name.values()), own)
            case {"forecast": by_name}:
                expected = own.T if np.isfinite(own).all() else np.full(own.T.shape, None)
                assert list(by_name.values()) == expected.tolist()
            case {"value": value}:
                assert value == own
    assert client.send("DELETE", path).status == 204
    assert client.send("DELETE", path).status == 404


def test_gates_words_and_connectivity_are_told(client):
    asked = {"model": "reviews", "input": "so good, so bad"}
    gates = client.post("/v1/inspect", asked).json
    own = fitted(client, "reviews").inspect("so good, so bad")
    assert gates["steps"] == list(own.steps)
    means = {one["name"]: one["means"] for one in gates["gates"]}
    assert means.keys() == own.gates.keys()
    for name, values in own.gates.items():
        np.testing.assert_allclose(means[name], values.mean(1), atol=6e-5)  # told to 4 digits
    words = client.post("/v1/weigh", asked).json
    assert [asked["input"][w["begin"] : w["end"]] for w in words["words"]] == [
        "so", "good", ",", "so", "bad",
    ]  # fmt: skip
    model = fitted(client, "reviews")
    p = model.predict_proba(["so good, so bad", "so , so bad"])[:, list(model.classes_).index(
        words["label"])]  # fmt: skip
    lost = np.diff(np.log(p) - np.log1p(-p))[0]
    assert words["words"][1]["weight"] == pytest.approx(-lost, rel=1e-5)  # float32
    back = client.post("/v1/connect", {"model": "book", "input": "the good"}).json
    assert back["steps"] == list("the goo")
    assert len(back["connectivity"]) == 7


def test_what_is_told_of_models_says_what_each_can(client):
    told = {one["name"]: one for one in client.get("/v1/models").json["models"]}
    assert told.keys() == models().keys()
    assert told["reviews"]["can"] == ["predict", "inspect", "weigh", "stream"]
    assert told["book"]["can"] == ["inspect", "connect", "generate", "stream"]
    assert told["load"]["rows"]["series"] == ["x", "y"]
    assert told["reviews"]["metrics"] == {"accuracy": 0.5}  # NaN is no JSON


# many at a time


def test_what_many_clients_ask_at_once_is_answered_as_if_each_were_alone(client):
    texts = [" ".join(["so", "good", "bad", "film"][: k % 5] * (k % 7)) for k in range(160)]
    before = _batches(client)
    with ThreadPoolExecutor(32) as pool:
        asked = [{"model": "reviews", "inputs": [text]} for text in texts]
        found = list(pool.map(lambda one: client.post("/v1/predict", one), asked))
    assert {one.status for one in found} == {200}
    rows = [list(one.json["predictions"][0]["probabilities"].values()) for one in found]
    # bits may differ by how many rows a product has
    np.testing.assert_allclose(rows, fitted(client, "reviews").predict_proba(texts), rtol=1e-5)
    inputs, batches = (now - then for now, then in zip(_batches(client), before, strict=True))
    assert inputs == 160
    assert batches < 160


def _batches(client: Client) -> tuple[float, float]:
    """Inputs and batches of the model of reviews."""
    text = client.get("/metrics").body.decode()
    found = (
        re.search(rf'^tidegate_batch_inputs_{what}{{batcher="reviews/predict"}} (.*)$', text, re.M)
        for what in ("sum", "count")
    )
    inputs, batches = (0.0 if one is None else float(one[1]) for one in found)
    return inputs, batches


def test_what_one_asks_wrongly_is_no_error_of_others_in_its_batch(client):
    good = {"model": "reviews", "inputs": ["a good film"]}
    bad = {"model": "reviews", "inputs": ["a good film", 7]}
    with ThreadPoolExecutor(24) as pool:
        asked = [bad if k % 6 == 5 else good for k in range(60)]
        found = list(pool.map(lambda one: client.post("/v1/predict", one), asked))
    for one, answer in zip(asked, found, strict=True):
        if one is bad:
            assert answer.status == 422
            assert "got int at index 1" in answer.detail
        else:
            assert answer.status == 200


def test_pieces_of_one_stream_that_come_at_once_are_all_read(client):
    path = f"/v1/streams/{client.post('/v1/streams', {'model': 'reviews'}).json['id']}"
    with ThreadPoolExecutor(8) as pool:
        send = pool.map(lambda _: client.post(f"{path}/feed", {"piece": "good "}), range(24))
        assert {one.status for one in send} == {200}
    last = client.post(f"{path}/feed", {"piece": "film"}).json["answer"]["probabilities"]
    expected = fitted(client, "reviews").stream().feed("good " * 24 + "film")
    np.testing.assert_allclose(list(last.values()), expected, rtol=1e-4)  # sums of 25 steps
    client.send("DELETE", path)


# what is refused

WRONG: dict[str, tuple[str, Any, int, str]] = {
    "no JSON": ("predict", b"{", 400, "body of JSON in UTF-8"),
    "no UTF-8": ("predict", b'{"inputs": ["\xff"]}', 400, "body of JSON in UTF-8"),
    "half a character": ("predict", b'{"inputs": ["\\ud800"]}', 400, "surrogates"),
    "NaN": ("predict", b'{"inputs": [NaN]}', 400, "write null"),
    "a huge number": ("predict", b'{"model": "gestures", "inputs": [[[%s, 1]]]}' % (b"9" * 5000),
                      422, "finite numbers"),
    "nested deeply": ("predict", b"[" * 5000, 400, "nested too deeply"),
    "a list": ("predict", [1], 422, "a JSON object"),
    "nothing": ("predict", {}, 422, "inputs: expected one, got none"),
    "another member": ("predict", {"text": "x"}, 422, "members model, inputs"),
    "a model that is not": (
        "predict", {"model": "/etc/passwd", "inputs": []}, 422, "one of reviews, book",
    ),
    "a model that cannot": (
        "predict", {"model": "book", "inputs": []}, 422, "got book, a language-model;",
    ),
    "several models": ("predict", {"inputs": ["x"]}, 422, "reviews, gestures, scores"),
    "inputs of another kind": ("predict", {"model": "reviews", "inputs": "x"}, 422, "an array"),
    "true for a number": ("generate", {"model": "book", "length": True}, 422, "an integer"),
    "texts for numbers": (
        "predict", {"model": "gestures", "inputs": ["x"]}, 422, "expected an array of numbers",
    ),
    "other channels": ("predict", {"model": "gestures", "inputs": [[[1]]]}, 422, "2 channels"),
    "an infinite value": (
        "predict", b'{"model": "gestures", "inputs": [[[1e999, 1]]]}', 422, "infinity",
    ),
    "beams of a classifier": (
        "predict", {"model": "reviews", "inputs": ["x"], "beam": 2}, 422, "beam: expected none",
    ),
    "a row of another length": ("forecast", {"rows": [*ROWS[:7], [3]]}, 422, "got [3] at row 7"),
    "a row with a word": ("forecast", {"rows": [*ROWS[:7], [3, "x"]]}, 422, "at row 7"),
    "a number beyond floats": ("forecast", {"rows": [[10**400, 1]] * 8}, 422, "finite numbers"),
    "a time beyond 64 bits": ("forecast", {"rows": ROWS[:8], "times": [10**400] * 8}, 422, "time"),
    "a number for a row": ("forecast", {"rows": [*ROWS[:7], 3]}, 422, "got 3 at row 7"),
    "too few rows": ("forecast", {"rows": ROWS[:7]}, 422, "at least 8 rows"),
    "other columns": ("forecast", {"rows": [[1]]}, 422, "2 numbers (x, y)"),
    "a missing row": ("forecast", {"rows": [*ROWS, [None, 1]]}, 422, "finite"),
    "times that are none": ("forecast", {"rows": ROWS, "times": ["x"] * 11}, 422, "dates"),
    "too few times": ("forecast", {"rows": ROWS, "times": [1]}, 422, "one for each of 11 rows"),
    "another step": ("forecast", {"rows": ROWS, "times": list(range(11))}, 422, "rows 3600s apart"),
    "no temperature": (
        "generate", {"model": "book", "temperature": 0}, 422, "temperature: expected a number",
    ),
    "another's option": ("generate", {"model": "songs", "top_k": 3}, 422, "top_k: expected none"),
    "an unknown note": (
        "generate", {"model": "songs", "prompt": [["H4"]]}, 422, "outputs of the model",
    ),
    "a path for music": (
        "inspect", {"model": "songs", "input": "/etc/passwd"}, 422, "input: expected steps",
    ),
    "paths for music": (
        "inspect", {"model": "songs", "input": ["song.mid"]}, 422, "each a list of outputs",
    ),
    "a text for numbers": ("inspect", {"model": "scores", "input": "1"}, 422, "expected numbers"),
    "a prompt that is a path": (
        "generate", {"model": "songs", "prompt": "song.mid"}, 422, "each a list of outputs",
    ),
    "a number for a text": ("generate", {"model": "book", "prompt": [1]}, 422, "expected a text"),
    "too much to write": ("generate", {"model": "book", "length": 2001}, 422, "at most 2,000"),
    "less than nothing": ("generate", {"model": "book", "length": -1}, 422, "length: expected"),
    "all alternatives": (
        "generate", {"model": "book", "alternatives": 99}, 422, "alternatives: expected 0 to 20",
    ),
    "conditions": (
        "generate", {"model": "book", "given": {"a": "b"}}, 422, "trained without",
    ),
    "conditions of a stream": ("streams", {"model": "load", "given": {}}, 422, "no conditions"),
    "too long": (
        "predict", {"model": "reviews", "inputs": ["so " * 999]}, 422, "at most 2,000 steps",
    ),
    "too large": ("predict", {"inputs": ["x" * 20_000]}, 413, "at most 20,000 bytes"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_told(client, case):
    path, body, status, told = WRONG[case]
    answer = client.post(f"/v1/{path}", body)
    assert (answer.status, told in answer.detail) == (status, True), answer.detail


def test_who_sends_far_too_much_hears_of_it():
    with served({"book": models()["book"]}) as client:
        answer = client.post("/v1/connect", {"input": "x" * 8_000_000})
    assert answer.status == 413
    assert "at most 1,048,576 bytes, got 8,000,013" in answer.detail


def test_a_body_that_is_not_declared_is_refused_once_it_is_too_large(client):
    with client.connect() as connection:
        connection.sendall(
            b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\ncontent-type: application/json\r\n"
            b"transfer-encoding: chunked\r\n\r\n"
        )
        chunk = b"3e8\r\n" + b"x" * 1000 + b"\r\n"
        connection.sendall(chunk * 21 + b"0\r\n\r\n")
        assert b" 413 " in connection.recv(65536)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "example.org"}, 421),
        ({"host": "localhost.example.org:80"}, 421),
        ({"host": "LOCALHOST:99"}, 200),
        ({"host": "[::1]"}, 200),
        ({"content-type": "text/plain"}, 415),
        ({"content-type": "application/json; charset=utf-8"}, 200),
    ],
)
def test_a_page_of_another_site_cannot_ask(headers, status):
    hosts = frozenset({"localhost", "127.0.0.1", "[::1]"})
    with served({"book": models()["book"]}, hosts=hosts) as client:
        answer = client.send("POST", "/v1/connect", {"input": "the"}, **headers)
        assert answer.status == status
        assert answer.headers["access-control-allow-origin"] is None


def test_a_token_is_asked_for_where_others_can_reach_the_server():
    with served({"book": models()["book"]}, token="tide") as client:
        asked = {"length": 1}
        for headers in ({}, {"authorization": "Bearer gate"}, {"authorization": "Bearer tidé"}):
            answer = client.send("POST", "/v1/generate", asked, **headers)
            assert answer.status == 401
            assert "Authorization: Bearer" in answer.detail
        right = {"authorization": "Bearer tide"}
        assert client.send("POST", "/v1/generate", asked, **right).status == 200
        assert client.get("/metrics").status == 401
        assert client.get("/metrics", **right).status == 200
        assert client.get("/").status == client.get("/health").status == 200


def test_streams_are_few_and_end_when_nobody_feeds_them(client):
    paths = []
    for _ in range(LIMITS.streams):
        opened = client.post("/v1/streams", {"model": "book"})
        paths.append(f"/v1/streams/{opened.json['id']}/feed")
    refused = client.post("/v1/streams", {"model": "book"})
    assert (refused.status, refused.headers["retry-after"]) == (503, "1")
    threading.Event().wait(LIMITS.idle_s + 0.1)
    assert client.post("/v1/streams", {"model": "book"}).status == 201
    assert {client.post(path, {"piece": "a"}).status for path in paths} == {404}
    threading.Event().wait(LIMITS.idle_s + 0.1)


def test_a_stream_that_reads_all_anew_is_not_longer_than_a_request():
    whole = sequence_model(tg.SequenceRegressor, own_scale=True)
    whole.metrics_ = {}
    with served({"whole": whole}, Limits(steps=50)) as own:
        path = f"/v1/streams/{own.post('/v1/streams', {}).json['id']}/feed"
        assert own.post(path, {"piece": [[1, 2]] * 40}).status == 200
        assert "at most 50 steps" in own.post(path, {"piece": [[1, 2]] * 11}).detail
        assert own.post(path, {"piece": [[1, 2]] * 10}).status == 200


# what describes it


def test_the_document_has_every_route_and_every_member(client):
    document = client.get("/openapi.json").json
    found = {(method, path) for path, ops in document["paths"].items() for method in ops}
    assert found == {(route.method.lower(), route.path) for route in routes.ROUTES}
    for verb in VERBS:
        operation = document["paths"][f"/v1/{verb.name}"]["post"]
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        assert list(schema["properties"]) == [member.name for member in verb.members]
        assert schema.get("required", []) == [m.name for m in verb.members if m.required]
        assert {"200", "413", "422", "503"} <= operation["responses"].keys()
    json.dumps(document, allow_nan=False)


def test_the_page_of_the_manual_has_every_route_and_every_member():
    page = (Path(__file__).parents[1] / "docs/serving.md").read_text(encoding="utf-8")
    rows = {row.split("|")[1].strip(): row for row in page.splitlines() if row.startswith("| `")}
    for route in routes.ROUTES:
        if route.method == "GET":
            assert f"{route.path}`" in page
        else:
            row = rows[f"`{route.method} {route.path}`"]
            told = {name for name in re.findall(r"`(\w+)`", row.split("|")[3])}
            assert told == {member.name for member in route.members} - {"model"}


def test_metrics_are_in_prometheus_text_format(client):
    client.post("/v1/predict", {"model": "reviews", "inputs": ["x"]})
    client.get('/"quoted\\')
    lines = client.get("/metrics").body.decode().splitlines()
    label = r'[a-z_]+="(?:[^"\\\n]|\\.)*"'
    line = re.compile(rf"tidegate_[a-z_]+(\{{{label}(,{label})*\}})? [-+.e0-9]+")
    comments = [one for one in lines if one.startswith("# ")]
    assert all(line.fullmatch(one) for one in lines if one not in comments)
    named = {one.split()[2] for one in comments}
    assert {one.split("{")[0].split(" ")[0] for one in lines if one not in comments} <= {
        f"{name}{end}" for name in named for end in ("", "_bucket", "_sum", "_count")
    }
    assert 'tidegate_requests_total{route="none",status="404"}' in "\n".join(lines)


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/v1/predict", 405), ("GET", "/x/../y", 404)]
)
def test_another_route_is_refused(client, method, path, status):
    answer = client.send(method, path)
    assert answer.status == status
    assert "GET /openapi.json" in answer.detail


def test_the_page_is_one_file_without_any_address(client):
    answer = client.get("/")
    page = answer.body.decode()
    assert re.findall(r"(?:https?:)?//[\w.]+", page) == ["http://www.w3.org"]  # a name of SVG's
    assert not re.search(r"\b(src|href)=(?!\"data:,\")", page)
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "connect-src 'self'" in policy
    assert "unsafe" not in policy
